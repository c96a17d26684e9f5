"""What is due without anybody asking, and what is left alone."""

from datetime import UTC, date, datetime, timedelta
from typing import Any, cast
from zoneinfo import ZoneInfo

import msgspec
import pytest

from analytics.reports.coverage import Coverage
from analytics.reports.job import View, plan_of
from analytics.reports.registry import REPORTS
from analytics.reports.runs import Mark, Run
from analytics.reports.schedule import CORRECTIONS, OTHERS, due, periods
from analytics.reports.snapshot import IN_FLIGHT
from analytics.reports.spans import Span
from infra.contracts.reports import Extent, State

DAY = date(2026, 3, 13)
UTC_ZONE = ZoneInfo("UTC")
SPAN = Span(day=DAY, zone=UTC_ZONE)
MADE = SPAN.end + timedelta(minutes=5)
LATER = MADE + timedelta(hours=10)
EXTENT = Extent(versions={"events": 7, "held": 3}, rows={"events": 100, "held": 2})
RUN = Run(
    report="daily",
    period=DAY.isoformat(),
    state=State.FINISHED,
    started_at=MADE,
    finished_at=MADE,
    as_of=MADE,
    final=True,
    revision=1,
    digest="d",
    extent=EXTENT,
)


def why(
    name: str = "daily",
    run: Run | None = RUN,
    extent: Extent = EXTENT,
    marks: tuple[Mark, ...] = (),
    as_of: datetime | None = LATER,
    now: datetime = LATER,
) -> str | None:
    return due(REPORTS[name], SPAN, run, extent, marks, Coverage(as_of=as_of, at=now), now)


def mark(changed: datetime | None = None, removed: datetime | None = None, day: date = DAY) -> Mark:
    return Mark(day=day, changed=changed, removed=removed)


def test_a_period_is_made_once_it_is_final():
    assert why(run=None, as_of=SPAN.end - timedelta(hours=1)) is None
    assert why(run=None, as_of=None) is None
    assert why(run=None) == "new"
    assert why() is None


def test_nobody_needs_a_page_of_zeros():
    nothing = Extent(versions=EXTENT.versions, rows={"events": 0, "held": 0})
    assert why(run=None, extent=nothing) is None
    assert why(run=RUN, extent=nothing) == "changed"  # there was something, and it is gone


def test_what_was_killed_is_gone_on_with_at_once():
    assert why(run=msgspec.structs.replace(RUN, state=State.RUNNING), now=MADE + timedelta(seconds=1)) == "unfinished"


@pytest.mark.parametrize(("name", "settle"), [("daily", timedelta(hours=1)), ("backfill", timedelta(minutes=1))])
def test_corrections_are_gathered_for_a_while(name: str, settle: timedelta):
    more = msgspec.structs.replace(EXTENT, rows={"events": 101, "held": 2})
    assert why(name, extent=more, now=MADE + settle - timedelta(seconds=1)) is None
    assert why(name, extent=more, now=MADE + settle) == "changed"


def test_a_mark_counts_once_everything_accepted_by_then_is_archived():
    decided = MADE + timedelta(hours=2)
    for name in ("daily", "backfill"):
        assert why(name, marks=(mark(changed=decided),), as_of=decided) is None
        assert why(name, marks=(mark(changed=decided),)) == "removed"
        seen = msgspec.structs.replace(RUN, as_of=decided + 2 * IN_FLIGHT)
        assert why(name, run=seen, marks=(mark(changed=decided),)) is None
        assert why(name, marks=(mark(changed=decided, day=DAY - timedelta(days=2)),)) is None


def test_a_delete_long_after_the_message_changes_what_is_left_and_no_window():
    deleted = (mark(removed=MADE + timedelta(hours=2)),)
    assert why("daily", marks=deleted) == "removed"
    assert why("backfill", marks=deleted) is None


def test_windows_of_an_open_day_are_corrected_and_no_report_is_made_of_it():
    decided = SPAN.start + timedelta(hours=9)
    open_day: dict[str, Any] = {"as_of": decided + 2 * IN_FLIGHT, "now": decided + 3 * IN_FLIGHT}
    for run in (None, msgspec.structs.replace(RUN, final=False, as_of=decided, finished_at=decided)):
        assert why("backfill", run, marks=(mark(changed=decided),), **open_day) == "corrected"
        assert why("backfill", run, **open_day) is None
        assert why("daily", run, marks=(mark(changed=decided),), **open_day) is None
    counted = msgspec.structs.replace(RUN, final=False, as_of=decided + 2 * IN_FLIGHT, finished_at=decided)
    assert why("backfill", counted, marks=(mark(changed=decided),), **open_day) is None


def test_every_report_is_a_correction_or_another():
    assert list(CORRECTIONS) == [REPORTS["backfill"]]
    assert {report.name for report in (*CORRECTIONS, *OTHERS)} == set(REPORTS)
    assert len(CORRECTIONS) + len(OTHERS) == len(REPORTS)


def test_corrections_are_made_newest_first_and_reports_oldest():
    days = [SPAN, Span(day=DAY + timedelta(days=1), zone=UTC_ZONE), Span(day=DAY - timedelta(days=1), zone=UTC_ZONE)]
    due = [("acme", span, "changed") for span in days]
    made = {name: plan_of(REPORTS[name], cast(View, None), {}, due).tasks for name in ("daily", "backfill")}
    assert [task.span.day.day for task in made["daily"]] == [12, 13, 14]
    assert [task.span.day.day for task in made["backfill"]] == [14, 13, 12]


def test_periods_are_those_of_the_days_and_those_around_marks():
    marks = [mark(changed=LATER, day=date(2026, 1, 31))]
    found = periods(REPORTS["monthly"], DAY, DAY, marks, ZoneInfo("Asia/Kathmandu"))
    assert [span.day for span in found] == [date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1)]
    days = periods(REPORTS["daily"], DAY, DAY + timedelta(days=1), marks, UTC_ZONE)
    assert [span.day.day for span in days] == [30, 31, 1, 13, 14]
    assert datetime(2026, 1, 31, tzinfo=UTC) in {span.start for span in days}
