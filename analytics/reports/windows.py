"""The stored metric windows of a UTC day: the streamed ones to compare with, and corrections stored beside them."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, Final

from analytics.reports import facts
from analytics.reports.backfill import GRAIN, METRIC
from analytics.reports.coverage import final_until
from analytics.reports.runs import Runs
from analytics.reports.spans import Span
from infra.contracts import tables
from infra.contracts.events import from_ms
from infra.contracts.metrics import COUNTS, MEASURES, METRICS, TENANT_SCOPE, channel_scope
from infra.contracts.records import Point
from infra.contracts.tables import MEASURE_COLUMNS
from infra.contracts.windows import BY_NAME, DAY, GRAINS, MINUTE, Grain
from infra.runtime.clock import Clock

STREAM: Final = "stream"
BATCH: Final = "batch"
_NAMES: Final = tuple(measure.name for measure in MEASURES)
_COUNTS: Final = tuple(measure.name for measure in COUNTS)
_REVISION: Final = 1 + len(MEASURE_COLUMNS)

#: Tenant, channel or an empty string, and a number for each of the registry's measures.
Window = tuple[str, str, *tuple[int, ...]]
#: A row as `backfill.windows` makes it.
Row = Mapping[str, Any]
_Key = tuple[Grain, datetime]


@dataclass(frozen=True, slots=True)
class _Stored:
    values: Mapping[str, Any]
    revision: int


_NOTHING: Final = _Stored(dict.fromkeys(_NAMES, 0), 0)


@dataclass(slots=True)
class _Summary:
    """What was found of one tenant. It says the same however often the day is corrected."""

    windows: Counter[Grain] = field(default_factory=Counter)
    corrected: Counter[Grain] = field(default_factory=Counter)
    streamed: Counter[str] = field(default_factory=Counter)
    exact: Counter[str] = field(default_factory=Counter)

    def take(self, scope: str, grain: Grain, streamed: Mapping[str, Any], exact: Row) -> None:
        self.windows[grain] += 1
        self.corrected[grain] += _differ(_COUNTS, streamed, exact)
        if scope == TENANT_SCOPE and grain is MINUTE:
            self.streamed.update({name: streamed[name] or 0 for name in _COUNTS})
            self.exact.update({name: exact[name] for name in _COUNTS})

    def rows(self, tenant: str) -> Iterator[dict[str, Any]]:
        whole = {"windows": self.windows.total(), "corrected": self.corrected.total()}
        yield {"tenant": tenant, "section": facts.TOTAL, "key": "", **whole}
        for grain in GRAINS:
            of_grain = {"windows": self.windows[grain], "corrected": self.corrected[grain]}
            yield {"tenant": tenant, "section": GRAIN, "key": grain.name, "of": len(GRAINS), **of_grain}
        counted = {one.name: one.measure for one in METRICS.values() if one.measure and one.measure in _COUNTS}
        for name, measure in counted.items():
            both = {"streamed": self.streamed[measure], "exact": self.exact[measure]}
            yield {"tenant": tenant, "section": METRIC, "key": name, "of": len(counted), **both}


def streamed(runs: Runs, tenants: Iterable[str], span: Span) -> Iterator[Window]:
    """The day's streamed windows of tenants and their channels."""
    for tenant in tenants:
        scopes = _scopes(runs, tenant, span)
        found = runs.execute_many(tables.WINDOWS, (_bounds(tenant, scope, DAY, STREAM, span) for scope in scopes))
        for scope, rows in zip(scopes, found, strict=True):
            for row in rows:
                values = dict(zip(MEASURE_COLUMNS, row[1:_REVISION], strict=True))
                channel = "" if scope == TENANT_SCOPE else scope.removeprefix(channel_scope(""))
                yield (tenant, channel, *(values[name] or 0 for name in _NAMES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrections:
    """Stores what was counted exactly of a UTC day where readers see something else, and publishes it.

    A channel's place in the rankings follows its windows; that of users is only ever streamed.
    `publish` gets each corrected minute of a tenant; it must not block.
    """

    runs: Runs
    publish: Callable[[Point], None]
    clock: Clock

    def __call__(
        self, rows: Iterable[Row], tenants: Iterable[str], span: Span, as_of: datetime
    ) -> Iterator[dict[str, Any]]:
        """Take rows as `backfill.windows` makes them, and yield what was done as rows of the report.

        A window that is over and of which nothing was counted is corrected to nothing. Raises `Unreachable`.
        """
        summaries: dict[str, _Summary] = defaultdict(_Summary)
        seen = set()
        over = final_until(as_of)
        for (tenant, scope), group in groupby(rows, lambda row: (row["tenant"], row["scope"])):
            seen.add((tenant, scope))
            self._scope(summaries[tenant], tenant, scope, group, span, over)
        for tenant in tenants:
            for scope in _scopes(self.runs, tenant, span):
                if (tenant, scope) not in seen:
                    self._scope(summaries[tenant], tenant, scope, (), span, over)
            yield from summaries[tenant].rows(tenant)

    def _scope(
        self, summary: _Summary, tenant: str, scope: str, rows: Iterable[Row], span: Span, over: datetime
    ) -> None:
        found = {(BY_NAME[row["grain"]], from_ms(row["start_ms"])): row for row in rows}
        stored = {source: self._stored(tenant, scope, source, span) for source in (STREAM, BATCH)}
        puts, members, points = [], [], []
        now = self.clock.now()
        for key in sorted({*found, *stored[STREAM], *stored[BATCH]}):
            grain, start = key
            if grain.end(start) > over:
                continue
            exact: Row = found.get(key, _NOTHING.values)
            of_stream = stored[STREAM].get(key, _NOTHING)
            of_batch = stored[BATCH].get(key)
            summary.take(scope, grain, of_stream.values, exact)
            if not _is_due(grain, exact, of_stream, of_batch):
                continue
            revision = 1 + max(of_stream.revision, of_batch.revision if of_batch else 0)
            puts.append((*_values(exact), revision, now, *_place(tenant, scope, grain, BATCH, span), start))
            if scope == TENANT_SCOPE and grain is MINUTE:
                points.append(_point(tenant, start, exact, revision, now))
            if scope != TENANT_SCOPE and grain is not MINUTE:
                counted = (exact["sent"], exact["reactions"], exact["contributors"])
                members.append((*counted, tenant, "channel", grain.name, start, scope.removeprefix(channel_scope(""))))
        self.runs.execute_many(tables.PUT_WINDOW, puts)
        self.runs.execute_many(tables.PUT_MEMBER, members)
        for point in points:
            self.publish(point)

    def _stored(self, tenant: str, scope: str, source: str, span: Span) -> dict[_Key, _Stored]:
        pages = self.runs.execute_many(
            tables.WINDOWS, (_bounds(tenant, scope, grain, source, span) for grain in GRAINS)
        )
        return {
            (grain, row[0].replace(tzinfo=UTC)): _Stored(
                dict(zip(MEASURE_COLUMNS, row[1:_REVISION], strict=True)), row[_REVISION] or 0
            )
            for grain, rows in zip(GRAINS, pages, strict=True)
            for row in rows
        }


def _is_due(grain: Grain, exact: Row, of_stream: _Stored, of_batch: _Stored | None) -> bool:
    """Whether readers see something else. An estimate of people is good enough where the counts agree, but of a day."""
    if of_batch is not None:
        return _differ(_NAMES, of_batch.values, exact)
    return grain is DAY or _differ(_COUNTS, of_stream.values, exact)


def _differ(names: Sequence[str], stored: Mapping[str, Any], exact: Row) -> bool:
    return any((stored[name] or 0) != exact[name] for name in names)


def _values(exact: Row) -> Iterator[Any]:
    """In the order of `MEASURE_COLUMNS`; nobody has no sketch."""
    for measure in MEASURES:
        yield exact[measure.name]
        if measure.kind == "distinct":
            yield bytes(exact[f"{measure.name}_sketch"]) if exact[measure.name] else None


def _point(tenant: str, start: datetime, exact: Row, revision: int, now: datetime) -> Point:
    return Point(
        tenant=tenant,
        scope=TENANT_SCOPE,
        grain=MINUTE.name,
        start=start,
        end=MINUTE.end(start),
        values={name: exact[name] for name in _NAMES},
        revision=revision,
        as_of=now,
        watermark=MINUTE.end(start),
    )


def _scopes(runs: Runs, tenant: str, span: Span) -> list[str]:
    members = runs.execute(tables.MEMBERS, (tenant, "channel", DAY.name, span.start))
    return [TENANT_SCOPE, *(channel_scope(row[0]) for row in members)]


def _place(tenant: str, scope: str, grain: Grain, source: str, span: Span) -> tuple[Any, ...]:
    return (tenant, scope, grain.name, grain.period_of(span.start), source)


def _bounds(tenant: str, scope: str, grain: Grain, source: str, span: Span) -> tuple[Any, ...]:
    return (*_place(tenant, scope, grain, source, span), span.start, span.start + timedelta(days=span.count))
