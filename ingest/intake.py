"""Takes in one request: each event is checked, stamped, deduplicated and framed, and the answer waits for Kafka."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

import msgspec

from infra.contracts import codec, placement
from infra.contracts.clock_rule import stamp_time
from infra.contracts.control import ApiKey, Tenant
from infra.contracts.events import (
    MAX_EVENT_BYTES,
    MESSAGE_SENT,
    SERVER_TYPES,
    Event,
    Invalid,
    check_type,
    merge_context,
    truncate_ms,
)
from infra.contracts.topics import BACKFILL, INGEST
from infra.runtime.clock import Clock
from infra.runtime.telemetry import SKEWED
from ingest import answers
from ingest.access import authorize, may_change_others
from ingest.answers import Answer
from ingest.bodies import Batch
from ingest.buckets import Refusal
from ingest.dead_letters import DeadLetters, letter_key
from ingest.dedupe import Seen, seen_key
from ingest.errors import Refused
from ingest.forms import Raw
from ingest.framer import Frame, Framer
from ingest.limits import Limiter, TenantLimits
from ingest.request import Letter, Request, conflict
from ingest.settings import Ingest


class Lane(NamedTuple):
    """A topic as this cluster names it and its number of partitions."""

    topic: str
    partitions: int


class _Limited(Exception):
    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal


class _Unavailable(Exception):
    """Too much is in flight."""


class _Repeated(Exception):
    """The id is known: `frame` holds the first copy, or None if that is stored."""

    def __init__(self, frame: Frame | None, same: bool) -> None:
        self.frame = frame
        self.same = same


class Intake:
    """The one way into the log. All requests of a process share it, on one event loop."""

    def __init__(
        self,
        settings: Ingest,
        *,
        lanes: Mapping[str, Lane],
        framer: Framer,
        seen: Seen,
        limiter: Limiter,
        letters: DeadLetters,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._live = lanes[INGEST.name]
        self._backfill = lanes[BACKFILL.name]
        self._framer = framer
        self._seen = seen
        self._limiter = limiter
        self._letters = letters
        self._clock = clock

    @property
    def full(self) -> bool:
        """Whether the bound on what is in flight is reached."""
        framer, settings = self._framer, self._settings
        return (
            framer.in_flight_events >= settings.in_flight_events or framer.in_flight_bytes >= settings.in_flight_bytes
        )

    async def take(self, batch: Batch, key: ApiKey, tenant: Tenant, request_id: str) -> Answer:
        """The answer once every event has an outcome, or when the time to wait for Kafka is over.

        Raises `Refused` when the key may not send this batch or when there is no room for it.
        """
        authorize(key, historical=batch.historical)
        if self.full or self._framer.in_flight_events + len(batch.items) > self._settings.in_flight_events:
            raise Refused(
                503, "too much is waiting for Kafka; try again", {"Retry-After": str(self._settings.retry_after)}
            )
        request = Request(batch, request_id)
        self._place(request, key, tenant)
        if len(batch.items) >= self._settings.direct_events:
            for frame in {frame for _, _, frame in request.placed}:
                self._framer.send(frame)
        if pending := list(request.pending()):
            await asyncio.wait(pending, timeout=self._settings.unavailable_after)
        request.settle()
        request.count()
        return answers.settled(request, self._settings.retry_after)

    def _place(self, request: Request, key: ApiKey, tenant: Tenant) -> None:
        batch = request.batch
        now = self._clock.monotonic()
        received_at = truncate_ms(self._clock.now())
        lane = self._backfill if batch.historical else self._live
        server = may_change_others(key, historical=batch.historical)
        limits = self._limiter.of(tenant, now, historical=batch.historical)
        form, decode = batch.form, batch.form.decode
        bytes_limit = self._settings.in_flight_bytes
        partitions: dict[str, int] = {}
        framer, seen = self._framer, self._seen
        skewed = 0
        for index, raw in enumerate(batch.items):
            event: Event | None = None
            try:
                event = decode(raw, limit=MAX_EVENT_BYTES)
                check_type(event.type)
                if not server and event.type in SERVER_TYPES:
                    raise Invalid("forbidden_type", "type", f"{event.type} needs a key with scope server")
                event.tenant = event.received_at = event.source = None
                event.request_id = event.client_time = event.historical = event.late = None
                seen_as = seen_key(tenant.id, event.id)
                known = seen.stored(seen_as)
                first = seen.in_flight(seen_as) if known is None else None
                if first is not None:
                    known = first.prints[seen_as]
                if known is not None:
                    # A copy takes no token: a client that repeats a whole batch would never get to what is new in it.
                    raise _Repeated(first, known == codec.fingerprint(event))
                slowable = event.id if event.type == MESSAGE_SENT and not server else None
                refusal = limits.take(event.author, event.channel_id, now, message=slowable)
                if refusal is not None:
                    raise _Limited(refusal)
                fingerprint = codec.fingerprint(event)
                if stamp_time(event, received_at=received_at, sent_at=batch.sent_at, historical=batch.historical):
                    skewed += 1
                if batch.context is not None:
                    merge_context(event, batch.context)
                event.tenant = tenant.id
                event.received_at = received_at
                event.source = form.source
                event.request_id = request.id
                if batch.historical:
                    event.historical = True
                envelope = codec.encode(event)
                if len(envelope) > codec.MAX_ENVELOPE_BYTES:
                    raise Invalid("too_large", None, f"the envelope is longer than {codec.MAX_ENVELOPE_BYTES} bytes")
                if framer.in_flight_bytes >= bytes_limit:
                    raise _Unavailable
                place = event.channel_id or event.author
                partition = partitions.get(place)
                if partition is None:
                    partition = placement.partition(placement.key(tenant.id, event), lane.partitions)
                    partitions[place] = partition
                frame = framer.add(lane.topic, partition, envelope)
                seen.sending(seen_as, fingerprint, frame)
                request.placed.append((index, event.id, frame))
            except Invalid as invalid:
                told = form.explain(invalid)
                if form.salvage is not None:
                    self._bury(request, index, raw, told, tenant, limits, now, received_at)
                else:
                    request.refuse(index, event.id if event is not None else _id_of(raw), told)
            except _Repeated as repeated:
                assert event is not None
                if repeated.same or form.salvage is None:
                    request.repeat(index, event.id, repeated.frame, repeated.same)
                elif repeated.frame is None:
                    self._bury(request, index, raw, form.explain(conflict()), tenant, limits, now, received_at)
                else:
                    request.refuse(index, event.id, _unavailable("another body with this id is on its way"))
            except _Limited as limited:
                assert event is not None
                request.limit(index, event.id, limited.refusal)
            except _Unavailable:
                assert event is not None
                request.refuse(index, event.id, _unavailable("too much is waiting for Kafka"))
        if skewed:
            SKEWED.inc(skewed)

    def _bury(
        self,
        request: Request,
        index: int,
        raw: Raw,
        invalid: Invalid,
        tenant: Tenant,
        limits: TenantLimits,
        now: float,
        received_at: datetime,
    ) -> None:
        """Keep an item whose sender is not told about it. Like an event it takes its user's tokens, a copy none."""
        form = request.batch.form
        assert form.salvage is not None
        envelope = form.salvage(raw)
        found = envelope.get("id")
        event_id = found if isinstance(found, str) else None
        key = letter_key(form.source, tenant.id, event_id, bytes(raw))
        if self._letters.holds(key):
            request.bury(index, event_id, invalid)
            return
        author = envelope.get("user_id") or envelope.get("anonymous_id")
        refusal = limits.take(author if isinstance(author, str) else "", None, now)
        if refusal is not None:
            request.limit(index, event_id, refusal)
            return
        try:
            done = self._letters.bury(key, envelope, invalid, tenant=tenant.id, source=form.source, now=received_at)
        except BufferError:
            request.refuse(index, event_id, _unavailable("too much is waiting for Kafka"))
        else:
            request.letters.append(Letter(index, event_id, invalid, done))


class _Named(msgspec.Struct):
    id: str | None = None


_named = msgspec.json.Decoder(_Named)


def _id_of(raw: Raw) -> str | None:
    """The id of an event that is not valid otherwise, if it has a usable one."""
    try:
        found = _named.decode(raw).id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return found if found is not None and len(found) <= 100 else None


def _unavailable(message: str) -> Invalid:
    return Invalid("unavailable", None, message)
