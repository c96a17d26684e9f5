"""What the rules held back or blocked on one day and why, and what a moderator needs to decide about one of them."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query, Response

from api.auth import TenantReader
from api.edge import PathId
from api.errors import Refused, not_found
from api.history.cursors import Place
from api.history.pages import Wanted
from api.models.base import refusals
from api.models.review import HeldListBody, HeldOneBody
from api.replies import json
from api.state import Shared, State
from infra.contracts import placement, tables
from infra.contracts.control import Scope
from infra.contracts.events import MESSAGE_SENT, Event
from infra.contracts.records import Action, Verdict
from infra.contracts.review import Entry, HeldId

router = APIRouter(tags=["moderation"])

Standing = Literal["waiting", "released", "rejected"]

#: Messages shown before a held one.
CONTEXT = 10
#: How far back a user's record goes, and how many of their events it looks at.
RECORD_DAYS = 30
RECORD_ROWS = 1_000

_entry = msgspec.json.Decoder(Entry)


class _Page(msgspec.Struct):
    messages: msgspec.Raw


@router.get(
    "/v1/held",
    response_model=HeldListBody,
    response_model_exclude_unset=True,
    responses=refusals(401, 403, 422, 503),
)
async def held(
    principal: TenantReader,
    state: Shared,
    day: Annotated[date | None, Query(description="UTC; today unless given")] = None,
    standing: Annotated[
        Standing | None, Query(alias="state", description="only those of which so much is decided")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Response:
    """Held and blocked events. Their text, and who decided, is shown only to keys that also have scope `moderate`."""
    on = day.isoformat() if day is not None else placement.day(state.clock.now())
    scan = limit + 1 if standing is None else max(limit + 1, state.settings.held_scan)
    rows = await state.database.execute(tables.HELD_OF_DAY, (principal.tenant, on, scan))
    whole = Scope.MODERATE in principal.scopes
    known = [row for row in rows if _is_held(row)]
    found = [entry(on, row, whole=whole) for row in known if standing is None or standing_of(row) == standing]
    return json(
        {
            "day": on,
            "held": found[:limit],
            "more": len(found) > limit or (standing is not None and len(rows) == scan),
            "decide_at": state.settings.ingest_url,
        }
    )


@router.get(
    "/v1/held/{held_id}",
    response_model=HeldOneBody,
    response_model_exclude_unset=True,
    responses=refusals(401, 403, 404, 422, 503),
)
async def held_one(held_id: PathId, principal: TenantReader, state: Shared) -> Response:
    """One of them, up to ten messages before it in its channel, and its user's record of the last 30 days."""
    try:
        place = HeldId.decode(held_id)
    except ValueError:
        raise not_found("held event") from None
    rows = await state.database.execute(tables.HELD_MESSAGE, (principal.tenant, place.day, place.event_id))
    if not rows or not _is_held(rows[0]):
        raise not_found("held event")
    event = msgspec.json.decode(rows[0][1], type=Event)
    return json(
        {
            "held": entry(place.day, rows[0], whole=Scope.MODERATE in principal.scopes),
            "context": await _context(state, principal.tenant, event),
            "record": await _record(state, principal.tenant, event.author),
            "decide_at": state.settings.ingest_url,
        }
    )


def _is_held(row: Sequence[Any]) -> bool:
    """Whether a row of `tables.HELD_OF_DAY` has its event: the log may know a decision and have forgotten the rest."""
    return row[1] is not None


def entry(day: str, row: Sequence[Any], *, whole: bool) -> dict[str, Any]:
    """One row of `tables.HELD_OF_DAY` as a reply shows it; `whole` for moderators."""
    event_id, envelope, verdict, src, position, released, rejected = row
    event = msgspec.json.decode(envelope, type=Event)
    shown = {
        "held_id": HeldId.of(day, event_id, position).encode(),
        "event_id": event_id,
        "message_id": event.target,
        "type": event.type,
        "channel_id": event.channel_id,
        "user_id": event.user_id,
        "anonymous_id": event.anonymous_id,
        "time": event.time,
        "received_at": event.received_at,
        "verdict": msgspec.json.decode(verdict, type=Verdict),
        "src": src,
        "state": standing_of(row),
    }
    if whole:
        shown |= {"text": event.text, "decisions": [_entry.decode(line) for line in (released, rejected) if line]}
    return shown


def standing_of(row: Sequence[Any]) -> Standing:
    """What has been decided: hiding wins, whichever came first."""
    *_, released, rejected = row
    if rejected:
        return "rejected"
    return "released" if released else "waiting"


async def _context(state: State, tenant: str, event: Event) -> Any:
    """The messages before this one, newest first. None are there in a channel that nobody has spoken in."""
    if event.channel_id is None:
        return []
    place: Place | None = Place(placement.sent_at(event), event.target)
    if event.type != MESSAGE_SENT:
        place = await state.history.find(tenant, event.channel_id, event.target) or place
    try:
        page = await state.pages.page(tenant, event.channel_id, Wanted("before", place), CONTEXT)
    except Refused:
        return []
    return msgspec.json.decode(page, type=_Page).messages


async def _record(state: State, tenant: str, user_id: str) -> dict[str, Any]:
    since = placement.day(state.clock.now() - timedelta(days=RECORD_DAYS))
    rows = await state.database.execute(tables.USER_REVIEWS, (tenant, user_id, since, RECORD_ROWS))
    return {
        "user_id": user_id,
        "days": RECORD_DAYS,
        "held": sum(action == Action.HOLD for action, *_ in rows),
        "blocked": sum(action == Action.BLOCK for action, *_ in rows),
        "released": sum(released is not None for _, released, *_ in rows),
        "rejected": sum(rejected is not None for _, _, rejected, _ in rows),
        "taken_down": sum(blocked is not None for *_, blocked in rows),
        "more": len(rows) == RECORD_ROWS,
    }
