"""Hands outputs to Kafka and tells when all outputs of a batch of input records are delivered, and only then.

Delivery reports are counted on the producer's poll thread alone; the loop is told once a batch.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final, NamedTuple

from infra.runtime.errors import Undelivered
from infra.runtime.kafka import DeliveringProducer, Headers

#: Above this, waiting for room in the producer's queue looks again even if no report woke it.
_ROOM_SECONDS: Final = 0.25


class Output(NamedTuple):
    """One record to write. The topic is the name on the cluster."""

    topic: str
    value: bytes | None
    key: bytes | None
    headers: Headers


class Batch:
    """Outputs that are waited for together. `close` it after the last `produce`."""

    __slots__ = ("_deliveries", "_expected", "_reported", "_sent", "_settle", "records")

    def __init__(self, deliveries: "Deliveries", settle: Callable[[], None]) -> None:
        self._deliveries = deliveries
        self._settle = settle
        self._sent = 0
        self._reported = 0
        self._expected: int | None = None
        self.records = 0

    def cover(self) -> None:
        """One more input record depends on this batch."""
        self.records += 1
        self._deliveries.in_flight += 1

    async def produce(self, outputs: Iterable[Output]) -> None:
        """Queue the outputs in order, waiting for room where the queue is full."""
        send, report = self._deliveries.producer.produce, self.report
        for output in outputs:
            while True:
                try:
                    send(output.topic, output.value, key=output.key, headers=output.headers, on_delivery=report)
                    break
                except BufferError:
                    await self._deliveries.room()
            self._sent += 1

    def report(self, error: Any, _: Any) -> None:
        """One delivery report. Runs on the poll thread."""
        if error is not None:
            self._deliveries.fail(error.name())
            return
        self._reported += 1
        if self._deliveries.waiting:
            self._deliveries.wake()
        if self._reported == self._expected:
            self._deliveries.finish(self)

    def close(self) -> None:
        """No more outputs follow: settle once every one is reported, at once if they are."""
        self._expected = self._sent
        # The last report may have come before `_expected` was set, or at this very moment: settling twice is harmless.
        if self._reported == self._sent:
            self._deliveries.finish(self)

    def settle(self) -> None:
        """Every output is delivered. Runs on the loop."""
        self._settle()


class Deliveries:
    """Batches under way, bounded by their input records. A failed delivery is final: the owner must stop."""

    def __init__(self, producer: DeliveringProducer, loop: asyncio.AbstractEventLoop, limit: int) -> None:
        self.producer = producer
        self.waiting = False
        self.failed: str | None = None
        self.in_flight = 0
        self._loop = loop
        self._limit = limit
        self._open: set[Batch] = set()
        self._room = asyncio.Event()
        self._settled = asyncio.Event()

    def batch(self, settle: Callable[[], None]) -> Batch:
        """A new batch; `settle` is called on the loop once it is delivered."""
        batch = Batch(self, settle)
        self._open.add(batch)
        return batch

    async def wait_below_limit(self) -> None:
        """Return once fewer input records than the limit are under way."""
        await self._wait_until(lambda: self.in_flight < self._limit)

    async def drain(self) -> None:
        """Return once nothing is under way, or something failed."""
        await self._wait_until(lambda: not self._open)

    async def room(self) -> None:
        """Return once the producer's queue may have room."""
        self._room.clear()
        self.waiting = True
        with suppress(TimeoutError):
            await asyncio.wait_for(self._room.wait(), _ROOM_SECONDS)
        if self.failed:
            raise Undelivered(self.failed)

    def wake(self) -> None:
        """A report came while somebody waits for room. Runs on the poll thread."""
        self.waiting = False
        self._loop.call_soon_threadsafe(self._room.set)

    def fail(self, reason: str) -> None:
        """An output was given up. Runs on the poll thread."""
        self.failed = self.failed or reason
        self._loop.call_soon_threadsafe(self._settled.set)

    def finish(self, batch: Batch) -> None:
        """Every output of the batch is reported. Runs on either thread."""
        self._loop.call_soon_threadsafe(self._finish, batch)

    def _finish(self, batch: Batch) -> None:
        if batch in self._open:
            self._open.remove(batch)
            self.in_flight -= batch.records
            batch.settle()
            self._settled.set()

    async def _wait_until(self, condition: Callable[[], bool]) -> None:
        while not condition() and not self.failed:
            self._settled.clear()
            await self._settled.wait()
