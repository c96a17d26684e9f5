"""Rankings: channels and users by what they sent in the last hour or day, with what each place is made of."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Response

from api.auth import TenantReader
from api.models.base import refusals
from api.models.numbers import TopBody
from api.numbers.metrics import read_freshness
from api.numbers.windows import Span, merged, read_windows
from api.replies import ready
from api.state import Shared, State
from infra.contracts import tables
from infra.contracts.metrics import channel_scope
from infra.contracts.windows import HOUR, QUARTER, Grain

router = APIRouter(tags=["metrics"])

#: Window name → the grain it is added up from and how many, the current one included.
_WINDOWS: dict[str, tuple[Grain, int]] = {"1h": (QUARTER, 4), "24h": (HOUR, 24)}
_SKETCH = 1 + tables.MEASURE_COLUMNS.index("contributors_sketch")
#: The cache knows rankings as pages of a channel that no client can name.
RANKINGS = ""

Window = Annotated[str, Query(pattern="^(1h|24h)$")]
Limit = Annotated[int, Query(ge=1, le=100)]


@router.get("/v1/top/channels", response_model=TopBody, responses=refusals(401, 403, 422, 503))
async def top_channels(principal: TenantReader, state: Shared, window: Window = "1h", limit: Limit = 10) -> Response:
    """Channels by messages sent, then reactions, over the last hour (from quarters) or day (from hours)."""
    return await _ranked(state, principal.tenant, "channel", window, limit)


@router.get("/v1/top/users", response_model=TopBody, responses=refusals(401, 403, 422, 503))
async def top_users(principal: TenantReader, state: Shared, window: Window = "1h", limit: Limit = 10) -> Response:
    """Users by messages sent, then reactions given."""
    return await _ranked(state, principal.tenant, "user", window, limit)


async def _ranked(state: State, tenant: str, kind: str, window: str, limit: int) -> Response:
    async def read() -> bytes:
        return msgspec.json.encode(await rank(state, tenant, kind, window, limit))

    # A day is read from 24 partitions, so it is kept as long as an older page.
    body = await state.cache.get(tenant, RANKINGS, (kind, window, limit), read, settled=window == "24h")
    return ready(body)


async def rank(state: State, tenant: str, kind: str, window: str, limit: int) -> dict[str, Any]:
    """The ranking as a reply shows it."""
    grain, count = _WINDOWS[window]
    end = grain.end(grain.start(state.clock.now()))
    span = Span(grain, end - count * grain.width, end)
    freshness = await read_freshness(state)
    found = await asyncio.gather(
        *(
            state.database.execute(tables.MEMBERS, (tenant, kind, grain.name, span.start + n * grain.width))
            for n in range(count)
        )
    )
    best = add_up(row for rows in found for row in rows)[:limit]
    ranking = [
        {"rank": place, "id": member, "score": sent + reactions, "sent": sent, "reactions": reactions}
        for place, (member, sent, reactions) in enumerate(best, 1)
    ]
    if kind == "channel":
        distinct = await asyncio.gather(*(_contributors(state, tenant, member, span) for member, _, _ in best))
        for entry, contributors in zip(ranking, distinct, strict=True):
            entry["contributors"] = contributors
    return {
        "kind": kind,
        "window": window,
        "start": span.start,
        "end": end,
        "ranking": ranking,
        **freshness.fields(end),
    }


def add_up(rows: Iterable[tuple[str, int | None, int | None, Any]]) -> list[tuple[str, int, int]]:
    """Rows of `tables.MEMBERS` from several windows as (member, sent, reactions), the best first."""
    totals: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for member, sent, reactions, _ in rows:
        totals[member][0] += sent or 0
        totals[member][1] += reactions or 0
    ranked = [(member, sent, reactions) for member, (sent, reactions) in totals.items() if sent or reactions]
    return sorted(ranked, key=lambda entry: (-entry[1], -entry[2], entry[0]))


async def _contributors(state: State, tenant: str, channel_id: str, span: Span) -> int:
    """Distinct senders over the windows: they cannot be added up, so their sketches are merged."""
    rows = await read_windows(state.database, tenant, channel_scope(channel_id), span)
    return merged(row[_SKETCH] for row, _ in rows)
