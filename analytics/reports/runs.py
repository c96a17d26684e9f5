"""What was made and what is to be made: a run that did not finish is begun again, a finished one is left alone.

A report is made again when the archive has more of its day, when something took away a message of that day, when its
day has become final since or is another part of time, as the tenant's time zone is another, or when somebody asks.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, Final, TypeVar

import msgspec
import stamina
from cassandra.concurrent import execute_concurrent

from infra.contracts import tables
from infra.contracts.reports import Document, Extent, Format, State
from infra.contracts.tables import Statement
from infra.runtime.cassandra import PASSING, Database
from infra.runtime.errors import Unreachable

STATEMENTS: Final = {
    s.name: s
    for s in (
        tables.START_REPORT_RUN,
        tables.PUT_REPORT_DOCUMENT,
        tables.FINISH_REPORT_RUN,
        tables.REPORT_RUNS,
        tables.DIRTY_DAYS,
        tables.REPORT_DOCUMENT,
        tables.PUT_WINDOW,
        tables.WINDOWS,
        tables.MEMBERS,
        tables.PUT_MEMBER,
        tables.DECISIONS_OF_DAY,
    )
}
#: A report that cannot be stored for so long has failed; what is stored of it is made again.
_PATIENCE_SECONDS: Final = 60.0
_CONCURRENT: Final = 32

T = TypeVar("T")


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One report of one period, as `report_runs` knows it. Without `finished_at` it never finished."""

    report: str
    period: str
    state: State
    started_at: datetime | None
    finished_at: datetime | None
    as_of: datetime | None
    final: bool
    revision: int
    digest: str
    extent: Extent | None


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """A UTC day that something changed after it was counted.

    `changed` is when its numbers last did, `removed` when what is left of its messages last did.
    """

    day: date
    changed: datetime | None
    removed: datetime | None


def reason(run: Run | None, extent: Extent, *, final: bool, removed: bool, again: bool) -> str | None:
    """Why a report is to be made, or None when it is as it would be.

    `extent` and `final` are what it would say now; `removed` is whether it may have counted messages that are gone.
    """
    if run is None:
        return "new"
    if run.state is not State.FINISHED or run.extent is None:
        return "unfinished"
    if again:
        return "asked"
    if run.extent.timezone and run.extent.timezone != extent.timezone:
        return "zone"
    if run.extent.rows != extent.rows:
        return "changed"
    if removed:
        return "removed"
    return "final" if final and not run.final else None


def next_revision(run: Run | None, stored: Document | None, counted: Document) -> int:
    """The revision of what was counted: one more than the last one stored, unless that has the same numbers.

    What a run has stored that was killed before it could finish counts as well: no revision has two sets of numbers.
    """
    if run is None and stored is None:
        return 1
    last = max(run.revision if run else 0, stored.revision if stored else 0)
    same = digest(stored) if stored else run and run.digest
    return last if same == digest(counted) else last + 1


def digest(document: Document) -> str:
    """Of the numbers alone: what does not change while they do not."""
    return hashlib.sha256(msgspec.json.encode((document.figures, document.sections), order="deterministic")).hexdigest()


class Runs:
    """Reads and writes `report_runs` and `report_documents`. Waits a while for Cassandra, then raises `Unreachable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def between(self, tenant: str, first: date, last: date) -> dict[tuple[str, date], Run]:
        """The tenant's runs of these days, by report and day."""
        rows = self.execute(tables.REPORT_RUNS, (tenant, first.isoformat(), last.isoformat()))
        return {(run.report, date.fromisoformat(run.period)): run for run in map(_run, rows)}

    def marks(self, tenant: str) -> list[Mark]:
        """The tenant's days that changed afterwards."""
        rows = self.execute(tables.DIRTY_DAYS, (tenant,))
        return [
            Mark(day=date.fromisoformat(day), changed=_utc(changed), removed=_utc(removed))
            for day, changed, removed in rows
        ]

    def start(self, tenant: str, report: str, day: date, now: datetime) -> None:
        """Note that the report is being made. The last finished one stays readable."""
        self.execute(tables.START_REPORT_RUN, (now, tenant, day.isoformat(), report))

    def store(self, document: Document, bodies: Mapping[Format, str]) -> None:
        """Store the document in every format; nothing shows it before `finish`, if it is the first."""
        place = (document.tenant, document.report, document.period)
        for name, body in bodies.items():
            self.execute(tables.PUT_REPORT_DOCUMENT, (*place, name, body))

    def finish(self, document: Document, extent: Extent, now: datetime) -> None:
        """Note that the report is made and stored, and from how much of the archive."""
        archive = msgspec.json.encode(extent).decode()
        found = (now, document.as_of, document.complete, document.final, document.revision, digest(document), archive)
        self.execute(tables.FINISH_REPORT_RUN, (*found, document.tenant, document.period, document.report))

    def document(self, tenant: str, report: str, day: date) -> Document:
        """The stored document of a finished run."""
        found = self.stored(tenant, report, day)
        if found is None:
            raise LookupError(f"{report} of {day.isoformat()} for {tenant} is not stored")
        return found

    def stored(self, tenant: str, report: str, day: date) -> Document | None:
        """The stored document, whether its run finished or not."""
        rows = self.execute(tables.REPORT_DOCUMENT, (tenant, report, day.isoformat(), "json"))
        return msgspec.json.decode(rows[0][0], type=Document) if rows else None

    def execute(self, statement: Statement, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """All rows of one statement."""
        bound = self._database.prepared(statement).bind(values)
        return self._patiently(lambda: list(self._database.session.execute(bound)))

    def execute_many(self, statement: Statement, values: Iterable[Sequence[Any]]) -> list[list[tuple[Any, ...]]]:
        """All rows of each, several at a time."""
        prepared = self._database.prepared(statement)
        bound = [(prepared.bind(row), ()) for row in values]
        return self._patiently(
            lambda: [
                list(result.result_or_exc)
                for result in execute_concurrent(self._database.session, bound, concurrency=_CONCURRENT)
            ]
        )

    def _patiently(self, action: Callable[[], T]) -> T:
        try:
            for attempt in stamina.retry_context(on=PASSING, attempts=None, timeout=_PATIENCE_SECONDS):
                with attempt:
                    result = action()
        except PASSING as error:
            where = ",".join(map(str, self._database.cluster.contact_points))
            raise Unreachable("Cassandra", where, "Run the report again: what it has finished is kept.") from error
        return result


def _run(row: tuple[Any, ...]) -> Run:
    period, report, state, started_at, finished_at, as_of, _, final, revision, digest, extent = row
    return Run(
        report=report,
        period=period,
        state=State(state),
        started_at=_utc(started_at),
        finished_at=_utc(finished_at),
        as_of=_utc(as_of),
        final=bool(final),
        revision=revision or 0,
        digest=digest or "",
        extent=msgspec.json.decode(extent, type=Extent) if extent else None,
    )


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)
