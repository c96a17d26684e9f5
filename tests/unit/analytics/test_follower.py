"""Progress is stored as reported, its counts go on where the last run left them; points that cannot go are let go."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from structlog.testing import capture_logs

from analytics.follower import Follower
from analytics.publisher import Publisher
from analytics.query import Batch
from infra.contracts.records import Point
from infra.contracts.tables import METRICS_QUERY
from infra.runtime.clock import ManualClock
from infra.runtime.settings import Kafka

NOW = datetime(2026, 3, 14, 9, 30, tzinfo=UTC)
MARK = datetime(2026, 3, 14, 9, 26, tzinfo=UTC)


class Memory:
    def __init__(self, stored: tuple[Any, ...] | None = None) -> None:
        self.stored = stored
        self.puts: list[tuple[Any, ...]] = []

    def progress(self, query: str) -> tuple[Any, ...] | None:
        return self.stored

    def put_progress(self, *values: Any) -> None:
        self.puts.append(values)


def batch(number: int, late: int, duplicates: int, *, known: bool = True) -> Batch:
    return Batch(
        batch_id=number,
        watermark=MARK,
        offsets={"events": {"0": 10}},
        ends={"events": {"0": 14}} if known else None,
        late=late,
        duplicates=duplicates,
        seconds=0.5,
    )


def test_counts_go_on_from_what_is_stored() -> None:
    memory = Memory((41, MARK.replace(tzinfo=None), "{}", None, 5, 7, None))
    follower = Follower(memory, ManualClock(NOW), None)  # type: ignore[arg-type]
    assert follower.watermark == MARK
    follower.take(batch(42, 1, 2))
    follower.take(batch(43, 0, 1))
    assert memory.puts == [
        (METRICS_QUERY, 42, MARK, '{"events":{"0":10}}', None, 6, 9, NOW),
        (METRICS_QUERY, 43, MARK, '{"events":{"0":10}}', None, 6, 10, NOW),
    ]
    assert (follower.batch_id, follower.lag) == (43, 4)


def test_a_first_start_counts_from_nothing_and_names_the_first_day() -> None:
    memory = Memory()
    follower = Follower(memory, ManualClock(NOW), MARK)  # type: ignore[arg-type]
    assert (follower.watermark, follower.lag) == (None, None)
    follower.take(batch(0, 0, 0))
    assert memory.puts[0][4:7] == (MARK, 0, 0)
    follower.take(batch(1, 0, 0, known=False))
    assert follower.lag is None


class Full:
    def __init__(self, full: bool) -> None:
        self.full = full
        self.sent: list[tuple[str, bytes, bytes]] = []

    def produce(self, topic: str, value: bytes, *, key: bytes) -> None:
        if self.full:
            raise BufferError
        self.sent.append((topic, value, key))


def test_points_are_published_by_tenant_and_scope_and_never_waited_for() -> None:
    point = Point(
        tenant="acme", scope="tenant", grain="1m", start=MARK, end=NOW, values={}, revision=1, as_of=NOW, watermark=None
    )
    producer = Full(False)
    publish = Publisher(producer, Kafka(topic_prefix="demo-"))  # type: ignore[arg-type]
    publish(point)
    ((topic, value, key),) = producer.sent
    assert (topic, key) == ("demo-metrics", b"acme:tenant")
    assert msgspec.json.decode(value, type=Point) == point
    producer.full = True
    with capture_logs() as logged:
        publish(point)
    assert [entry["event"] for entry in logged] == ["point.not_published"]
