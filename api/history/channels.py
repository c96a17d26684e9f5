"""Channels, their history in pages, and single messages."""

import asyncio
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from api.auth import Reader, check_channel
from api.edge import PathId
from api.errors import Refused, not_found
from api.history import cursors
from api.history.messages import utc
from api.history.pages import Wanted
from api.models.base import refusals
from api.models.history import ChannelsBody, OneMessageBody, PageBody
from api.replies import json, ready
from api.state import Shared
from infra.contracts import tables
from infra.runtime.telemetry import PAGE_SECONDS

router = APIRouter(tags=["history"])


@router.get("/v1/channels", response_model=ChannelsBody, responses=refusals(401, 403, 422, 503))
async def channels(principal: Reader, state: Shared, limit: Annotated[int, Query(ge=1, le=1_000)] = 200) -> Response:
    """Channels with their last activity, the most recent first."""
    if principal.channels is None:
        rows = await state.database.execute(tables.CHANNELS, (principal.tenant,))
    else:
        reads = (state.database.execute(tables.CHANNEL, (principal.tenant, c)) for c in sorted(principal.channels))
        rows = [row for found in await asyncio.gather(*reads) for row in found]
    rows.sort(key=lambda row: (row[3] or row[1] or datetime.min, row[0]), reverse=True)
    return json({"channels": [_channel(row) for row in rows[:limit]], "more": len(rows) > limit})


@router.get(
    "/v1/channels/{channel_id}/messages",
    response_model=PageBody,
    response_model_exclude_unset=True,
    responses=refusals(400, 401, 403, 404, 422, 503),
)
async def messages(
    channel_id: PathId,
    principal: Reader,
    state: Shared,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Annotated[str | None, Query(description="A cursor: the page of older messages")] = None,
    after: Annotated[str | None, Query(description="A cursor: the page of newer messages")] = None,
    around: Annotated[str | None, Query(description="A message id: the page it is in the middle of")] = None,
) -> Response:
    """A page of messages, newest first, with edit state and reaction counts. A deleted message keeps its place."""
    check_channel(principal, channel_id)
    with PAGE_SECONDS.time():
        match (before, after, around):
            case (None, None, None):
                wanted = Wanted()
            case (str(cursor), None, None):
                wanted = Wanted("before", cursors.decode(state.signer, principal.tenant, channel_id, cursor))
            case (None, str(cursor), None):
                wanted = Wanted("after", cursors.decode(state.signer, principal.tenant, channel_id, cursor))
            case (None, None, str(message_id)):
                place = await state.history.find(principal.tenant, channel_id, message_id)
                if place is None:
                    raise not_found("message")
                wanted = Wanted("around", place)
            case _:
                raise Refused(400, "Give at most one of before, after and around.")
        return ready(await state.pages.page(principal.tenant, channel_id, wanted, limit))


@router.get(
    "/v1/channels/{channel_id}/messages/{message_id}",
    response_model=OneMessageBody,
    responses=refusals(401, 403, 404, 422, 503),
)
async def message(channel_id: PathId, message_id: PathId, principal: Reader, state: Shared) -> Response:
    """One message with its edit state and who reacted."""
    check_channel(principal, channel_id)
    return ready(await state.pages.message(principal.tenant, channel_id, message_id))


def _channel(row: tuple[Any, ...]) -> dict[str, Any]:
    channel_id, created_at, name, last_activity = row
    return {
        "channel_id": channel_id,
        "name": name,
        "created_at": created_at and utc(created_at),
        "last_activity": last_activity and utc(last_activity),
    }
