"""Trending: channels in which more is going on than usual, with everything a score is made of.

Docs/metrics.md says how the score is made; Discourse's hot topics are its model. It is made of the same quarter hours
as the rankings, so it needs no query of its own.
"""

import asyncio
import math
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Query, Response

from api.auth import TenantReader
from api.history.messages import utc
from api.models.base import refusals
from api.models.numbers import TrendingBody
from api.numbers.metrics import read_freshness
from api.numbers.top import RANKINGS, add_up
from api.numbers.windows import Span, merged, read_numbers, read_windows
from api.replies import ready
from api.state import Shared, State
from infra.contracts import tables
from infra.contracts.metrics import METRICS, channel_scope
from infra.contracts.windows import QUARTER

router = APIRouter(tags=["metrics"])

#: The quarters that are looked at, the current one included.
QUARTERS: Final = 4
#: How far back a burst may have begun.
LOOK_BACK: Final = 96
_HOUR: Final = timedelta(hours=1)
_WEEK: Final = timedelta(days=7)
LEAST_POSTERS: Final = 3
MOST_FACTOR: Final = 4.0
_GRAVITY: Final = 1.5
#: A quarter belongs to the burst if it has this share of the mean quarter.
_SHARE: Final = 0.5
#: So many channels with the most messages are looked at.
_CANDIDATES: Final = 100
_MESSAGES: Final = METRICS["messages_sent"]
_SENT, _REACTIONS, _POSTERS, _RESPONDERS = (
    1 + tables.MEASURE_COLUMNS.index(name) for name in ("sent", "reactions", "contributors_sketch", "responders_sketch")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """What a channel's score is made of. `baseline` is its messages in the same hour a week ago, None without any."""

    posters: int
    responders: int
    reactions: int
    messages: int
    hours: float
    """Since the burst began."""
    baseline: int | None
    elapsed: float
    """Hours that the counted quarters have lasted so far."""

    @property
    def factor(self) -> float:
        """How many times as much as a week ago, at most four; 1 where nothing is known of then."""
        return min(MOST_FACTOR, self.messages / self.elapsed / self.baseline) if self.baseline else 1.0

    @property
    def score(self) -> float:
        """Interest by age, times how unusual it is. 0 below three posters."""
        if self.posters < LEAST_POSTERS:
            return 0.0
        interest = self.posters + self.responders + 0.5 * self.messages
        return interest / math.pow(self.hours + 2, _GRAVITY) * self.factor


def burst_quarters(sent: list[int]) -> int:
    """How many quarters a burst has lasted, given each one's messages, the current quarter first.

    It goes back as long as each quarter has at least half of what the quarters looked at have on the average. The
    current one may just have begun, and is always part of it.
    """
    least = _SHARE * sum(sent[:QUARTERS]) / QUARTERS
    lasted = 1
    while lasted < len(sent) and sent[lasted] and sent[lasted] >= least:
        lasted += 1
    return lasted


@router.get("/v1/trending", response_model=TrendingBody, responses=refusals(401, 403, 422, 503))
async def trending(principal: TenantReader, state: Shared, limit: Annotated[int, Query(ge=1, le=100)] = 10) -> Response:
    """Channels with an unusual lot going on in the last hour, and what their scores are made of."""

    async def read() -> bytes:
        return msgspec.json.encode(await _trending(state, principal.tenant, limit))

    return ready(await state.cache.get(principal.tenant, RANKINGS, ("trending", limit), read, settled=False))


async def _trending(state: State, tenant: str, limit: int) -> dict[str, Any]:
    now = state.clock.now()
    end = QUARTER.end(QUARTER.start(now))
    start = end - QUARTERS * QUARTER.width
    freshness = await read_freshness(state)
    found = await asyncio.gather(
        *(
            state.database.execute(tables.MEMBERS, (tenant, "channel", QUARTER.name, start + n * QUARTER.width))
            for n in range(QUARTERS)
        )
    )
    candidates = [member for member, *_ in add_up(row for rows in found for row in rows)[:_CANDIDATES]]
    elapsed = (now - start) / _HOUR
    trends = await asyncio.gather(*(_trend(state, tenant, channel, end, elapsed) for channel in candidates))
    ranked = sorted(
        (pair for pair in zip(trends, candidates, strict=True) if pair[0].score > 0),
        key=lambda pair: (-pair[0].score, pair[1]),
    )
    return {
        "start": start,
        "end": end,
        "ranking": [
            {
                "rank": place,
                "id": channel,
                "score": round(trend.score, 3),
                "factor": round(trend.factor, 2),
                **{name: round(v, 2) if isinstance(v, float) else v for name, v in asdict(trend).items()},
            }
            for place, (trend, channel) in enumerate(ranked[:limit], 1)
        ],
        **freshness.fields(end),
    }


async def _trend(state: State, tenant: str, channel: str, end: datetime, elapsed: float) -> Trend:
    scope = channel_scope(channel)
    back = Span(QUARTER, end - LOOK_BACK * QUARTER.width, end)
    then = Span(QUARTER, end - QUARTERS * QUARTER.width - _WEEK, end - _WEEK)
    found, week_ago = await asyncio.gather(
        read_windows(state.database, tenant, scope, back),
        read_numbers(state.database, tenant, scope, then, (_MESSAGES,)),
    )
    rows = {utc(row[0]): row for row, _ in found}
    quarters = [rows.get(end - n * QUARTER.width) for n in range(1, LOOK_BACK + 1)]
    counted = [row for row in quarters[:QUARTERS] if row is not None]
    lasted = burst_quarters([row[_SENT] or 0 if row is not None else 0 for row in quarters])
    return Trend(
        posters=merged(row[_POSTERS] for row in counted),
        responders=merged(row[_RESPONDERS] for row in counted),
        reactions=sum(row[_REACTIONS] or 0 for row in counted),
        messages=sum(row[_SENT] or 0 for row in counted),
        # The current quarter is not over.
        hours=max(0.0, lasted * (QUARTER.width / _HOUR) - (1.0 - elapsed)),
        baseline=sum(number.value or 0 for number in week_ago[_MESSAGES.name]) or None,
        elapsed=elapsed,
    )
