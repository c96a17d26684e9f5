"""Batches settle once all their outputs are delivered, wait where there is no room, and a failure is final."""

import asyncio
from collections import deque
from typing import Any, cast

import pytest

from infra.runtime.errors import Undelivered
from infra.runtime.kafka import DeliveringProducer
from streams.router.deliveries import Deliveries, Lane, Output

OUTPUT = Output("t", b"v", b"k", [])


class FakeError:
    def name(self) -> str:
        return "_MSG_TIMED_OUT"


class FakeProducer:
    """A queue of `room` records; `deliver` reports the oldest at the next poll."""

    def __init__(self, room: int = 1_000) -> None:
        self.room = room
        self.pending: deque[Any] = deque()
        self.ready: deque[tuple[Any, Any]] = deque()
        self.produced = 0

    def produce(self, topic: str, value: bytes, *, key: bytes, headers: Any, on_delivery: Any) -> None:
        if len(self.pending) + len(self.ready) >= self.room:
            raise BufferError
        self.produced += 1
        self.pending.append(on_delivery)

    def deliver(self, count: int = 1, error: Any = None) -> None:
        for _ in range(count):
            self.ready.append((self.pending.popleft(), error))

    def poll(self) -> int:
        served = len(self.ready)
        while self.ready:
            report, error = self.ready.popleft()
            report(error, None)
        return served

    def queued(self) -> int:
        return len(self.pending) + len(self.ready)


def make(room: int = 1_000, limit: int = 10) -> tuple[FakeProducer, Lane]:
    producer = FakeProducer(room)
    deliveries = Deliveries(cast(DeliveringProducer, producer), asyncio.get_running_loop())
    return producer, Lane(deliveries, limit)


async def test_a_batch_settles_after_its_last_output_and_not_before_it_is_closed() -> None:
    producer, lane = make()
    settled: list[int] = []
    batch = lane.batch(lambda: settled.append(1))
    batch.cover()
    await batch.produce([OUTPUT, OUTPUT])
    producer.deliver(2)
    producer.poll()
    assert not settled
    await batch.produce([OUTPUT])
    batch.close()
    assert not settled
    assert lane.in_flight == 1
    producer.deliver()
    await asyncio.wait_for(lane.drain(), 1)
    assert settled == [1]
    assert lane.in_flight == 0


async def test_an_empty_batch_settles_at_once() -> None:
    _, lane = make()
    settled: list[int] = []
    lane.batch(lambda: settled.append(1)).close()
    assert settled == [1]


async def test_a_full_queue_is_waited_out() -> None:
    producer, lane = make(room=2)
    batch = lane.batch(lambda: None)
    writing = asyncio.create_task(batch.produce([OUTPUT] * 5))
    for delivered in range(3):
        await asyncio.sleep(0.01)
        assert producer.produced == 2 + delivered
        producer.deliver()
    await asyncio.wait_for(writing, 1)


async def test_the_limit_counts_records_under_way() -> None:
    producer, lane = make(limit=1)
    batch = lane.batch(lambda: None)
    batch.cover()
    await batch.produce([OUTPUT])
    batch.close()
    waiting = asyncio.create_task(lane.wait_below_limit())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    producer.deliver()
    await asyncio.wait_for(waiting, 1)


async def test_a_failed_delivery_never_settles_and_is_raised() -> None:
    producer, lane = make()
    settled: list[int] = []
    batch = lane.batch(lambda: settled.append(1))
    batch.cover()
    await batch.produce([OUTPUT, OUTPUT])
    batch.close()
    producer.deliver(error=FakeError())
    producer.deliver()
    with pytest.raises(Undelivered):
        await asyncio.wait_for(lane.drain(), 1)
    with pytest.raises(Undelivered):
        await lane.deliveries.progress()
    assert not settled
