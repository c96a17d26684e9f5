"""A round that fails is tried again ever more rarely, and keeps nothing else waiting."""

from datetime import UTC, date, datetime, timedelta
from typing import cast

import msgspec
from structlog.testing import capture_logs

from analytics.reports.job import Plan, Task, View
from analytics.reports.registry import REPORTS
from analytics.reports.retries import LONGEST, Retries, periods_of
from analytics.reports.runs import Run
from infra.contracts.reports import State
from infra.runtime.clock import ManualClock
from infra.runtime.health import Check
from tests.unit.analytics.test_schedule import DAY, RUN, SPAN

NOW = datetime(2026, 3, 14, 9, tzinfo=UTC)
DAILY = ("daily", "acme", DAY, None)
CORRECTION = ("backfill", "acme", DAY, NOW)


def test_what_fails_waits_longer_each_time_up_to_a_bound() -> None:
    clock = ManualClock(NOW)
    retries = Retries(30.0, clock)
    waits = []
    for _ in range(8):
        began = clock.monotonic()
        retries.ended(frozenset({DAILY}), 1)
        while not retries.is_due(frozenset({DAILY})):
            clock.advance(1)
        waits.append(clock.monotonic() - began)
    assert waits == [30, 60, 120, 240, 480, LONGEST, LONGEST, LONGEST]


def test_what_did_not_fail_is_made_at_once() -> None:
    retries = Retries(30.0, ManualClock(NOW))
    assert not retries.is_due(frozenset())
    assert retries.is_due(frozenset({DAILY, CORRECTION}))
    retries.ended(frozenset({DAILY, CORRECTION}), 1)
    assert not retries.is_due(frozenset({DAILY}))
    assert retries.is_due(frozenset({DAILY, ("weekly", "acme", DAY, None)}))
    # The windows were corrected in the round that failed, and are to be once more.
    assert retries.is_due(frozenset({DAILY, (*CORRECTION[:3], NOW + timedelta(minutes=2))}))


def test_a_round_that_goes_well_ends_the_waiting_and_one_that_is_cut_off_says_nothing() -> None:
    retries = Retries(30.0, ManualClock(NOW))
    for _ in range(3):
        retries.ended(frozenset({DAILY}), 3)
    retries.ended(frozenset({DAILY}), None)
    assert not retries.is_due(frozenset({DAILY}))
    retries.ended(frozenset({DAILY, CORRECTION}), 0)
    assert retries() == Check(True)
    assert retries.is_due(frozenset({DAILY}))
    with capture_logs() as logs:
        retries.ended(frozenset({DAILY}), 1)
    assert [line["seconds"] for line in logs] == [30]


def test_health_and_log_say_what_waits_and_for_how_long() -> None:
    clock = ManualClock(NOW)
    retries = Retries(30.0, clock)
    with capture_logs() as logs:
        retries.ended(frozenset({DAILY}), 1)
        retries.ended(frozenset({DAILY}), -9)
    assert [(line["event"], line["failures"], line["periods"], line["seconds"]) for line in logs] == [
        ("report.retry", 1, 1, 30),
        ("report.retry", 2, 1, 60),
    ]
    clock.advance(15)
    assert retries() == Check(True, "1 periods wait 45 s; rounds failed in a row: 2")


def test_periods_are_told_apart_by_when_they_were_last_made() -> None:
    running = msgspec.structs.replace(RUN, state=State.RUNNING)
    assert periods_of([_plan({"acme": "new", "other": "changed"}, RUN)]) == {
        ("daily", "acme", DAY, None),
        ("daily", "other", DAY, RUN.finished_at),
    }
    assert periods_of([_plan({"other": "unfinished"}, running)]) == {("daily", "other", DAY, RUN.finished_at)}


def _plan(due: dict[str, str], run: Run) -> Plan:
    before: dict[tuple[str, date], Run] = {("other", DAY): run}
    view = cast(View, None)  # nothing is read
    return Plan(report=REPORTS["daily"], tasks=[Task(span=SPAN, tenants=due)], view=view, before=before)
