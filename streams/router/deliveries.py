"""Hands outputs to Kafka and tells when all outputs of a batch of input records are delivered, and only then.

Everything happens on the loop's thread. librdkafka's reports are fetched after each batch, and by a timer while
any are outstanding.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from infra.runtime.errors import Undelivered
from infra.runtime.kafka import DeliveringProducer, Headers

#: How often reports are looked for while nothing else happens.
_POLL_SECONDS: Final = 0.002


class Output(NamedTuple):
    """One record to write. The topic is the name on the cluster."""

    topic: str
    value: bytes | None
    key: bytes | None
    headers: Headers


class Batch:
    """Outputs that are waited for together. `close` it after the last `produce`."""

    __slots__ = ("_closed", "_lane", "_settle", "_waiting", "records")

    def __init__(self, lane: "Lane", settle: Callable[[], None]) -> None:
        self._lane = lane
        self._settle = settle
        self._waiting = 0
        self._closed = False
        self.records = 0

    def cover(self) -> None:
        """One more input record depends on this batch."""
        self.records += 1
        self._lane.in_flight += 1

    async def produce(self, outputs: Iterable[Output]) -> None:
        """Queue the outputs in order, waiting for room where the queue is full. Raises `Undelivered`."""
        deliveries = self._lane.deliveries
        send, report = deliveries.producer.produce, self._report
        for topic, value, key, headers in outputs:
            while True:
                try:
                    send(topic, value, key=key, headers=headers, on_delivery=report)
                    break
                except BufferError:
                    await deliveries.room()
            self._waiting += 1
        deliveries.poll()

    def close(self) -> None:
        """No more outputs follow: settle once every one is reported, at once if they are."""
        self._closed = True
        if not self._waiting:
            self._finish()

    def _report(self, error: Any, _: Any) -> None:
        if error is not None:
            self._lane.deliveries.fail(error.name())
            return
        self._waiting -= 1
        if self._closed and not self._waiting:
            self._finish()

    def _finish(self) -> None:
        self._lane.in_flight -= self.records
        self._settle()


class Lane:
    """The batches of one input topic, bounded by their input records, so that no topic takes another's room."""

    def __init__(self, deliveries: "Deliveries", limit: int) -> None:
        self.deliveries = deliveries
        self.in_flight = 0
        self._limit = limit

    def batch(self, settle: Callable[[], None]) -> Batch:
        """A new batch; `settle` is called once it is delivered."""
        return Batch(self, settle)

    async def wait_below_limit(self) -> None:
        """Return once fewer input records than the limit are under way. Raises `Undelivered`."""
        while self.in_flight >= self._limit:
            await self.deliveries.progress()

    async def drain(self) -> None:
        """Return once nothing is under way. Raises `Undelivered`."""
        while self.in_flight:
            await self.deliveries.progress()


class Deliveries:
    """One producer and its reports. A failed delivery is final: the owner must stop."""

    def __init__(self, producer: DeliveringProducer, loop: asyncio.AbstractEventLoop) -> None:
        self.producer = producer
        self._loop = loop
        self._failed: str | None = None
        self._reported = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    def poll(self) -> None:
        """Take the reports that have come, and keep looking while there are more to come."""
        if self.producer.poll():
            self._reported.set()
        if self._timer is None and self.producer.queued():
            self._timer = self._loop.call_later(_POLL_SECONDS, self._on_timer)

    async def progress(self) -> None:
        """Return after the next reports. Raises `Undelivered`."""
        if self._failed is None:
            self._reported.clear()
            self.poll()
            await self._reported.wait()
        if self._failed is not None:
            raise Undelivered(self._failed)

    #: A full queue has room again once something was reported.
    room = progress

    def fail(self, reason: str) -> None:
        """An output was given up."""
        self._failed = self._failed or reason
        self._reported.set()

    def _on_timer(self) -> None:
        self._timer = None
        self.poll()
