"""How much a user has not read, channel by channel: exact up to 999."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Response

from api.auth import Reader
from api.edge import PathId
from api.errors import not_found
from api.history.cursors import Place
from api.history.messages import author_of, utc
from api.history.reading import History
from api.models.base import refusals
from api.models.history import UnreadsBody
from api.replies import json
from api.state import Shared, State
from infra.contracts import tables

router = APIRouter(tags=["history"])

MOST = 999
#: Channels counted at the same time for one request.
_AT_ONCE = 16
#: Rows looked at in one channel, most of which may be the user's own or deleted.
_LOOK_AT = 20_000
_STEP = 250
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@router.get(
    "/v1/users/{user_id}/unread",
    response_model=UnreadsBody,
    responses=refusals(401, 403, 404, 422, 503),
)
async def unread(user_id: PathId, principal: Reader, state: Shared) -> Response:
    """Messages after the user's read mark, not their own, not deleted; from the join where there is no mark."""
    if principal.channels is not None and principal.user_id != user_id:
        raise not_found("user")
    starts = {
        channel_id: start
        for channel_id, start in (await _starts(state, principal.tenant, user_id)).items()
        if principal.may_read(channel_id)
    }
    slots = asyncio.Semaphore(_AT_ONCE)

    async def counted(channel_id: str, start: Place) -> dict[str, Any]:
        async with slots:
            count, more = await count_unread(state.history, principal.tenant, channel_id, user_id, start)
        return {"channel_id": channel_id, "count": count, **({"more": True} if more else {})}

    found = await asyncio.gather(*(counted(channel_id, starts[channel_id]) for channel_id in sorted(starts)))
    return json({"user_id": user_id, "channels": found})


async def count_unread(history: History, tenant: str, channel_id: str, user_id: str, start: Place) -> tuple[int, bool]:
    """How many messages after `start` others have written, at most `MOST`, and whether there are more."""
    count = looked = 0
    here = start
    while True:
        run = await history.newer(tenant, channel_id, here, _STEP)
        if run is None:
            return 0, False
        looked += len(run.rows)
        count += sum(not row.deleted and author_of(row) != user_id for row in run.rows)
        if count > MOST:
            return MOST, True
        if run.last is None:
            return count, False
        if looked >= _LOOK_AT:
            return count, True
        here = run.last


async def _starts(state: State, tenant: str, user_id: str) -> dict[str, Place]:
    """Where each channel's unread messages begin: after the mark, else from the join on."""
    memberships, marks = await asyncio.gather(
        state.database.execute(tables.MEMBERSHIPS, (tenant, user_id)),
        state.database.execute(tables.READ_MARKS, (tenant, user_id)),
    )
    starts = {
        # No id sorts before the empty one, so a message of the very moment of joining counts.
        channel_id: Place(utc(joined_at) if joined_at else _BEGINNING, "")
        for channel_id, joined_at, member in memberships
        if member
    }
    left = {channel_id for channel_id, _, member in memberships if not member}
    for channel_id, sent_at, message_id in marks:
        if channel_id not in left and sent_at is not None:
            starts[channel_id] = Place(utc(sent_at), message_id or "")
    return starts
