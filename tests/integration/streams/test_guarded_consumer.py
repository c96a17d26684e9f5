"""Faust made to lose records on their way to the agent: the guard reads them again and never commits past them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
from confluent_kafka import Consumer, TopicPartition

from infra.contracts.topics import INGEST
from infra.runtime.kafka import consumer_config
from infra.runtime.settings import Kafka
from streams.router.agents import Arrival, RouterApp, make_app
from streams.router.frontier import Frontier
from streams.router.guarded_consumer import ChainedMessage, GuardedConsumer
from streams.router.settings import RouterSettings
from tests.integration.streams.running import send

RECORDS = 30
Callback = Callable[[ChainedMessage], Awaitable[None]]


class Seen:
    """A handler that notes what it takes and settles nothing by itself."""

    def __init__(self, frontier: Frontier) -> None:
        self.arrivals: list[Arrival] = []
        self.failures: list[BaseException] = []
        self._frontier = frontier

    async def handle(self, _: str, arrivals: Iterator[Arrival]) -> None:
        self.arrivals.extend(arrivals)

    def settle(self, upto: int) -> None:
        for arrival in self.arrivals:
            if arrival.offset < upto:
                self._frontier.settle(arrival.tp, arrival.generation, arrival.previous, arrival.offset + 1)

    @property
    def offsets(self) -> list[int]:
        return [arrival.offset for arrival in self.arrivals]


@asynccontextmanager
async def running(
    kafka: Kafka, spoil: Callable[[ChainedMessage], bool], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[RouterApp, Seen]]:
    """An app whose records pass `spoil` on their way; true means the record never arrives."""
    original = GuardedConsumer.__init__

    def spoiled(self: GuardedConsumer, transport: object, callback: Callback, *args: object, **kwargs: object) -> None:
        async def deliver(message: ChainedMessage) -> None:
            if not spoil(message):
                await callback(message)

        original(self, transport, deliver, *args, **kwargs)

    monkeypatch.setattr(GuardedConsumer, "__init__", spoiled)
    frontier = Frontier()
    seen = Seen(frontier)
    app = make_app(kafka, RouterSettings(instance_id="guard"), frontier, seen.handle, seen.failures.append)
    await app.start()
    try:
        yield app, seen
    finally:
        await app.stop()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.05)


def committed(kafka: Kafka) -> int:
    reader = Consumer(consumer_config(kafka, "test", kafka.group("router")))
    found = reader.committed([TopicPartition(kafka.topic(INGEST.name), 0)], timeout=10)[0].offset
    reader.close()
    return found


async def test_a_record_lost_on_the_way_is_read_again(own_kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    send(own_kafka, [(0, b"%d" % n) for n in range(RECORDS)])
    lost = {3, 17}

    def lose_once(message: ChainedMessage) -> bool:
        if message.offset in lost:
            lost.remove(message.offset)
            return True
        return False

    async with running(own_kafka, lose_once, monkeypatch) as (app, seen):
        await until(lambda: len(seen.offsets) >= RECORDS)
        assert seen.offsets == list(range(RECORDS))
        assert [int(a.value or b"") for a in seen.arrivals] == list(range(RECORDS))
        await app.consumer.commit()
        assert await asyncio.to_thread(committed, own_kafka) <= 0
        seen.settle(upto=20)
        await app.consumer.commit()
        assert await asyncio.to_thread(committed, own_kafka) == 20
    assert not lost
    assert not seen.failures


async def test_what_faust_skips_as_stale_is_not_committed(own_kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    send(own_kafka, [(0, b"%d" % n) for n in range(RECORDS)])
    skipped: set[int] = set()

    def make_stale(message: ChainedMessage) -> bool:
        if message.offset in (5, 6) and message.offset not in skipped:
            skipped.add(message.offset)
            message.generation_id = -1
        return False

    async with running(own_kafka, make_stale, monkeypatch) as (app, seen):
        await until(lambda: len(seen.offsets) >= RECORDS)
        assert seen.offsets == list(range(RECORDS))
        seen.settle(upto=5)
        await app.consumer.commit()
        assert await asyncio.to_thread(committed, own_kafka) == 5
    assert skipped == {5, 6}


async def test_the_last_record_lost_with_nothing_behind_it_is_read_again_once_it_stands_still(
    own_kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(own_kafka, [(0, b"%d" % n) for n in range(RECORDS)])
    lost: list[int] = []

    def lose_last(message: ChainedMessage) -> bool:
        if message.offset == RECORDS - 1 and not lost:
            lost.append(message.offset)
            return True
        return False

    async with running(own_kafka, lose_last, monkeypatch) as (app, seen):
        await until(lambda: bool(lost) and len(seen.offsets) == RECORDS - 1)
        seen.settle(upto=RECORDS)
        await app.consumer.commit()
        assert await asyncio.to_thread(committed, own_kafka) == RECORDS - 1
        app.reread_stranded(now=0.0)
        assert len(seen.offsets) == RECORDS - 1
        app.reread_stranded(now=60.0)
        await until(lambda: seen.offsets == list(range(RECORDS)))
