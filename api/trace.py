"""What became of one event. Nothing is stored for it: the rows and records it wrote carry all there is to say."""

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from confluent_kafka import KafkaException
from fastapi import APIRouter, Response

from api.auth import TenantReader
from api.edge import PathId
from api.errors import Refused
from api.history.cursors import Place
from api.history.messages import Row, utc
from api.log_search import Found, search
from api.models.base import refusals
from api.models.tracing import TraceBody
from api.numbers.freshness import Freshness
from api.numbers.metrics import read_freshness
from api.replies import json
from api.state import Shared, State
from infra.contracts import events, headers, metrics, placement, tables
from infra.contracts.events import Event
from infra.contracts.records import Action, Verdict
from infra.contracts.windows import MINUTE
from infra.runtime.errors import PreconditionError

if TYPE_CHECKING:
    from api.archive_search import Archived

log = structlog.get_logger("hubbub.api")
router = APIRouter(tags=["trace"])

_MARGIN = timedelta(minutes=1)
#: How far back the log is read for an id that says nothing of its time and is not in history.
_RECENT = timedelta(hours=1)
_ABOUT_MESSAGES = frozenset({events.MESSAGE_SENT}) | events.CHANGES


class _Trail:
    """What has been found so far, and where it was looked for."""

    def __init__(self) -> None:
        self.looked: list[str] = []
        self.event: Event | None = None
        self.row: tuple[str, Row] | None = None
        self.outcome: str | None = None
        self.verdict: Verdict | None = None
        self.src: str | None = None
        self.rule: str | None = None
        self.records: list[Found] = []


@router.get(
    "/v1/events/{event_id}/trace",
    response_model=TraceBody,
    responses=refusals(401, 403, 404, 422, 429, 503),
)
async def trace(event_id: PathId, principal: TenantReader, state: Shared) -> Response:
    """How the event came in, what was decided, where it stands in the log and history, and the windows it counts in."""
    if state.traces.locked():
        raise Refused(429, "Too many traces run at this moment.")
    async with state.traces:
        return json(await follow(state, principal.tenant, event_id))


async def follow(state: State, tenant: str, event_id: str) -> dict[str, Any]:
    """The trace as a reply shows it. Raises `Refused` 404 that says where it was looked for."""
    began = state.clock.monotonic()
    trail = _Trail()
    await _look_in_history(state, tenant, event_id, trail)
    if trail.event is None:
        await _look_in_held(state, tenant, event_id, trail)
    await _look_in_log(state, tenant, event_id, trail)
    if trail.event is None and not trail.records:
        await _look_in_archive(state, tenant, event_id, trail)
    if trail.event is None and not trail.records:
        raise Refused(404, f"No such event. Looked in {'; '.join(trail.looked)}.")
    if trail.event is not None and trail.row is None and trail.outcome == "events":
        await _find_row(state, tenant, trail)
    return {
        "id": event_id,
        "type": trail.event.type if trail.event else None,
        "accept": _accept(trail),
        "outcome": trail.outcome,
        "verdict": _verdict(trail),
        "records": [_record(found) for found in trail.records],
        "history": _history(state, trail),
        "windows": await _windows(state, tenant, trail, await read_freshness(state)),
        "looked": trail.looked,
        "seconds": round(state.clock.monotonic() - began, 3),
    }


async def _look_in_history(state: State, tenant: str, event_id: str, trail: _Trail) -> None:
    moment = placement.time_of_id(event_id)
    if moment is None:
        trail.looked.append("the index of message ids")
        indexed = await state.history.indexed(tenant, event_id)
        places = [indexed] if indexed is not None else []
    else:
        # The id gives the place in time, not the channel; active channels are few reads, the log is many records.
        rows = await state.database.execute(tables.CHANNELS, (tenant,))
        rows.sort(key=lambda row: row[3] or datetime.min, reverse=True)
        rows = rows[: state.settings.trace_channels]
        trail.looked.append(f"history of {len(rows)} channels")
        places = [(row[0], Place(moment, event_id)) for row in rows]
    found = await asyncio.gather(*(state.history.message(tenant, channel, place) for channel, place in places))
    for (channel, _), row in zip(places, found, strict=True):
        if row is None or not row.visible:
            continue
        trail.row = (channel, row)
        trail.src, trail.rule = row.src, row.rule or None
        if row.envelope:
            trail.event = msgspec.json.decode(row.envelope, type=Event)
            trail.outcome = "events"


async def _look_in_held(state: State, tenant: str, event_id: str, trail: _Trail) -> None:
    moment = placement.time_of_id(event_id) or state.clock.now()
    days = {placement.day(moment), placement.day(state.clock.now()), placement.day(moment + timedelta(days=1))}
    trail.looked.append(f"held messages of {', '.join(sorted(days))}")
    reads = (state.database.execute(tables.HELD_MESSAGE, (tenant, day, event_id)) for day in sorted(days))
    for rows in await asyncio.gather(*reads):
        for _, envelope, verdict, src, *_ in rows:
            trail.event = msgspec.json.decode(envelope, type=Event)
            trail.verdict = msgspec.json.decode(verdict, type=Verdict)
            trail.outcome = "held" if trail.verdict.action is Action.HOLD else "blocked"
            trail.src = src


async def _look_in_log(state: State, tenant: str, event_id: str, trail: _Trail) -> None:
    settings = state.settings
    known = trail.event.received_at if trail.event is not None else placement.time_of_id(event_id)
    since = known - _MARGIN if known is not None else state.clock.now() - _RECENT
    try:
        searched = await asyncio.to_thread(
            search,
            state.kafka,
            tenant,
            event_id,
            since,
            seconds=settings.trace_seconds,
            records=settings.trace_records,
            monotonic=state.clock.monotonic,
        )
    except KafkaException as error:
        log.warning("kafka.unavailable", error=str(error))
        trail.looked.append("not in the log: Kafka does not answer")
        return
    extent = "to its end" if searched.whole else "and stopped at the bound of one trace"
    trail.looked.append(f"{searched.records} records of the log from {since.isoformat()} {extent}")
    trail.records = searched.found
    # One that was released was held first.
    accepted = trail.outcome == "events" or any(found.outcome == "events" for found in searched.found)
    for found in searched.found:
        trail.outcome = found.outcome
        trail.event = found.event or trail.event
        trail.verdict = found.verdict or trail.verdict
        trail.src = found.src or trail.src
        trail.rule = found.rule or trail.rule
    if accepted:
        trail.outcome = "events"


async def _look_in_archive(state: State, tenant: str, event_id: str, trail: _Trail) -> None:
    """The last place, and the slow one: what history does not keep and the log has forgotten."""
    moment = placement.time_of_id(event_id)
    if moment is None:
        trail.looked.append("not in the archive: the id does not tell its day")
        return

    def find() -> "Archived | None":
        from api import archive_search  # noqa: PLC0415 - 90 MB that most API processes never need

        return archive_search.find(state.archive, state.runtime, tenant, event_id, moment)

    began = state.clock.monotonic()
    try:
        found = await asyncio.to_thread(find)
    except PreconditionError as error:
        log.warning("archive.unavailable", error=str(error))
        trail.looked.append("not in the archive: it is not there or does not answer")
        return
    seconds = state.clock.monotonic() - began
    trail.looked.append(f"the archive of {placement.day(moment)} and the days beside it, in {seconds:.1f} s")
    if found is not None:
        trail.event, trail.outcome, trail.verdict = found.event, found.outcome, found.verdict
        trail.src, trail.rule = found.src, found.rule


async def _find_row(state: State, tenant: str, trail: _Trail) -> None:
    event = trail.event
    if event is None or event.type not in _ABOUT_MESSAGES or event.channel_id is None:
        return
    place = await state.history.find(tenant, event.channel_id, event.target)
    row = await state.history.message(tenant, event.channel_id, place) if place is not None else None
    if row is not None:
        trail.row = (event.channel_id, row)


def _accept(trail: _Trail) -> dict[str, Any] | None:
    event = trail.event
    if event is None and trail.src is None:
        return None
    return {
        "received_at": event.received_at if event else None,
        "source": event.source if event else None,
        "request_id": event.request_id if event else None,
        "src": _src(trail.src),
    }


def _src(text: str | None) -> dict[str, Any] | None:
    try:
        src = headers.Src.decode(text or "")
    except ValueError:
        return None
    return {"topic": src.topic, "partition": src.partition, "offset": src.offset, "index": src.index}


def _verdict(trail: _Trail) -> Any:
    if trail.verdict is not None:
        return trail.verdict
    return {"rule": trail.rule} if trail.rule else None


def _record(found: Found) -> dict[str, Any]:
    return {
        "outcome": found.outcome,
        "topic": found.topic.name,
        "partition": found.partition,
        "offset": found.offset,
        "appended_at": found.appended_at,
        "code": found.code,
    }


def _history(state: State, trail: _Trail) -> dict[str, Any] | None:
    if trail.row is None:
        return None
    channel_id, row = trail.row
    return {
        "channel_id": channel_id,
        "message_id": row.message_id,
        "sent_at": row.sent_at,
        "bucket": state.history.bucket(row.sent_at),
        "state": _state_of(row),
    }


def _state_of(row: Row) -> str:
    if row.blocked:
        return "blocked"
    if row.deleted:
        return "deleted"
    if not row.visible:
        return "waiting"
    return "edited" if row.edit else "created"


async def _windows(state: State, tenant: str, trail: _Trail, freshness: Freshness) -> list[dict[str, Any]]:
    event = trail.event
    if event is None or event.is_bot or event.historical:
        return []  # bots never count; history that is filled in later counts in batch only
    counted = {m.name for m in metrics.MEASURES if m.takes(event, trail.outcome)}
    names = [m.name for m in metrics.METRICS.values() if m.measure in counted and MINUTE.name in m.grains]
    if not names:
        return []
    start = MINUTE.start(event.time)
    end = MINUTE.end(start)
    scopes = [metrics.TENANT_SCOPE]
    if event.channel_id is not None:
        scopes.append(metrics.channel_scope(event.channel_id))
    reads = (
        state.database.execute(
            tables.WINDOWS, (tenant, scope, MINUTE.name, MINUTE.period_of(start), "stream", start, end)
        )
        for scope in scopes
    )
    return [
        {
            "scope": scope,
            "grain": MINUTE.name,
            "start": start,
            "end": end,
            "metrics": names,
            "written": any(utc(row[0]) == start for row in rows),
            "final": freshness.is_final(end),
        }
        for scope, rows in zip(scopes, await asyncio.gather(*reads), strict=True)
    ]
