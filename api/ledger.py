"""The ledger: by minute, what was accepted and where all of it is, or at which stage it is not."""

import asyncio
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from api.auth import TenantReader
from api.history.messages import utc
from api.models.base import refusals
from api.models.tracing import LedgerBody
from api.replies import json
from api.state import Shared
from infra.contracts import placement, tables
from infra.contracts.ledger import Minute, Stage, State
from infra.contracts.windows import MINUTE

router = APIRouter(tags=["ledger"])

#: A day, which lies in two partitions at most.
_MOST = 1_440


@router.get("/v1/ledger", response_model=LedgerBody, responses=refusals(401, 403, 422, 503))
async def ledger(
    principal: TenantReader,
    state: Shared,
    minutes: Annotated[int, Query(ge=1, le=_MOST, description="How many, up to the one that is now")] = 60,
) -> Response:
    """The newest minutes, oldest first. One in which nothing was accepted has no entry."""
    now = state.clock.now()
    until = MINUTE.end(MINUTE.start(now))
    since = until - minutes * MINUTE.width
    # Progress first: what is read after it is at least as new as it says.
    progress = await state.database.execute(tables.LEDGER_PROGRESS)
    found = await asyncio.gather(
        *(
            state.database.execute(tables.LEDGER_MINUTES, (principal.tenant, day, since, until))
            for day in _days(since, until)
        )
    )
    rows = sorted((_minute(principal.tenant, row) for day in found for row in day), key=lambda m: m.start)
    _, read_until, checked_at = progress[0] if progress else (None, None, None)
    watermark = None if read_until is None else utc(read_until)
    return json(
        {
            "minutes": [_entry(minute) for minute in rows],
            "from": since,
            "to": until,
            "as_of": None if checked_at is None else utc(checked_at),
            "watermark": watermark,
            "lag_seconds": None if watermark is None else round(max(0.0, (now - watermark).total_seconds()), 3),
        }
    )


def _days(since: datetime, until: datetime) -> list[str]:
    """The partitions these minutes lie in."""
    return sorted({placement.day(since), placement.day(until - MINUTE.width)})


def _minute(tenant: str, row: tuple[Any, ...]) -> Minute:
    """A row of `tables.LEDGER_MINUTES`."""
    start, accepted, events, signals, held, blocked, dlq, duplicates, state, stage, expected, found, src = row
    return Minute(
        tenant=tenant,
        start=utc(start),
        accepted=accepted,
        events=events,
        signals=signals,
        held=held,
        blocked=blocked,
        dlq=dlq,
        duplicates=duplicates,
        state=State(state),
        stage=None if stage is None else Stage(stage),
        expected=expected,
        found=found,
        src=src,
    )


def _entry(minute: Minute) -> dict[str, Any]:
    """As a reply shows it: without the tenant, who asked."""
    return {
        "start": minute.start,
        "end": MINUTE.end(minute.start),
        "state": minute.state,
        "stage": minute.stage,
        "expected": minute.expected,
        "found": minute.found,
        "src": minute.src,
        "accepted": minute.accepted,
        "events": minute.events,
        "signals": minute.signals,
        "held": minute.held,
        "blocked": minute.blocked,
        "dlq": minute.dlq,
        "duplicates": minute.duplicates,
    }
