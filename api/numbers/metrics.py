"""The numbers: the registry, and one metric over time, each point saying whether it is final."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from pydantic import AwareDatetime

from api.auth import Principal, Reader, check_channel
from api.errors import Refused, not_found
from api.models.base import refusals
from api.models.numbers import MetricsBody, SeriesBody
from api.numbers import interactions
from api.numbers.freshness import Freshness, judge, read_progress
from api.numbers.windows import Number, most_points, read_numbers, span_of
from api.replies import json
from api.state import Shared, State
from infra.contracts import tables
from infra.contracts.interactions import INTERACTIONS, Interaction
from infra.contracts.metrics import METRICS, TENANT_SCOPE, Metric, channel_scope
from infra.contracts.windows import BY_NAME, Grain

router = APIRouter(tags=["metrics"])

ScopeName = Annotated[
    str, Query(description="`tenant`, or `channel:ID`", max_length=300, pattern=r"^(tenant|channel:[\s\S]+)$")
]
GrainName = Annotated[
    str | None, Query(description="Default: the finest that the metric has", pattern="^(1m|15m|1h|1d)$")
]
_FROM = "Default: an hour of minutes, a day of quarters, two days of hours, thirty days"
_TO = "Exclusive. Default: the end of the current window"
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
    """One metric over time. Windows in which nothing happened have no point, nor has a ratio of nothing."""
    metric: Metric | Interaction | None = METRICS.get(name) or INTERACTIONS.get(name)
    if metric is None:
        raise not_found("metric")
    check_scope(principal, metric, scope)
    shown = grain_of(metric, grain)
    limit = state.settings.max_points
    most = limit if isinstance(metric, Interaction) else most_points(metric, shown, limit)
    span = span_of(shown, since, until, state.clock.now(), most)
    # Progress first: what is read after it is at least as new as its watermark claims.
    if isinstance(metric, Interaction):
        freshness = await interactions.read_freshness(state)
        points = await interactions.read_points(state, principal.tenant, scope, metric, span, freshness)
    else:
        freshness = await read_freshness(state)
        found = await read_numbers(state.database, principal.tenant, scope, span, (metric,))
        points = [point(metric, span.grain, one, freshness) for one in found[metric.name] if says(metric, one)]
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


def says(metric: Metric, number: Number) -> bool:
    """Whether a window has a point: something happened, or there is something to divide by."""
    return number.value is not None and (number.value != 0 or metric.per is not None)


async def read_freshness(state: State) -> Freshness:
    """How fresh the numbers are that are read next."""
    progress = await read_progress(state.database)
    return judge(progress, state.watch.ends, state.clock.now(), state.clock.monotonic())


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
        "value": number.value,
        "final": number.exact or freshness.is_final(end),
        "revision": number.revision,
    }
    if metric.error is not None and not number.exact:
        shown |= {"approximate": True, "error": round(metric.error, 4)}
    return shown


def _entry(metric: Metric | Interaction) -> dict[str, Any]:
    return {
        "name": metric.name,
        "label": metric.label,
        "meaning": metric.meaning,
        "unit": metric.unit,
        "measures": metric.measures,
        "formula": metric.formula,
        "scopes": metric.scopes,
        "grains": metric.grains,
        "approximate": metric.approximate,
        "error": None if metric.error is None else round(metric.error, 4),
        "tiles": metric.tiles,
    }
