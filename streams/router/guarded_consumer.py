"""Faust's consumer, with the committable offset taken out of its hands: only the frontier says what is done.

Faust 0.15.3 acknowledges what its streams skip as stale and takes offsets it never delivered for done, so both can be
committed past without having been processed. Here records are chained where they are read, the agent takes only what
continues the chain, a hole is read again, and a commit asks the frontier alone.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, ClassVar, Final, NamedTuple, cast

import structlog
from faust.app import App
from faust.transport.drivers.aiokafka import Consumer, Transport
from faust.types import TP, ConsumerMessage, Message
from faust.types.transports import ConsumerT, TransportT

from streams.router.frontier import Frontier

#: A partition whose buffer has room again is asked for at the latest after this.
_PRESSED_SECONDS: Final = 0.02

log = structlog.get_logger("hubbub.router")


class ChainedMessage(ConsumerMessage):
    """A record that knows where the reader stood before it, and which reading it comes from."""

    reading: int
    previous: int


class End(NamedTuple):
    """Where a partition ends, and when the broker said so."""

    offset: int
    at_ms: int


class GuardedConsumer(Consumer):
    """Commits what the frontier allows; reads again from its next offset where something is missing."""

    frontier: Frontier

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.frontier = cast(GuardedApp, self.app).frontier
        self._room = asyncio.Event()
        self._rereads: set[TP] = set()
        self._positions: dict[TP, int] = {}
        self._gaps: dict[TP, tuple[int, int]] = {}

    def reread(self, tp: tuple[str, int]) -> None:
        """Read the partition again from the frontier's next offset, at the next turn of the reader."""
        self._rereads.add(TP(*tp))

    def end_of(self, tp: tuple[str, int]) -> End | None:
        """The end of an assigned partition as of the last answer to a fetch; None before the first."""
        reader, partition = self._thread._ensure_consumer(), TP(*tp)
        if partition not in reader.assignment():
            return None
        offset, at_ms = reader.highwater(partition), reader.last_poll_timestamp(partition)
        return None if offset is None or at_ms is None else End(offset, at_ms)

    async def perform_seek(self) -> None:
        """Every assigned partition starts at its committed offset, or where the log starts."""
        await super().perform_seek()
        assigned = self.assignment()
        earliest = await self.earliest_offsets(*assigned) if assigned else {}
        for tp in assigned:
            committed, start = self._committed_offset[tp], earliest[tp]
            if committed is not None and committed < start:
                log.error("frontier.expired", topic=tp.topic, partition=tp.partition, committed=committed, start=start)
            self.frontier.assign(tp, max(committed or 0, start))
            self._positions[tp] = max(committed or 0, start)
            self._gaps.pop(tp, None)
        self._rereads.clear()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        await self.commit()
        for tp in revoked:
            self.frontier.revoke(tp)
        await super().on_partitions_revoked(revoked)

    def _to_message(self, tp: TP, record: Any) -> ChainedMessage:
        message = ChainedMessage(
            record.topic,
            record.partition,
            record.offset,
            record.timestamp / 1000.0,
            record.timestamp_type,
            record.headers,
            record.key,
            record.value,
            record.checksum,
            record.serialized_key_size,
            record.serialized_value_size,
            tp,
            generation_id=self.app.consumer_generation_id,
        )
        message.reading = self.frontier.reading(tp)
        return message

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            while not (self.should_stop or fetcher.should_stop):
                await self._seek_back()
                await self.sleep(0)
                if not self.should_stop:
                    await self._deliver(self.getmany(timeout=_PRESSED_SECONDS if self._buffered_partitions else 1.0))
        except self.consumer_stopped_errors:
            if not self.app.should_stop:
                raise

    async def _deliver(self, records: AsyncIterator[tuple[TP, Message]]) -> None:
        dropped: set[TP] = set()
        async for tp, record in records:
            message = cast(ChainedMessage, record)
            if tp in dropped:
                continue
            position = self._positions.get(tp, message.offset)
            if message.offset < position:
                continue
            if message.offset > position and self._gaps.get(tp) != (position, message.offset):
                # The reader jumped. Read from there once more: if it jumps the same way, the log has nothing there.
                self._gaps[tp] = (position, message.offset)
                self._rereads.add(tp)
                dropped.add(tp)
                continue
            message.previous = position
            self._positions[tp] = message.offset + 1
            await self.callback(message)

    async def _wait_next_records(
        self,
        timeout: float,  # noqa: ASYNC109 - the signature is Faust's
    ) -> tuple[Mapping[TP, list[Any]] | None, set[TP] | None]:
        # Faust sleeps a whole second when every partition's buffer is full.
        if self.flow_active and self._buffered_partitions and not self._get_active_partitions():
            self._room.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._room.wait(), timeout)
            return {}, set()
        return await super()._wait_next_records(timeout)

    def on_buffer_drop(self, tp: TP) -> None:
        super().on_buffer_drop(tp)
        self._room.set()

    async def _seek_back(self) -> None:
        while self._rereads:
            tp = self._rereads.pop()
            offset = self.frontier.reread(tp)
            if offset is None or tp not in self.assignment():
                continue
            log.warning("frontier.reread", topic=tp.topic, partition=tp.partition, offset=offset)
            await self.seek_wait({tp: offset})
            self._positions[tp] = offset

    def _filter_tps_with_pending_acks(self, topics: Iterable[Any] | None = None) -> Iterator[TP]:
        return (TP(*tp) for tp in self.frontier if topics is None or tp in topics or tp[0] in topics)

    def _new_offset(self, tp: TP) -> int | None:
        return self.frontier.committable(tp)

    async def verify_all_partitions_active(self) -> None:
        """Faust logs partitions it believes stuck, wrongly for a reader that acknowledges late; readiness tells."""


class GuardedTransport(Transport):
    """Faust's Kafka transport with the guarded consumer."""

    Consumer: ClassVar[type[ConsumerT]] = GuardedConsumer


class GuardedApp(App):
    """A Faust app whose consumer commits what `frontier` says."""

    def __init__(self, *args: Any, frontier: Frontier, **kwargs: Any) -> None:
        self.frontier = frontier
        super().__init__(*args, **kwargs)

    @property
    def reader(self) -> GuardedConsumer:
        """The consumer by its own type."""
        return cast(GuardedConsumer, self.consumer)

    def _create_directories(self) -> None:
        """No table, so nothing on disk."""

    def _new_transport(self) -> TransportT:
        return GuardedTransport(self.conf.broker_consumer, self)
