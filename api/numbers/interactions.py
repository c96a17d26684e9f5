"""Sessions and response times over time: their windows, final once their own watermark has passed them."""

import asyncio
from typing import Any

from api.history.messages import utc
from api.numbers.freshness import Freshness, judge, read_progress
from api.numbers.windows import Span
from api.state import State
from infra.contracts import tables
from infra.contracts.interactions import COUNTS, INTERACTIONS_QUERY, Interaction
from infra.contracts.windows import Grain


async def read_freshness(state: State) -> Freshness:
    """How fresh the interactions are that are read next. They count what the watermark has passed and nothing else."""
    progress = await read_progress(state.database, INTERACTIONS_QUERY)
    return judge(progress, None, state.clock.now(), state.clock.monotonic())


async def read_points(
    state: State, tenant: str, scope: str, metric: Interaction, span: Span, freshness: Freshness
) -> list[dict[str, Any]]:
    """The metric in these windows as a reply shows it, oldest first, without windows that have no number."""
    found = await asyncio.gather(
        *(
            state.database.execute(tables.INTERACTIONS, (tenant, scope, span.grain.name, period, span.start, span.end))
            for period in span.periods()
        )
    )
    rows = sorted((row for partition in found for row in partition), key=lambda row: row[0])
    return [shown for row in rows if (shown := _point(metric, span.grain, row, freshness)) is not None]


def _point(metric: Interaction, grain: Grain, row: tuple[Any, ...], freshness: Freshness) -> dict[str, Any] | None:
    start, (*counts, buckets, revision) = utc(row[0]), row[1:-1]
    value = metric.value({name: count or 0 for name, count in zip(COUNTS, counts, strict=True)}, dict(buckets or {}))
    if value is None:
        return None
    end = grain.end(start)
    shown = {"start": start, "end": end, "value": value, "final": freshness.is_final(end), "revision": revision or 0}
    if metric.error is not None:
        shown |= {"approximate": True, "error": round(metric.error, 4)}
    return shown
