"""Gathers encoded events by topic and partition into frames, and says of each frame whether Kafka has it.

Everything runs on one event loop: no lock, and no await per event.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog
from confluent_kafka import KafkaException

from infra.contracts import codec
from infra.runtime.kafka import Headers
from infra.runtime.telemetry import FRAME_EVENTS

log = structlog.get_logger("hubbub.ingest.framer")


class Deliveries(Protocol):
    """What sends a record and reports its delivery; `AsyncDeliveries` in production."""

    def send(
        self, topic: str, value: bytes | None, *, partition: int = -1, headers: Headers | None = None
    ) -> "asyncio.Future[None]":
        """A future that is done once the record is stored. Raises `BufferError` when the queue is full."""


class Frame:
    """Events of one partition on their way to Kafka. `done` tells, once it is set, whether all of them are stored.

    One with `headers` holds a single value that goes as it is.
    """

    __slots__ = ("done", "envelopes", "headers", "partition", "prints", "size", "topic")

    def __init__(
        self, topic: str, partition: int, done: "asyncio.Future[bool]", headers: Headers | None = None
    ) -> None:
        self.headers = headers
        self.topic = topic
        self.partition = partition
        self.envelopes: list[bytes] = []
        #: What the ledger of seen ids knows these events by.
        self.prints: dict[str, int] = {}
        self.size = 2
        self.done = done

    @property
    def stored(self) -> bool:
        """Whether Kafka confirmed it; False as long as that is unknown."""
        return self.done.done() and self.done.result()


class Framer:
    """Open frames, one for a partition at most, and the count of what Kafka has not confirmed."""

    def __init__(
        self,
        deliveries: Deliveries,
        loop: asyncio.AbstractEventLoop,
        *,
        linger: float,
        settled: Callable[[Frame], None],
    ) -> None:
        self._deliveries = deliveries
        self._loop = loop
        self._linger = linger
        self._settled = settled
        self._open: dict[tuple[str, int], Frame] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._sent: set[Frame] = set()
        self.in_flight_events = 0
        self.in_flight_bytes = 0

    def add(self, topic: str, partition: int, envelope: bytes) -> Frame:
        """Put an envelope at the end of its partition's frame, which is sent when full or after the linger."""
        frame = self._open.get((topic, partition))
        if frame is not None and frame.size + len(envelope) + 1 > codec.MAX_FRAME_BYTES:
            self.send(frame)
            frame = None
        if frame is None:
            frame = self._open[topic, partition] = Frame(topic, partition, self._loop.create_future())
            if self._timer is None:
                self._timer = self._loop.call_later(self._linger, self.flush)
        frame.envelopes.append(envelope)
        frame.size += len(envelope) + 1
        self.in_flight_events += 1
        self.in_flight_bytes += len(envelope)
        return frame

    def lone(self, topic: str, partition: int, value: bytes, headers: Headers) -> Frame:
        """A frame for this value alone, to be given to `dispatch` once."""
        frame = Frame(topic, partition, self._loop.create_future(), headers)
        frame.envelopes.append(value)
        frame.size += len(value) + 1
        self.in_flight_events += 1
        self.in_flight_bytes += len(value)
        return frame

    def flush(self) -> None:
        """Send every open frame."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for frame in list(self._open.values()):
            self.send(frame)

    def send(self, frame: Frame) -> None:
        """Send one frame unless it is on its way already."""
        if self._open.get((frame.topic, frame.partition)) is not frame:
            return
        del self._open[frame.topic, frame.partition]
        FRAME_EVENTS.observe(len(frame.envelopes))
        self.dispatch(frame)

    def dispatch(self, frame: Frame) -> None:
        """Hand the frame to Kafka."""
        self._sent.add(frame)
        value = codec.frame(frame.envelopes) if frame.headers is None else frame.envelopes[0]
        try:
            delivery = self._deliveries.send(frame.topic, value, partition=frame.partition, headers=frame.headers)
        except BufferError:
            self._settle(frame, "queue full")
        except KafkaException as error:
            self._settle(frame, error.args[0].name())
        else:
            delivery.add_done_callback(lambda report: self._report(frame, report))

    async def drain(self, seconds: float) -> int:
        """Send what is open and wait for every report, at most `seconds`. Returns the events left."""
        self.flush()
        if self._sent:
            await asyncio.wait([frame.done for frame in self._sent], timeout=seconds)
        return self.in_flight_events

    def _report(self, frame: Frame, delivery: "asyncio.Future[None]") -> None:
        error = delivery.exception()
        self._settle(frame, None if error is None else str(error))

    def _settle(self, frame: Frame, problem: str | None) -> None:
        self._sent.discard(frame)
        self.in_flight_events -= len(frame.envelopes)
        self.in_flight_bytes -= frame.size - 2 - len(frame.envelopes)
        if problem is not None:
            log.warning("frame.undelivered", reason=problem, events=len(frame.envelopes), partition=frame.partition)
        frame.envelopes = []
        frame.done.set_result(problem is None)
        self._settled(frame)
