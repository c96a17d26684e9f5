"""The numbers: the registry, and one metric over time, each point saying whether it is final."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from pydantic import AwareDatetime

from api.auth import Principal, Reader, check_channel
from api.errors import Refused, not_found
from api.history.messages import utc
from api.models.base import refusals
from api.models.numbers import MetricsBody, SeriesBody
from api.numbers import interactions
from api.numbers.freshness import Freshness, judge, read_progress
from api.replies import json
from api.state import Shared, State
from infra.contracts import tables
from infra.contracts.interactions import INTERACTIONS, Interaction
from infra.contracts.metrics import METRICS, TENANT_SCOPE, Metric, channel_scope
from infra.contracts.tables import Statement
from infra.contracts.windows import BY_NAME, DAY, HOUR, MINUTE, QUARTER, Grain

router = APIRouter(tags=["metrics"])

#: How far back a query without `from` looks.
_SPAN = {
    MINUTE: timedelta(hours=1),
    QUARTER: timedelta(days=1),
    HOUR: timedelta(days=2),
    DAY: timedelta(days=30),
}
ScopeName = Annotated[
    str, Query(description="`tenant`, or `channel:ID`", max_length=300, pattern=r"^(tenant|channel:[\s\S]+)$")
]
GrainName = Annotated[
    str | None, Query(description="Default: the finest that the metric has", pattern="^(1m|15m|1h|1d)$")
]
_FROM = "Default: an hour of minutes, a day of quarters, two days of hours, thirty days"
_TO = "Exclusive. Default: the end of the current window"
#: Where a window was written by both, the first wins.
_SOURCES = ("batch", "stream")
_CHANNEL = channel_scope("")


@router.get("/v1/metrics", response_model=MetricsBody, responses=refusals(401, 403))
async def registry(_: Reader) -> Response:
    """Every published metric and what it means."""
    return json({"metrics": [*map(_entry, METRICS.values()), *map(_entry, INTERACTIONS.values())]})


@router.get(
    "/v1/metrics/{name}",
    response_model=SeriesBody,
    response_model_exclude_unset=True,
    responses=refusals(400, 401, 403, 404, 422, 503),
)
async def series(
    name: Annotated[str, Path(max_length=100)],
    principal: Reader,
    state: Shared,
    scope: ScopeName = TENANT_SCOPE,
    since: Annotated[AwareDatetime | None, Query(alias="from", description=_FROM)] = None,
    until: Annotated[AwareDatetime | None, Query(alias="to", description=_TO)] = None,
    grain: GrainName = None,
) -> Response:
    """One metric over time. Windows in which nothing happened have no point."""
    metric: Metric | Interaction | None = METRICS.get(name) or INTERACTIONS.get(name)
    if metric is None:
        raise not_found("metric")
    check_scope(principal, metric, scope)
    span = span_of(grain_of(metric, grain), since, until, state.clock.now(), state.settings.max_points)
    # Progress first: what is read after it is at least as new as its watermark claims.
    if isinstance(metric, Interaction):
        freshness = await interactions.read_freshness(state)
        points = await interactions.read_points(state, principal.tenant, scope, metric, span, freshness)
    else:
        freshness = await read_freshness(state)
        numbers = await read_numbers(state, principal.tenant, scope, span)
        points = [point(metric, span.grain, one, freshness) for one in numbers if one.value(metric)]
    if not points and scope != TENANT_SCOPE:
        await check_channel_exists(state, principal.tenant, scope.removeprefix(_CHANNEL))
    return json(
        {
            "metric": metric.name,
            "scope": scope,
            "grain": span.grain.name,
            "points": points,
            **freshness.fields(span.end),
        }
    )


@dataclass(frozen=True, slots=True)
class Span:
    """Whole windows of one grain, from `start` to `end`, exclusive."""

    grain: Grain
    start: datetime
    end: datetime

    def periods(self) -> Iterator[str]:
        """The partitions these windows lie in."""
        start = self.start
        while start < self.end:
            period = self.grain.period_of(start)
            yield period
            start = datetime.combine(date.fromisoformat(period), time.min, UTC) + self.grain.period


def span_of(grain: Grain, since: datetime | None, until: datetime | None, now: datetime, max_points: int) -> Span:
    """The windows a query asks for. Raises `Refused` 400 where they are none, too many or out of the calendar."""
    try:
        last = now if until is None else until.astimezone(UTC) - timedelta(microseconds=1)
        end = grain.end(grain.start(last))
        start = grain.start(end - _SPAN[grain] if since is None else since.astimezone(UTC))
        points = (end - start) // grain.width
        end + grain.period
    except OverflowError:
        raise Refused(400, "The range leaves the calendar.") from None
    if points < 1:
        raise Refused(400, "The range is empty: `from` must be before `to`.")
    if points > max_points:
        raise Refused(
            400, f"The range holds {points} windows of {grain.name}; at most {max_points}. Take a coarser grain."
        )
    return Span(grain, start, end)


def check_scope(principal: Principal, metric: Metric | Interaction, scope: str) -> None:
    """Raise `Refused` unless this principal may see this metric at this scope."""
    if scope == TENANT_SCOPE:
        if principal.channels is not None:
            raise Refused(403, "This token is limited to its channels.")
        kind = "tenant"
    else:
        check_channel(principal, scope.removeprefix(_CHANNEL))
        kind = "channel"
    if kind not in metric.scopes:
        raise Refused(400, f"{metric.name} has no scope {kind}.")


def grain_of(metric: Metric | Interaction, asked: str | None) -> Grain:
    """The grain to show a metric in. Raises `Refused` 400 for one it does not have."""
    if asked is not None and asked not in metric.grains:
        raise Refused(400, f"{metric.name} has no grain {asked}, only {', '.join(metric.grains)}.")
    return BY_NAME[asked or metric.grains[0]]


async def read_freshness(state: State) -> Freshness:
    """How fresh the numbers are that are read next."""
    progress = await read_progress(state.database)
    return judge(progress, state.watch.ends, state.clock.now(), state.clock.monotonic())


@dataclass(frozen=True, slots=True)
class Number:
    """One stored window without its sketches: a value of each measure, in the order of `tables.NUMBER_COLUMNS`."""

    start: datetime
    values: tuple[int | None, ...]
    revision: int
    updated_at: datetime
    exact: bool
    """Counted from the archive."""

    def value(self, metric: Metric) -> int:
        """The metric's number."""
        return self.values[tables.NUMBER_COLUMNS.index(metric.measure)] or 0


async def read_numbers(state: State, tenant: str, scope: str, span: Span) -> list[Number]:
    """The numbers in these windows, oldest first."""
    rows = await read_windows(state, tenant, scope, span, tables.NUMBERS)
    return [
        Number(utc(start), tuple(values), revision or 0, utc(updated_at), source == "batch")
        for (start, *values, revision, updated_at), source in rows
    ]


async def read_windows(
    state: State, tenant: str, scope: str, span: Span, statement: Statement = tables.WINDOWS
) -> list[tuple[tuple[Any, ...], str]]:
    """The rows of the statement in these windows, oldest first, each with its source."""
    wanted = [(period, source) for period in span.periods() for source in _SOURCES]
    found = await asyncio.gather(
        *(
            state.database.execute(statement, (tenant, scope, span.grain.name, period, source, span.start, span.end))
            for period, source in wanted
        )
    )
    rows: dict[datetime, tuple[tuple[Any, ...], str]] = {}
    for source in reversed(_SOURCES):
        for (_, of_source), partition in zip(wanted, found, strict=True):
            if of_source == source:
                rows.update({row[0]: (row, source) for row in partition})
    return [rows[start] for start in sorted(rows)]


async def check_channel_exists(state: State, tenant: str, channel_id: str) -> None:
    """Raise 404 for a channel that nobody has made or spoken in."""
    buckets, channel = await asyncio.gather(
        state.history.buckets(tenant, channel_id), state.database.execute(tables.CHANNEL, (tenant, channel_id))
    )
    if not buckets and not channel:
        raise not_found("channel")


def point(metric: Metric, grain: Grain, number: Number, freshness: Freshness) -> dict[str, Any]:
    """The number of one window as a reply shows it."""
    end = grain.end(number.start)
    shown = {
        "start": number.start,
        "end": end,
        "value": number.value(metric),
        "final": number.exact or freshness.is_final(end),
        "revision": number.revision,
    }
    if metric.error is not None and not number.exact:
        shown |= {"approximate": True, "error": round(metric.error, 4)}
    return shown


def _entry(metric: Metric | Interaction) -> dict[str, Any]:
    return {
        "name": metric.name,
        "meaning": metric.meaning,
        "unit": metric.unit,
        "scopes": metric.scopes,
        "grains": metric.grains,
        "approximate": metric.approximate,
        "error": None if metric.error is None else round(metric.error, 4),
    }
