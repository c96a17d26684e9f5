"""What the stream counted of some days and what the archive has of them: additive numbers are the same.

HUBBUB_PARITY_DAYS and HUBBUB_PARITY_EVENTS make it a longer and busier community; HUBBUB_PARITY_IRC names a folder of
IRC logs to take instead. The table it prints is by metric, over all days.
"""

import os
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pyspark.sql import SparkSession

from analytics.reports.job import Job
from analytics.reports.registry import REPORTS
from analytics.reports.runs import Runs
from analytics.settings import Analytics
from infra.contracts.metrics import METRICS, SKETCH_ERROR
from infra.runtime.archive import ArchiveReader
from infra.runtime.cassandra import Database
from infra.runtime.clock import SystemClock
from infra.runtime.settings import Archive, Cassandra, Kafka, Runtime
from tests.integration.analytics.archived import Fact, community
from tests.integration.analytics.chat import irc
from tests.integration.analytics.streamed import stream

START = datetime(2026, 3, 2, tzinfo=UTC)
DAYS = int(os.environ.get("HUBBUB_PARITY_DAYS", "3"))
EVENTS = int(os.environ.get("HUBBUB_PARITY_EVENTS", "3000"))


def logged_days() -> tuple[list[Fact], list[date]]:
    """The events in the order they were received, and the days they are of."""
    folder = os.environ.get("HUBBUB_PARITY_IRC")
    if folder is None:
        facts = community(seed=11, start=START, days=DAYS, count=EVENTS)
    else:
        facts = [(event, "events") for event in irc(Path(folder))]
    facts.sort(key=lambda fact: fact[0].received_at or fact[0].time)
    return facts, sorted({event.time.date() for event, _ in facts})


def test_additive_numbers_are_the_same_and_people_within_the_error(
    analytics: Analytics,
    java_home: Path,
    topics: Kafka,
    keyspace: Cassandra,
    database: Database,
    delta: SparkSession,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    facts, days = logged_days()
    stream(facts, topics, keyspace, analytics, java_home, tmp_path)
    runs = Runs(database)
    reader = ArchiveReader(Archive(), Runtime(data_dir=tmp_path))
    ignore: Callable[[Any], None] = lambda point: None  # noqa: E731 - its type is the point
    job = Job(runs=runs, reader=reader, kafka=topics, clock=SystemClock(), spark=lambda: delta, publish=ignore)
    sums: dict[str, list[float]] = defaultdict(lambda: [0, 0, 0])
    worst: dict[str, float] = defaultdict(float)
    for day in days:
        plan = job.plan(REPORTS["parity"], day, day, {"acme": ZoneInfo("UTC")})
        assert [task.span.day for task in job.make(plan)] == [day]
        document = runs.document("acme", "parity", day)
        assert document.final
        assert document.figures["off"] == 0, document.sections[0].rows
        for row in document.sections[0].rows:
            name, streamed, exact = str(row["metric"]), float(row["streamed"] or 0), float(row["exact"] or 0)
            sums[name] = [a + b for a, b in zip(sums[name], (1, streamed, exact), strict=True)]
            if METRICS[name].approximate:
                worst[name] = max(worst[name], abs(streamed - exact) / exact)
            else:
                assert streamed == exact, (day, row)
    assert sums["messages_sent"][2] == sum(
        1
        for (event, outcome) in {(e.tenant, e.id, o): (e, o) for e, o in reversed(facts)}.values()
        if event.tenant == "acme" and outcome == "events" and event.type == "message.sent" and not event.is_bot
    )
    with capsys.disabled():
        print(f"\nparity of {len(days)} days, {len(facts):,} events; people within {3 * SKETCH_ERROR:.1%} of a day")
        for name, (count, streamed, exact) in sums.items():
            of = count if METRICS[name].per else 1  # a ratio by the day
            both = f"streamed {streamed / of:11,.7g}  exact {exact / of:11,.7g}"
            print(f"{name:20} {count:4.0f} days  {both}  worst {worst[name]:.2%}")
