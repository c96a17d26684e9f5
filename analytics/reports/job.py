"""Makes a report for a range of days: what is due, one period after the other, each stored before the next begins.

Killed at any moment, it goes on with the period it was at.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo

import msgspec
import structlog
from pyspark.sql import SparkSession

from analytics.reports import counting, parity, trail, windows
from analytics.reports.coverage import Coverage, measure
from analytics.reports.page import page
from analytics.reports.report import Report
from analytics.reports.runs import Run, Runs, next_revision, reason
from analytics.reports.sheet import sheet
from analytics.reports.snapshot import Removal, Snapshot, is_after
from analytics.reports.spans import Span
from infra.contracts.archive import ArchiveTable
from infra.contracts.records import Point
from infra.contracts.reports import Document, Format
from infra.runtime.archive import ArchiveReader
from infra.runtime.clock import Clock
from infra.runtime.settings import Kafka

#: A tenant, one of its periods, and why it is to be counted.
Due = tuple[str, Span, str]

log = structlog.get_logger("hubbub.reports")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One period to be counted for tenants of one time zone, and why."""

    span: Span
    tenants: Mapping[str, str]
    """Tenant → reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The archive as it is looked at once: fixed versions of its tables, and how far they reach."""

    snapshot: Snapshot
    coverage: Coverage


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be made, and from what. `before` has the last runs, by tenant and first day."""

    report: Report
    tasks: Sequence[Task]
    view: View
    before: Mapping[tuple[str, date], Run]


def plan_of(report: Report, view: View, before: Mapping[tuple[str, date], Run], due: Iterable[Due]) -> Plan:
    """The periods that are due, oldest first, corrections newest; tenants of one time zone are counted together."""
    tasks: dict[Span, dict[str, str]] = defaultdict(dict)
    for tenant, span, why in due:
        tasks[span][tenant] = why
    spans = sorted(tasks, key=lambda s: (s.day, s.zone.key), reverse=report.corrects)
    ordered = [Task(span=span, tenants=tasks[span]) for span in spans]
    return Plan(report=report, tasks=ordered, view=view, before=before)


class Job:
    """Reports over one archive. `spark` is started when the first day is due; `publish` gets corrected minutes."""

    def __init__(
        self,
        *,
        runs: Runs,
        reader: ArchiveReader,
        kafka: Kafka,
        clock: Clock,
        spark: Callable[[], SparkSession],
        publish: Callable[[Point], None],
    ) -> None:
        self._runs = runs
        self._corrections = windows.Corrections(runs=runs, publish=publish, clock=clock)
        self._reader = reader
        self._kafka = kafka
        self._clock = clock
        self._spark = spark

    def look(self, tables: Sequence[ArchiveTable]) -> View:
        """The archive as it is now. Raises as `Snapshot` and `measure` do."""
        snapshot = Snapshot(self._reader, tables)
        return View(snapshot=snapshot, coverage=measure(self._kafka, snapshot.archived(self._kafka), self._clock.now()))

    def plan(
        self, report: Report, first: date, last: date, tenants: Mapping[str, ZoneInfo], *, again: bool = False
    ) -> Plan:
        """What is due of the periods that these days, both included, lie in."""
        view = self.look(report.tables)
        before: dict[tuple[str, date], Run] = {}
        spans: dict[tuple[str, date], Span] = {}
        for tenant, zone in tenants.items():
            periods = report.spans(first, last, zone)
            found = self._runs.between(tenant, periods[0].day, periods[-1].day)
            before |= {(tenant, day): run for (name, day), run in found.items() if name == report.name}
            spans |= {(tenant, span.day): span for span in periods}
        removals = self._removals(report, view.snapshot, spans, before)
        due = []
        for (tenant, day), span in spans.items():
            run = before.get((tenant, day))
            why = reason(
                run,
                view.snapshot.extent(span, report.tables),
                final=view.coverage.is_final(span.until),
                removed=_unseen(removals, tenant, span, run),
                again=again,
            )
            if why is not None:
                due.append((tenant, span, why))
        return plan_of(report, view, before, due)

    def make(self, plan: Plan) -> Iterator[Task]:
        """Do the tasks, and yield each that is done."""
        for task in plan.tasks:
            self._make(plan, task)
            yield task

    def _make(self, plan: Plan, task: Task) -> None:
        report, span = plan.report, task.span
        began = self._clock.monotonic()
        for tenant in task.tenants:
            self._runs.start(tenant, report.name, span.day, self._clock.now())
        for counted in self._count(plan, task):
            previous = plan.before.get((counted.tenant, span.day))
            stored = self._runs.stored(counted.tenant, report.name, span.day) if previous else None
            document = msgspec.structs.replace(counted, revision=next_revision(previous, stored, counted))
            self._runs.store(document, rendered(document))
            self._runs.finish(document, plan.view.snapshot.extent(span, report.tables), self._clock.now())
        log.info(
            "report.made",
            report=report.name,
            day=span.day.isoformat(),
            zone=span.zone.key,
            tenants=len(task.tenants),
            seconds=round(self._clock.monotonic() - began, 3),
        )

    def _count(self, plan: Plan, task: Task) -> list[Document]:
        report, span, tenants, spark = plan.report, task.span, list(task.tenants), self._spark()
        coverage, versions = plan.view.coverage, plan.view.snapshot.extent(span, plan.report.tables).versions
        tables = {
            table.name: counting.read(spark, self._reader.root, table, versions[table.name], tenants)
            for table in report.tables
        }
        if report.streamed:
            streamed = list(windows.streamed(self._runs, tenants, span))
            tables[parity.STREAMED] = spark.createDataFrame(streamed, parity.STREAMED_SCHEMA)
        if report.reviewed:
            decided = list(trail.decisions(self._runs, tenants, span, self._clock.now()))
            tables[trail.DECISIONS] = spark.createDataFrame(decided, trail.SCHEMA)
        as_of = coverage.as_of or span.start
        rows = report.query(tables, span, as_of)
        found: Iterable[counting.Row]
        if report.corrects:
            counted = (row.asDict() for row in rows.toLocalIterator(prefetchPartitions=False))
            found = self._corrections(counted, tenants, span, as_of)
        else:
            found = (row.asDict() for row in counting.shown(rows, report.shapes).collect())
        return counting.documents(report, found, tenants, span, coverage, versions)

    def _removals(
        self,
        report: Report,
        snapshot: Snapshot,
        spans: Mapping[tuple[str, date], Span],
        before: Mapping[tuple[str, date], Run],
    ) -> list[Removal]:
        """Removals that runs may not have seen, where the archive has grown since.

        `Schedule` reads history's marks in place of this, since it looks every half minute and a join of the archive
        takes longer than a row a day; this is needed as well, since marks leave out the edits of a message that was
        taken down, and a delete that was received after a run as of later than its own time.
        """
        older = {
            key: run.as_of
            for key, run in before.items()
            if run.as_of is not None
            and run.extent is not None
            and any(snapshot.versions[name] != version for name, version in run.extent.versions.items())
        }
        if not older:
            return []
        since = min(older.values())
        return snapshot.removals([spans[key] for key in older], since, reviewed=report.reviewed)


def rendered(document: Document) -> dict[Format, str]:
    """The document in every format it is stored in."""
    return {
        "json": msgspec.json.encode(document).decode(),
        "csv": sheet([document]),
        "html": page([document]),
    }


def _unseen(removals: Sequence[Removal], tenant: str, span: Span, run: Run | None) -> bool:
    """Whether something took away a message of this day that its last run may still have counted."""
    if run is None or run.as_of is None:
        return False
    as_of = run.as_of
    return any(r.tenant == tenant and span.reads(r.sent) and is_after(r, as_of) for r in removals)
