"""What the rules held back or blocked on one day, and why."""

from datetime import date
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Response

from api import models
from api.auth import TenantReader
from api.replies import json
from api.state import Shared
from infra.contracts import placement, tables
from infra.contracts.control import Scope
from infra.contracts.events import Event
from infra.contracts.records import Verdict

router = APIRouter(tags=["moderation"])


@router.get(
    "/v1/held",
    response_model=models.HeldListBody,
    response_model_exclude_unset=True,
    responses=models.refusals(401, 403, 422, 503),
)
async def held(
    principal: TenantReader,
    state: Shared,
    day: Annotated[date | None, Query(description="UTC; today unless given")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Response:
    """Held and blocked events. Their text is shown only to keys that also have the scope `moderate`."""
    on = day.isoformat() if day is not None else placement.day(state.clock.now())
    rows = await state.database.execute(tables.HELD_OF_DAY, (principal.tenant, on, limit + 1))
    with_text = Scope.MODERATE in principal.scopes
    return json(
        {"day": on, "held": [entry(*row, with_text=with_text) for row in rows[:limit]], "more": len(rows) > limit}
    )


def entry(held_id: str, envelope: str, verdict: str, src: str | None, *, with_text: bool) -> dict[str, Any]:
    """One row of `tables.HELD_OF_DAY` as a reply shows it."""
    event = msgspec.json.decode(envelope, type=Event)
    shown = {
        "held_id": held_id,
        "type": event.type,
        "channel_id": event.channel_id,
        "user_id": event.user_id,
        "anonymous_id": event.anonymous_id,
        "time": event.time,
        "received_at": event.received_at,
        "verdict": msgspec.json.decode(verdict, type=Verdict),
        "src": src,
    }
    return shown | ({"text": event.text} if with_text else {})
