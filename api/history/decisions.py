"""The audit trail of review: every decision of one day, with who made it and why."""

from datetime import date
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Response

from api.auth import Moderator
from api.models.base import refusals
from api.models.review import DecisionsBody
from api.replies import json
from api.state import Shared
from infra.contracts import placement, tables
from infra.contracts.review import Entry

router = APIRouter(tags=["moderation"])

#: Decisions of one day that one request may look at.
MOST = 10_000

_entry = msgspec.json.Decoder(Entry)


@router.get(
    "/v1/review/decisions",
    response_model=DecisionsBody,
    response_model_exclude_unset=True,
    responses=refusals(401, 403, 422, 503),
)
async def decisions(
    principal: Moderator,
    state: Shared,
    day: Annotated[date | None, Query(description="UTC, when it was decided; today unless given")] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 200,
) -> Response:
    """Every decision, newest first, whoever made it. Needs a key that also has the scope `moderate`."""
    on = day.isoformat() if day is not None else placement.day(state.clock.now())
    rows = await state.database.execute(tables.DECISIONS_OF_DAY, (principal.tenant, on, MOST))
    found = sorted((_entry.decode(row[0]) for row in rows), key=lambda one: (one.decided_at, one.id), reverse=True)
    more = len(found) > limit or len(rows) == MOST
    return json({"day": on, "decisions": found[:limit], "more": more})
