"""Which reports are due without anybody asking: periods that are over, and those that something changed since.

A period is counted when it is final, and again when the archive has more of its days, when a message of them was taken
away, or when a decision changed their numbers. The windows of a day that is not over are corrected as well.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from analytics.reports.coverage import Coverage
from analytics.reports.facts import APART
from analytics.reports.job import Job, Plan, plan_of
from analytics.reports.registry import REPORTS
from analytics.reports.report import Report
from analytics.reports.runs import Mark, Run, Runs, reason
from analytics.reports.snapshot import IN_FLIGHT
from analytics.reports.spans import Span
from infra.contracts.reports import Extent

#: Corrections are promised within minutes, and come before the others, which may take as many.
CORRECTIONS: Final = tuple(report for report in REPORTS.values() if report.corrects)
OTHERS: Final = tuple(report for report in REPORTS.values() if not report.corrects)
#: Zones are up to 14 hours ahead of UTC: today somewhere is at most a day from today in UTC.
_AHEAD: Final = timedelta(days=1)
#: The longest period there is.
_PERIOD: Final = timedelta(days=31)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The reports of all tenants, kept up for so many `days`, and older ones of which a day was marked within those."""

    job: Job
    runs: Runs
    days: int

    def plans(
        self, tenants: Mapping[str, ZoneInfo], now: datetime, reports: Sequence[Report] = (*CORRECTIONS, *OTHERS)
    ) -> Iterator[Plan]:
        """What is due of each of these, made from the archive as it is now. Raises as `Job.look` and `Runs` do."""
        view = self.job.look(list({table.name: table for report in reports for table in report.tables}.values()))
        first, last = now.date() - timedelta(days=self.days), now.date() + _AHEAD
        marks = {tenant: _recent(self.runs.marks(tenant), now - timedelta(days=self.days)) for tenant in tenants}
        runs = {tenant: self._runs(tenant, first, last, marks[tenant]) for tenant in tenants}
        for report in reports:
            before: dict[tuple[str, date], Run] = {}
            found = []
            for tenant, zone in tenants.items():
                for span in periods(report, first, last, marks[tenant], zone):
                    run = runs[tenant].get((report.name, span.day))
                    if run is not None:
                        before[tenant, span.day] = run
                    extent = view.snapshot.extent(span, report.tables)
                    why = due(report, span, run, extent, marks[tenant], view.coverage, now)
                    if why is not None:
                        found.append((tenant, span, why))
            if found:
                yield plan_of(report, view, before, found)

    def _runs(self, tenant: str, first: date, last: date, marks: Sequence[Mark]) -> dict[tuple[str, date], Run]:
        """The runs of every period that may be due, by report and first day."""
        found = self.runs.between(tenant, first - _PERIOD, last)
        for mark in marks:
            if mark.day < first:
                found |= self.runs.between(tenant, mark.day - _PERIOD, mark.day + APART)
        return found


def periods(report: Report, first: date, last: date, marks: Iterable[Mark], zone: ZoneInfo) -> list[Span]:
    """The report's periods of these days, and of those around the marks, oldest first."""
    spans = set(report.spans(first, last, zone))
    for mark in marks:
        spans.update(report.spans(mark.day - APART, mark.day + APART, zone))
    return sorted(spans, key=lambda span: span.day)


def due(
    report: Report,
    span: Span,
    run: Run | None,
    extent: Extent,
    marks: Iterable[Mark],
    coverage: Coverage,
    now: datetime,
) -> str | None:
    """Why this period is to be counted now, or None.

    `extent` and `coverage` are what the archive has now. A mark counts once all that was accepted by then is archived.
    """
    if run is None and not any(extent.rows.values()):
        return None  # nobody needs a page of zeros
    changed = _newest(report, span, marks)
    seen = run.as_of if run is not None else None
    stale = _is_past(changed, coverage.as_of) and not _is_past(changed, seen)
    if coverage.is_final(span.until):
        why = reason(run, extent, final=True, removed=stale, again=False)
    else:
        why = "corrected" if report.corrects and stale else None
    if run is None or run.finished_at is None or why in ("unfinished", "final"):
        return why
    return why if now - run.finished_at >= report.settle else None


def _newest(report: Report, span: Span, marks: Iterable[Mark]) -> datetime | None:
    """When something last changed the period's numbers, as far as this report has them: windows count no net."""
    first, last = span.utc_days
    found = [
        at
        for mark in marks
        if first - APART <= mark.day <= last + APART
        for at in (mark.changed, None if report.corrects else mark.removed)
        if at is not None
    ]
    return max(found, default=None)


def _is_past(moment: datetime | None, as_of: datetime | None) -> bool:
    """Whether all that was accepted by this moment is counted as of the other."""
    return moment is not None and as_of is not None and as_of > moment + IN_FLIGHT


def _recent(marks: Iterable[Mark], since: datetime) -> list[Mark]:
    return [mark for mark in marks if any(at is not None and at >= since for at in (mark.changed, mark.removed))]
