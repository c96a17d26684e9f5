"""The metrics query on real Spark: as a batch over rows, and as a stream from Kafka into Cassandra."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from pyspark.errors import StreamingQueryException
from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from analytics.checkpoint import explain
from analytics.engagement import by_minute, parsed
from analytics.errors import CheckpointError
from analytics.follower import Follower
from analytics.query import Reports, start_query
from analytics.rollups import estimate
from analytics.source import source_options
from analytics.store import Store
from analytics.writer import Writer
from infra.contracts import codec, generated
from infra.contracts.events import HEARTBEAT, Event, from_ms
from infra.contracts.metrics import MEASURES
from infra.contracts.records import Action, Held, Point, Verdict
from infra.contracts.tables import METRICS_QUERY
from infra.contracts.topics import HELD
from infra.contracts.windows import HOUR, WATERMARK_DELAY
from infra.runtime.cassandra import Database
from infra.runtime.clock import SystemClock
from infra.runtime.settings import Kafka
from tests.integration.analytics.logged import Log, event, minutes, stored_tallies, stored_totals

NOON = datetime(2026, 3, 14, 12, 0, 30, tzinfo=UTC)
SPOILT = (
    None,
    b"",
    b"{",
    b"[1]",
    b"\xff\xfe",
    b'"text"',
    b'{"id":[],"type":{},"time":"never"}',
    b'{"id":"x","type":"message.sent","tenant":"acme"}',
    b'{"id":"x","type":"message.sent","tenant":"acme","time":"2099-01-01T00:00:00Z"}',
    b'{"type":"message.sent","tenant":"acme","time":"2026-03-14T12:00:00Z"}',
    b'{"event":{"id":"x"},"verdict":{"action":"allow"}}',
)


def test_every_measure_counts_what_the_registry_says(spark: SparkSession) -> None:
    verdict = Verdict(action=Action.HOLD, rule="r", version=1, reason="listed")
    held = Held(event=event(5, NOON, reply_to="event-0"), verdict=verdict)
    events = [
        event(0, NOON, channel_id="general", user_id="ada"),
        event(1, NOON, channel_id="general", user_id=None, anonymous_id="guest", type="message.edited"),
        event(2, NOON, channel_id="general", user_id="bob", type="reaction.added"),
        event(3, NOON, channel_id="general", user_id="bob", type="message.deleted"),
        event(4, NOON, channel_id="general", user_id="robot", is_bot=True),
        event(6, NOON, channel_id=None, user_id="cy", type="session.started"),
        event(7, NOON, channel_id="other", user_id="ada"),
        # Cy and dan answer; eve begins a thread, and a held answer is none.
        event(8, NOON, channel_id="other", user_id="cy", reply_to="event-7"),
        event(9, NOON, channel_id="other", user_id="dan", message_id="m9", thread_id="event-7"),
        event(10, NOON, channel_id="other", user_id="eve", message_id="m10", thread_id="m10"),
        event(11, NOON, channel_id="other", user_id="fay", type="receipt.read", thread_id="event-7"),
        Event(id="beat", type=HEARTBEAT, time=NOON, user_id="hubbub", tenant=""),
    ]
    values: list[tuple[str, bytes | None]] = [("events", codec.encode(e)) for e in events]
    values += [("held", msgspec.json.encode(held)), *((topic, bad) for bad in SPOILT for topic in ("events", "held"))]
    now = NOON + timedelta(minutes=1)
    records = spark.createDataFrame(
        [(value, topic, 0, offset, now.replace(tzinfo=None)) for offset, (topic, value) in enumerate(values)],
        "value binary, topic string, partition int, offset bigint, timestamp timestamp",
    )
    rows = by_minute(parsed(records, "held").where("time is not null")).collect()
    found = {
        row["scope"]: {
            m.name: row[m.name] if m.kind == "count" else estimate(bytes(row[m.name]))
            for m in MEASURES
            if m.kind == "count" or not row["scope"].startswith("user:")
        }
        for row in rows
    }
    assert {from_ms(row["start_ms"]) for row in rows} == {NOON.replace(second=0)}
    general = {"sent": 1, "edited": 1, "deleted": 1, "held": 0, "blocked": 0, "reactions": 1}
    nothing = dict.fromkeys(general, 0)
    assert found == {
        "tenant": {**general, "sent": 5, "held": 1, "contributors": 4, "active": 7, "responders": 3},
        "channel:general": {**general, "contributors": 1, "active": 3, "responders": 1},
        "channel:other": {**nothing, "sent": 4, "contributors": 4, "active": 5, "responders": 2},
        "channel:c2": {**nothing, "held": 1, "contributors": 0, "active": 0, "responders": 0},
        "user:ada": {**nothing, "sent": 2},
        "user:bob": {**nothing, "reactions": 1},
        **{f"user:{name}": {**nothing, "sent": 1} for name in ("cy", "dan", "eve")},
    }


class Scene:
    """The query in the shared session, with a writer and a follower as the role has them."""

    def __init__(self, spark: SparkSession, kafka: Kafka, database: Database, folder: Path) -> None:
        self.spark, self.kafka, self.folder = spark, kafka, folder
        self.store = Store(database, threading.Event())
        self.points: list[Point] = []

    @contextmanager
    def running(self, folder: str) -> Iterator[StreamingQuery]:
        writer = Writer(
            self.store,
            self.points.append,
            SystemClock(),
            stopping=threading.Event(),
            first_day=None,
            cached_rows=50,
        )
        query = start_query(
            self.spark,
            options=source_options(self.kafka, 100_000),
            held_topic=self.kafka.topic(HELD.name),
            write=writer.write,
            folder=self.folder / folder,
            read_tasks=1,
        )
        try:
            yield query
        finally:
            query.stop()


def rows_of(database: Database) -> set[tuple[object, ...]]:
    return {tuple(row) for row in database.session.execute("SELECT * FROM metric_windows")}


def test_what_is_stored_equals_a_recount(
    spark: SparkSession, topics: Kafka, database: Database, tmp_path: Path
) -> None:
    log, scene = Log(topics), Scene(spark, topics, database, tmp_path)
    start = HOUR.start(datetime.now(UTC)) - timedelta(hours=2, minutes=10)  # so that hours, at times days, are crossed
    kinds = ("message.sent", "message.sent", "reaction.added", "receipt.read", "message.edited", "message.deleted")
    first = [
        event(n, start + timedelta(seconds=4 * n), type=kinds[n % 6], reply_to=f"event-{n - 6}" if n % 5 == 0 else None)
        for n in range(300)
    ]
    log.send(*first)
    log.send(*first[250:])  # duplicates
    log.send(*(event(n, start, is_bot=True) for n in range(1_000, 1_020)), count=False)
    held = [event(n, m) for n, m in enumerate(minutes(start, 8), 2_000)]
    log.hold(Action.HOLD, *held)
    log.send(*(msgspec.structs.replace(e, late=True) for e in held[:3]))  # released: counted as held and as sent
    log.hold(Action.BLOCK, *(event(n, m) for n, m in enumerate(minutes(start, 5), 3_000)))
    log.spoil(*SPOILT, msgspec.json.encode(generated.examples()["records/decision.json"]))
    newest = start + timedelta(minutes=20)
    log.beat(newest)

    with scene.running("first") as query:
        query.processAllAvailable()
        assert stored_totals(database) == log.totals()
        assert stored_tallies(database) == log.tallies()
        assert sum(batch.duplicates for batch in Reports(query).take()) == 50

    before = rows_of(database)
    with scene.running("again") as query:
        query.processAllAvailable()
    assert rows_of(database) == before

    with scene.running("first") as query:
        log.beat(newest)
        query.processAllAvailable()
        in_time = [event(n, newest - WATERMARK_DELAY + timedelta(seconds=n - 3_999)) for n in range(4_000, 4_020)]
        log.send(*(event(n, start) for n in range(5_000, 5_009)), count=False)
        log.send(*in_time)
        query.processAllAvailable()
        log.beat(newest + timedelta(minutes=1), partitions=[0])
        query.processAllAvailable()
        batches = Reports(query).take()
    assert stored_totals(database) == log.totals()
    assert stored_tallies(database) == log.tallies()
    assert sum(batch.late for batch in batches) == 9
    # A window is called final only when no later batch may take an event of it.
    assert [batch.watermark for batch in batches] == [newest - WATERMARK_DELAY] * len(batches)

    channels = {key: tally for key, tally in stored_tallies(database, "channel").items() if key[0] == "1d"}
    assert sum(sent for sent, _ in channels.values()) == sum(
        number
        for (scope, grain, _, name), number in log.totals().items()
        if (scope, grain, name) == ("tenant", "1d", "sent")
    )
    follower = Follower(scene.store, SystemClock(), None)
    for batch in batches:
        follower.take(batch)
    stored = scene.store.progress(METRICS_QUERY)
    assert stored is not None
    assert (stored[0], stored[1].replace(tzinfo=UTC), stored[4]) == (batches[-1].batch_id, newest - WATERMARK_DELAY, 9)
    ends = msgspec.json.decode(stored[2])
    assert follower.lag == 0
    assert sum(ends[topics.topic("events")].values()) > 300
    assert {(point.scope, point.grain) for point in scene.points} == {("tenant", "1m")}


@pytest.mark.parametrize("damage", ["offsets", "state"])
def test_a_damaged_checkpoint_ends_the_query_with_words_the_role_understands(
    damage: str, spark: SparkSession, topics: Kafka, database: Database, tmp_path: Path
) -> None:
    log, scene = Log(topics), Scene(spark, topics, database, tmp_path)
    log.send(*(event(n, NOON) for n in range(10)))
    with scene.running("c") as query:
        query.processAllAvailable()
    if damage == "offsets":
        newest = max((tmp_path / "c" / "offsets").glob("[0-9]*"), key=lambda path: int(path.name))
        newest.write_bytes(newest.read_bytes()[:40])
    else:
        for delta in (tmp_path / "c" / "state").rglob("*.delta"):
            delta.unlink()
    log.send(event(11, NOON))
    with scene.running("c") as query, pytest.raises(StreamingQueryException) as failed:
        query.awaitTermination(60)
    with pytest.raises(CheckpointError, match="delete that folder"):
        explain(tmp_path / "c", str(failed.value))
