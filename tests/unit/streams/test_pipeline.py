"""The pipeline routes nothing by rules that may be out of date, and remembers each assignment for itself."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from infra.contracts import codec
from infra.contracts.events import from_ms
from infra.contracts.rules import Flood, Rules
from infra.contracts.topics import INGEST
from infra.runtime.clock import ManualClock
from infra.runtime.settings import Kafka
from streams.router.agents import Arrival
from streams.router.book import RuleBook
from streams.router.frontier import Frontier, Place
from streams.router.fuse import Fuse
from streams.router.memories import Memories
from streams.router.past import Past, Stretch
from streams.router.pipeline import Pipeline
from streams.router.routing import Record, Router
from tests.unit.streams.judged import message
from tests.unit.streams.test_deliveries import make

START = 1_790_000_000_000
TP = ("ingest", 0)
FLOOD = Flood(id="flood", version=1, action="hold", reason="r", messages=3, seconds=10)


def frame(number: int) -> bytes:
    return codec.frame([codec.encode(message("hi", id=f"m-{number}", tenant="acme"))])


def arrival(offset: int, generation: int = 1) -> Arrival:
    return Arrival(
        tp=TP,
        generation=generation,
        previous=offset,
        offset=offset,
        appended_ms=START + offset,
        value=frame(offset),
        headers=[],
    )


class Log(Past):
    """What was written before, as the broker would give it; notes what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[Mapping[int, Stretch]] = []

    def read(self, stretches: Mapping[int, Stretch]) -> Any:
        self.asked.append(stretches)
        for partition, stretch in stretches.items():
            for offset in range(stretch.until):
                yield Record(
                    topic="ingest",
                    partition=partition,
                    offset=offset,
                    appended_at=from_ms(START + offset),
                    value=frame(offset),
                )


class Stage:
    """A pipeline with everything around it in memory."""

    def __init__(self, *rules: Any) -> None:
        kafka, self.clock = Kafka(), ManualClock(datetime(2026, 3, 14, tzinfo=UTC))
        book, self.frontier, self.log = RuleBook(Rules(rules=rules)), Frontier(), Log()
        router = Router(INGEST, kafka, book)
        self.producer, lane = make()
        self.current_at = 0.0
        self.pipeline = Pipeline(
            {INGEST.name: router},
            {INGEST.name: lane},
            self.frontier,
            Fuse(self.clock, 0.1),
            self.clock,
            {INGEST.name: Memories(book, self.frontier, router, self.log)},
            lambda: self.current_at,
        )
        self.outputs: list[str] = []
        produce = self.producer.produce

        def note(topic: str, *args: Any, **kwargs: Any) -> None:
            self.outputs.append(topic)
            produce(topic, *args, **kwargs)

        cast(Any, self.producer).produce = note

    async def route(self, *offsets: int, generation: int = 1) -> list[str]:
        """The topics that these records went to, without their accounting."""
        self.outputs.clear()
        await self.pipeline.handle(INGEST.name, iter([arrival(offset, generation) for offset in offsets]))
        return [topic for topic in self.outputs if topic != "accounting"]


async def test_nothing_is_routed_until_the_rules_are_known_to_be_current() -> None:
    stage = Stage()
    assert await stage.route(0) == ["events"]
    stage.clock.advance(5)
    waiting = asyncio.create_task(stage.route(1))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    assert stage.outputs == []
    stage.current_at = 4.8
    assert await asyncio.wait_for(waiting, 5) == ["events"]


async def test_who_waits_for_rules_can_be_stopped_and_leaves_the_record_alone() -> None:
    stage = Stage()
    stage.clock.advance(5)
    waiting = asyncio.create_task(stage.route(0))
    await asyncio.sleep(0.05)
    stage.pipeline.stop_taking()
    assert await asyncio.wait_for(waiting, 5) == []
    assert stage.pipeline.in_flight == 0


async def test_without_rules_that_count_nothing_is_read_again() -> None:
    stage = Stage()
    await stage.route(5)
    assert not stage.log.asked


@pytest.mark.parametrize("start", [0, 2, 7])
async def test_an_assignment_begins_with_the_memory_of_what_was_before(start: int) -> None:
    stage = Stage(FLOOD)
    stage.frontier.assign(TP, start)
    generation = stage.frontier.generation(TP)
    assert stage.frontier.take(TP, stage.frontier.reading(TP), start, start) is Place.NEXT
    for offset in range(start, start + 3):
        topics = await stage.route(offset, generation=generation)
        assert topics[0] == ("held" if offset >= 3 else "events")
    assert [asked[0].until for asked in stage.log.asked] == [start]
    assert stage.log.asked[0][0].horizon_ms == (10 + 120) * 1_000


async def test_another_assignment_remembers_anew_and_others_are_remembered_along() -> None:
    stage = Stage(FLOOD)
    other = ("ingest", 1)
    for tp, start in ((TP, 2), (other, 5), (("backfill", 0), 9)):
        stage.frontier.assign(tp, start)
    first = stage.frontier.generation(TP)
    await stage.route(2, 3, generation=first)
    assert {partition: stretch.until for partition, stretch in stage.log.asked[0].items()} == {0: 2, 1: 5}
    stage.frontier.assign(TP, 8)
    assert await stage.route(8, generation=stage.frontier.generation(TP)) == ["held", "verdicts"]
    assert [list(asked) for asked in stage.log.asked] == [[0, 1], [0]]
    assert cast(Any, stage.log.asked[1][0]).until == 8
