"""Retention, lifecycle and sessions on real Spark are what SQL in DuckDB finds, down to every cohort and person."""

from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from pyspark.sql import SparkSession

from tests.bench.crosscheck import Crosscheck, check, periods
from tests.bench.recount import Recount
from tests.integration.analytics.archived import write
from tests.integration.analytics.cohorts import joining
from tests.integration.analytics.visited import comings

BERLIN = ZoneInfo("Europe/Berlin")


def test_cohorts_and_states_are_the_same(delta: SparkSession) -> None:
    facts = joining(datetime(2025, 12, 5, 3, tzinfo=UTC), 130)
    names = ("retention", "retention-daily", "retention-monthly", "lifecycle", "lifecycle-daily")
    tallies = check(delta, facts, names=names, most=2, tenant="acme", zone=BERLIN)
    assert [line for tally in tallies.values() for line in tally.differences] == []
    numbers = {place: tally.numbers for place, tally in tallies.items()}
    assert numbers["retention", "first_time"] > 100
    assert numbers["retention", "recurring"] > 100
    assert numbers["lifecycle", "weeks"] > 60


def test_sessions_are_the_same(delta: SparkSession) -> None:
    facts = comings(seed=5, start=datetime(2026, 3, 26, tzinfo=UTC), days=5)
    tallies = check(delta, facts, names=["sessions"], most=3, tenant="acme", zone=BERLIN)
    assert [line for tally in tallies.values() for line in tally.differences] == []
    assert tallies["sessions", "top_users"].rows > 20
    assert tallies["sessions", "lengths"].rows > 8


def test_one_event_less_is_found_out(delta: SparkSession, tmp_path: Path) -> None:
    facts = joining(datetime(2026, 1, 5, tzinfo=UTC), 20)
    write(tmp_path / "archive", facts)
    came = next(fact for fact in facts if fact[0].author == "n19")
    recount = Recount([fact for fact in facts if fact is not came], tmp_path)
    checking = Crosscheck(delta, tmp_path / "archive", recount, "acme", ZoneInfo("UTC"))
    ((span, as_of),) = periods("lifecycle-daily", [date(2026, 1, 24)], ZoneInfo("UTC"), 1)
    checking.compare("lifecycle-daily", span, as_of)
    checking.close()
    recount.close()
    differences = [line for tally in checking.tallies.values() for line in tally.differences]
    # On the day they came they are active and new, among the figures and among the days.
    assert len(differences) == 4
    assert all(line.startswith("lifecycle-daily 2026-01-24 ") for line in differences)
