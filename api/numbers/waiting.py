"""Who waits for an answer now, provisionally: what is shown is seconds old and may still be found otherwise."""

from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Query, Response

from api.auth import Reader, check_channel
from api.errors import Refused
from api.models.base import refusals
from api.models.numbers import WaitingBody
from api.numbers.interactions import read_freshness
from api.numbers.metrics import ScopeName, check_channel_exists
from api.replies import json
from api.state import Shared
from infra.contracts import tables
from infra.contracts.interactions import BOARD_WAITS, Board
from infra.contracts.metrics import TENANT_SCOPE, channel_scope

router = APIRouter(tags=["metrics"])

Order = Literal["longest", "newest"]

_CHANNEL = channel_scope("")

_board = msgspec.json.Decoder(Board)


@router.get("/v1/waiting", response_model=WaitingBody, responses=refusals(401, 403, 404, 422, 503))
async def waiting(
    principal: Reader,
    state: Shared,
    scope: ScopeName = TENANT_SCOPE,
    order: Annotated[Order, Query(description="Who has waited longest first, or who began last")] = "longest",
    limit: Annotated[int, Query(ge=1, le=BOARD_WAITS)] = 50,
) -> Response:
    """Who waits for an answer: in the tenant, or in one channel."""
    if scope != TENANT_SCOPE:
        check_channel(principal, scope.removeprefix(_CHANNEL))
    elif principal.channels is not None:
        raise Refused(403, "This token is limited to its channels.")
    freshness = await read_freshness(state)
    rows = await state.database.execute(tables.WAITING, (principal.tenant, scope))
    if not rows and scope != TENANT_SCOPE:
        await check_channel_exists(state, principal.tenant, scope.removeprefix(_CHANNEL))
    board = _board.decode(rows[0][0]) if rows else Board()
    return json(
        {
            "scope": scope,
            "order": order,
            "waiting": (board.longest if order == "longest" else board.newest)[:limit],
            "total": board.total,
            "provisional": True,
            "as_of": freshness.as_of,
        }
    )
