"""Reports as they are made: killed in the middle, told apart by what the archive has, stored for whoever reads them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from pyspark.sql import SparkSession

from analytics.reports.coverage import Coverage, measure
from analytics.reports.job import Job
from analytics.reports.registry import REPORTS
from analytics.reports.runs import Runs
from analytics.reports.snapshot import Snapshot
from analytics.reports.spans import Span
from analytics.rollups import estimate
from analytics.settings import Analytics
from infra.contracts.control import Tenant
from infra.contracts.metrics import MEASURES, TENANT_SCOPE, channel_scope
from infra.contracts.records import Point
from infra.contracts.reports import Document, State
from infra.contracts.review import Entry, Verb
from infra.contracts.tables import KEEP_DECISION, MEASURE_COLUMNS, MEMBERS, PUT_WINDOW, WINDOWS
from infra.contracts.windows import DAY, HOUR, MINUTE, WATERMARK_DELAY, Grain
from infra.runtime import control
from infra.runtime.archive import ArchiveReader
from infra.runtime.cassandra import Database
from infra.runtime.clock import SystemClock
from infra.runtime.settings import Archive, Cassandra, Kafka, Runtime
from tests.integration.analytics.archived import Fact, community, fact, recount, write
from tests.integration.analytics.logged import Log, event

FIRST, LAST = date(2026, 3, 10), date(2026, 3, 13)
START = datetime(2026, 3, 10, tzinfo=UTC)
AFTER = START + timedelta(days=4, hours=2)
UTC_ZONE = ZoneInfo("UTC")
NAMES = ("sent", "net", "edited", "deleted", "held", "blocked", "reactions", "joins", "leaves")


@pytest.fixture
def reader(tmp_path: Path) -> ArchiveReader:
    return ArchiveReader(Archive(location=str(tmp_path / "archive")), Runtime())


@pytest.fixture
def facts(reader: ArchiveReader) -> list[Fact]:
    found = community(seed=3, start=START, days=4, count=2_000)
    write(Path(reader.root), found)
    return found


def job(
    reader: ArchiveReader,
    topics: Kafka,
    database: Database,
    spark: Callable[[], SparkSession],
    publish: Callable[[Point], None] = lambda point: None,
) -> Job:
    runs = Runs(database)
    return Job(runs=runs, reader=reader, kafka=topics, clock=SystemClock(), spark=spark, publish=publish)


def not_needed() -> SparkSession:
    raise AssertionError("Spark was started though nothing is due")


def wait_until(holds: Callable[[], bool], seconds: float = 400.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_killed_it_goes_on_with_the_day_it_was_at(
    analytics: Analytics,
    java_home: Path,
    topics: Kafka,
    keyspace: Cassandra,
    database: Database,
    reader: ArchiveReader,
    facts: list[Fact],
    tmp_path: Path,
) -> None:
    Log(topics).beat(AFTER)
    control.publish(topics, [Tenant(id="acme"), Tenant(id="other", timezone="Europe/Berlin")])
    environment = {
        **os.environ,
        "HUBBUB_KAFKA_TOPIC_PREFIX": topics.topic_prefix,
        "HUBBUB_CASSANDRA_KEYSPACE": keyspace.keyspace,
        "HUBBUB_ARCHIVE_LOCATION": reader.root,
        "HUBBUB_ANALYTICS_JARS": analytics.jars,
        "HUBBUB_JAVA_HOME": str(java_home),
        "HUBBUB_DATA_DIR": str(tmp_path),
    }
    command = [sys.executable, "-m", "infra.cli", "report", "daily", "--from", str(FIRST), "--to", str(LAST), "--json"]
    runs = Runs(database)

    def finished() -> dict[tuple[str, date], datetime | None]:
        found = {(t, day): run for t in ("acme", "other") for (_, day), run in runs.between(t, FIRST, LAST).items()}
        return {key: run.finished_at for key, run in found.items() if run.state is State.FINISHED}

    with (tmp_path / "killed.log").open("wb") as output:
        killed = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        try:
            wait_until(lambda: len(finished()) >= 2 or killed.poll() is not None)
        finally:
            killed.send_signal(signal.SIGKILL)
            killed.wait()
    before = finished()
    assert 2 <= len(before) < 8, (tmp_path / "killed.log").read_text()

    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{8 - len(before)} counted, {len(before)} as they were" in done.stderr
    assert {key: at for key, at in finished().items() if key in before} == before
    documents = msgspec.json.decode(done.stdout, type=list[Document])
    assert [(d.tenant, d.period) for d in documents] == [
        (t, str(FIRST + timedelta(days=n))) for t in ("acme", "other") for n in range(4)
    ]
    for document in documents:
        span = Span(day=date.fromisoformat(document.period), zone=ZoneInfo(document.timezone))
        expected = recount(facts, document.tenant, span)["total"][""]
        assert {n: document.figures[n] for n in NAMES if document.figures[n]} == {
            n: expected[n] for n in NAMES if n in expected
        }
        assert (document.as_of, document.final, document.revision) == (AFTER, True, 1)
    # Nothing is due: the next asks no Spark.
    plan = job(reader, topics, database, not_needed).plan(
        REPORTS["daily"], FIRST, LAST, {"acme": UTC_ZONE, "other": ZoneInfo("Europe/Berlin")}
    )
    assert plan.tasks == []


def test_only_what_changed_is_counted_again(
    topics: Kafka, database: Database, reader: ArchiveReader, facts: list[Fact], delta: SparkSession
) -> None:
    log = Log(topics)
    log.beat(AFTER)
    tenants = {"acme": UTC_ZONE}
    root = Path(reader.root)
    runs = Runs(database)

    def again(spark: Callable[[], SparkSession] = lambda: delta, **options: Any) -> dict[date, str]:
        made = job(reader, topics, database, spark)
        plan = made.plan(REPORTS["daily"], FIRST, LAST, tenants, **options)
        return {task.span.day: task.tenants["acme"] for task in made.make(plan)}

    def figures(day: date) -> tuple[Any, ...]:
        document = runs.document("acme", "daily", day)
        return document.revision, document.figures["sent"], document.figures["net"]

    assert set(again().values()) == {"new"}
    assert again(not_needed) == {}
    second = FIRST + timedelta(days=1)
    revision, sent, net = figures(second)
    moment = START + timedelta(days=1, hours=12)
    write(root, [fact(50_000, moment, id="late")])
    assert again() == {second: "changed"}
    assert figures(second) == (revision + 1, sent + 1, net + 1)
    # A week later it is deleted, in a day that nobody asks about.
    write(root, [fact(50_001, AFTER + timedelta(days=3), type="message.deleted", message_id="late")])
    assert again() == {second: "removed"}
    assert figures(second) == (revision + 2, sent + 1, net)
    log.beat(AFTER + timedelta(days=4))
    assert set(again(again=True).values()) == {"asked"}
    assert figures(second) == (revision + 2, sent + 1, net)
    assert again(not_needed) == {}


def test_what_waits_to_be_archived_is_told(
    topics: Kafka, database: Database, reader: ArchiveReader, facts: list[Fact], delta: SparkSession
) -> None:
    log = Log(topics)
    noon = START + timedelta(hours=12)
    log.beat(noon)
    made = job(reader, topics, database, lambda: delta)
    list(made.make(made.plan(REPORTS["daily"], FIRST, FIRST, {"acme": UTC_ZONE})))
    open_day = Runs(database).document("acme", "daily", FIRST)
    assert (open_day.as_of, open_day.complete, open_day.final) == (noon, False, False)
    log.send(event(1, noon - timedelta(minutes=3), received_at=noon - timedelta(minutes=2)))
    log.beat(AFTER)
    coverage = measure(topics, Snapshot(reader, REPORTS["daily"].tables).archived(topics), AFTER)
    assert coverage == Coverage(as_of=noon - timedelta(minutes=2), at=AFTER)
    assert not coverage.is_complete(Span(day=FIRST, zone=UTC_ZONE).end)


def windows(database: Database, source: str, grain: Grain, scope: str = TENANT_SCOPE) -> dict[datetime, dict[str, Any]]:
    """The first day's stored windows by their start: each measure column, and the revision."""
    values = ("acme", scope, grain.name, grain.period_of(START), source, START, START + DAY.width)
    rows = database.session.execute(database.prepared(WINDOWS).bind(values))
    return {
        row[0].replace(tzinfo=UTC): dict(zip((*MEASURE_COLUMNS, "revision"), row[1:-1], strict=True)) for row in rows
    }


def stream(database: Database, grain: Grain, start: datetime, revision: int, values: dict[str, int]) -> None:
    """Store a window as the stream would have."""
    key = ("acme", TENANT_SCOPE, grain.name, grain.period_of(start), "stream", start)
    stored = [values.get(name) for name in MEASURE_COLUMNS]
    database.session.execute(database.prepared(PUT_WINDOW).bind((*stored, revision, AFTER, *key)))


def members(database: Database, grain: Grain, start: datetime) -> dict[str, tuple[int, ...]]:
    """What channels are ranked by."""
    rows = database.session.execute(database.prepared(MEMBERS).bind(("acme", "channel", grain.name, start)))
    return {member: tuple(counted) for member, *counted in rows}


def numbers(values: dict[str, int]) -> dict[str, int]:
    """Every measure of a recount."""
    return {measure.name: values.get(measure.name, 0) for measure in MEASURES}


def test_windows_that_were_streamed_wrong_are_corrected_and_parity_is_told(
    topics: Kafka, database: Database, reader: ArchiveReader, facts: list[Fact], delta: SparkSession
) -> None:
    Log(topics).beat(AFTER)
    expected = recount(facts, "acme", Span(day=FIRST, zone=UTC_ZONE))
    whole, hours = numbers(expected["total"][""]), {int(n): numbers(h) for n, h in expected["hour"].items()}
    right, wrong = START + timedelta(hours=5), START + timedelta(hours=6)
    stream(database, DAY, START, 41, {**whole, "sent": whole["sent"] - 1})
    stream(database, HOUR, right, 3, {**hours[5], "active": hours[5]["active"] + 1})
    stream(database, HOUR, wrong, 7, {**hours[6], "sent": hours[6]["sent"] + 2})
    busy = {MINUTE.start(event.time) for event, _ in facts}
    quiet = next(start for n in range(1440) if (start := START + n * MINUTE.width) not in busy)
    stream(database, MINUTE, quiet, 9, {"sent": 3, "active": 1, "contributors": 1})
    published: list[Point] = []
    made = job(reader, topics, database, lambda: delta, published.append)

    def count(name: str) -> Document:
        list(made.make(made.plan(REPORTS[name], FIRST, FIRST, {"acme": UTC_ZONE}, again=True)))
        return Runs(database).document("acme", name, FIRST)

    document = count("backfill")
    (day,) = windows(database, "batch", DAY).values()
    assert {name: day[name] for name in whole} == whole
    assert day["revision"] == 42
    assert estimate(day["active_sketch"]) == pytest.approx(whole["active"], rel=0.05)
    corrected = windows(database, "batch", HOUR)
    assert right not in corrected
    assert corrected[wrong]["revision"] == 8
    for start, hour in corrected.items():
        assert {name: hour[name] for name in whole} == hours[start.hour]
    assert len(corrected) == len(hours) - 1
    minutes = windows(database, "batch", MINUTE)
    assert sum(minute["sent"] for minute in minutes.values()) == whole["sent"]
    assert {name: minutes[quiet][name] for name in whole} == dict.fromkeys(whole, 0)
    assert (minutes[quiet]["revision"], minutes[quiet]["active_sketch"]) == (10, None)
    for channel, found in expected["channel"].items():
        for row in windows(database, "batch", DAY, channel_scope(channel)).values():
            assert {name: row[name] for name in whole} == numbers(found)
        for grain in (HOUR, DAY):
            for start, row in windows(database, "batch", grain, channel_scope(channel)).items():
                ranked = tuple(row[name] for name in ("sent", "reactions", "contributors"))
                assert members(database, grain, start)[channel] == ranked
    assert {point.start: point.values["sent"] for point in published} == {s: m["sent"] for s, m in minutes.items()}
    (sent,) = (row for row in document.sections[1].rows if row["metric"] == "messages_sent")
    assert (sent["streamed"], sent["exact"]) == (3, whole["sent"])
    parity = count("parity")
    # No channel was streamed, so every channel is off as well.
    assert parity.figures["off"] == parity.figures["compared"]
    drift = {row["metric"]: row["drift"] for row in parity.sections[0].rows}
    assert (
        drift["messages_sent"]
        == whole["sent"]
        - 1
        - recount(facts, "acme", Span(day=FIRST, zone=UTC_ZONE), moderated=False)["total"][""]["sent"]
    )
    # Made again, nothing is written or published, and no revision grows.
    published.clear()
    again = count("backfill")
    assert (again.revision, again.figures) == (document.revision, document.figures)
    assert windows(database, "batch", MINUTE) == minutes
    assert published == []


def test_of_an_open_day_what_is_over_is_corrected(
    topics: Kafka, database: Database, reader: ArchiveReader, facts: list[Fact], delta: SparkSession
) -> None:
    noon = START + timedelta(hours=12)
    Log(topics).beat(noon)
    made = job(reader, topics, database, lambda: delta)
    list(made.make(made.plan(REPORTS["backfill"], FIRST, FIRST, {"acme": UTC_ZONE})))
    hours = recount(facts, "acme", Span(day=FIRST, zone=UTC_ZONE))["hour"]
    assert {start.hour for start in windows(database, "batch", HOUR)} == {int(n) for n in hours if int(n) < 11}
    assert max(windows(database, "batch", MINUTE)) < noon - WATERMARK_DELAY
    assert windows(database, "batch", DAY) == {}
    assert not Runs(database).document("acme", "backfill", FIRST).final


def test_a_decision_makes_the_week_of_its_message_again(
    topics: Kafka, database: Database, reader: ArchiveReader, delta: SparkSession
) -> None:
    Log(topics).beat(START + timedelta(days=20))
    root = Path(reader.root)
    noon = START + timedelta(hours=12)
    held = [fact(n, noon, "held", user_id="mal") for n in (1, 2)]
    write(root, [fact(0, noon), *held])

    def decide(verb: Verb, about: str, minutes: int) -> None:
        at = noon + timedelta(minutes=minutes, milliseconds=20)
        entry = Entry(
            id=f"{verb}-{about}",
            verb=verb,
            decided_at=at,
            decided_by="key",
            moderator="ada",
            message_id=about,
            held_event_id=about,
        )
        line = msgspec.json.encode(entry).decode()
        values = (-int(at.timestamp() * 1_000_000), line, "acme", at.date().isoformat(), entry.id)
        database.session.execute(database.prepared(KEEP_DECISION).bind(values))

    def again(spark: Callable[[], SparkSession] = lambda: delta) -> list[str]:
        made = job(reader, topics, database, spark)
        plan = made.plan(REPORTS["moderation"], FIRST, FIRST, {"acme": UTC_ZONE})
        return [task.tenants["acme"] for task in made.make(plan)]

    def figures() -> list[Any]:
        document = Runs(database).document("acme", "moderation", date(2026, 3, 9))
        names = ("held", "released", "rejected", "waiting", "median")
        return [document.revision, *(document.figures[name] for name in names)]

    assert again() == ["new"]
    assert figures() == [1, 2, 0, 0, 2, None]
    # A release brings the event once more, and what was rejected is hidden by one of another week.
    decide(Verb.RELEASE, "e1", 10)
    write(root, [fact(1, noon, user_id="mal", late=True)])
    assert again() == ["changed"]
    assert figures() == [2, 2, 1, 0, 1, 600.0]
    decide(Verb.REJECT, "e2", 30)
    later = START + timedelta(days=21)
    write(root, [fact(5, later, type="message.blocked", message_id="e2", user_id="hubbub")])
    assert again() == ["removed"]
    assert figures() == [3, 2, 1, 1, 0, 1_200.0]
