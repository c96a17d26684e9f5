"""Takes in one request: each event is checked, stamped, deduplicated and framed, and the answer waits for Kafka."""

import asyncio
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from infra.contracts import codec, placement
from infra.contracts.clock_rule import stamp_time
from infra.contracts.control import ApiKey, Tenant
from infra.contracts.events import (
    MAX_EVENT_BYTES,
    SERVER_TYPES,
    Event,
    Invalid,
    check_type,
    merge_context,
    truncate_ms,
)
from infra.contracts.problems import EVENT_CODES, ItemError
from infra.contracts.topics import BACKFILL, INGEST
from infra.runtime.clock import Clock
from infra.runtime.telemetry import ACCEPTED, SKEWED
from ingest import answers
from ingest.access import authorize, may_change_others
from ingest.answers import Answer
from ingest.bodies import Batch
from ingest.dedupe import Seen, seen_key
from ingest.errors import Refused
from ingest.framer import Frame, Framer
from ingest.limits import Bucket, Limiter
from ingest.settings import Ingest

#: `source` of what comes in by this door.
SOURCE: Final = "http"

_OUTCOMES: Final = {outcome: ACCEPTED.labels(outcome) for outcome in ("accepted", "duplicate", *EVENT_CODES)}


class Lane(NamedTuple):
    """A topic as this cluster names it and its number of partitions."""

    topic: str
    partitions: int


class _Limited(Exception):
    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket


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
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._live = lanes[INGEST.name]
        self._backfill = lanes[BACKFILL.name]
        self._framer = framer
        self._seen = seen
        self._limiter = limiter
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
        request = _Request(batch, request_id)
        self._place(request, key, tenant)
        frames = {frame for _, _, frame in request.placed}
        if len(batch.items) >= self._settings.direct_events:
            for frame in frames:
                self._framer.send(frame)
        frames.update(frame for _, _, frame, _ in request.waiting)
        pending = [frame.done for frame in frames if not frame.done.done()]
        if pending:
            await asyncio.wait(pending, timeout=self._settings.unavailable_after)
        request.settle()
        request.count()
        return answers.settled(
            accepted=request.accepted,
            duplicates=request.duplicates,
            errors=request.errors,
            empty=request.empty,
            retry_after=self._settings.retry_after,
        )

    def _place(self, request: "_Request", key: ApiKey, tenant: Tenant) -> None:
        batch = request.batch
        now = self._clock.monotonic()
        received_at = truncate_ms(self._clock.now())
        lane = self._backfill if batch.historical else self._live
        server = may_change_others(key, historical=batch.historical)
        buckets = self._limiter.of(tenant, now)
        bytes_limit = self._settings.in_flight_bytes
        partitions: dict[str, int] = {}
        framer, seen = self._framer, self._seen
        skewed = 0
        for index, raw in enumerate(batch.items):
            event: Event | None = None
            try:
                event = codec.decode(raw, limit=MAX_EVENT_BYTES)
                check_type(event.type)
                if not server and event.type in SERVER_TYPES:
                    raise Invalid("forbidden_type", "type", f"{event.type} needs a key with scope server")
                event.tenant = event.received_at = event.source = None
                event.request_id = event.client_time = event.historical = event.late = None
                fingerprint = codec.fingerprint(event)
                empty = buckets.take(event.author, event.channel_id, now)
                if empty is not None:
                    raise _Limited(empty)
                seen_as = seen_key(tenant.id, event.id)
                known = seen.stored(seen_as)
                if known is not None:
                    raise _Repeated(None, known == fingerprint)
                first = seen.in_flight(seen_as)
                if first is not None:
                    raise _Repeated(first, first.prints[seen_as] == fingerprint)
                if stamp_time(event, received_at=received_at, sent_at=batch.sent_at, historical=batch.historical):
                    skewed += 1
                if batch.context is not None:
                    merge_context(event, batch.context)
                event.tenant = tenant.id
                event.received_at = received_at
                event.source = SOURCE
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
                event_id = event.id if event is not None else _id_of(raw)
                request.refuse(index, event_id, invalid.code, invalid.field, invalid.message)
            except _Repeated as repeated:
                assert event is not None
                request.repeat(index, event.id, repeated.frame, repeated.same)
            except _Limited as limited:
                assert event is not None
                request.empty = limited.bucket
                request.refuse(index, event.id, "rate_limited", None, "a limit of events per second is reached")
            except _Unavailable:
                assert event is not None
                request.refuse(index, event.id, "unavailable", None, "too much is waiting for Kafka")
        if skewed:
            SKEWED.inc(skewed)


class _Request:
    """What has become of the events of one request so far."""

    def __init__(self, batch: Batch, request_id: str) -> None:
        self.batch = batch
        self.id = request_id
        #: Index, id and frame of each event on its way.
        self.placed: list[tuple[int, str, Frame]] = []
        #: Index, id, frame of the first copy, and whether the bodies are the same.
        self.waiting: list[tuple[int, str, Frame, bool]] = []
        self.errors: list[ItemError] = []
        self.empty: Bucket | None = None
        self.accepted = 0
        self.duplicates = 0

    def refuse(self, index: int, event_id: str | None, code: str, field: str | None, message: str) -> None:
        self.errors.append(
            ItemError(index=index, id=event_id, code=code, field=field, message=message, retryable=EVENT_CODES[code])
        )

    def repeat(self, index: int, event_id: str, frame: Frame | None, same: bool) -> None:
        """A second copy: told now if the first is stored, else once its outcome is known."""
        if frame is not None:
            self.waiting.append((index, event_id, frame, same))
        elif same:
            self.duplicates += 1
        else:
            self._conflict(index, event_id)

    def settle(self) -> None:
        """Judge what waited for Kafka: a frame without a report by now is unavailable."""
        if all(frame.stored for frame in {frame for _, _, frame in self.placed}):
            self.accepted = len(self.placed)
        else:
            for index, event_id, frame in self.placed:
                if frame.stored:
                    self.accepted += 1
                else:
                    self._unconfirmed(index, event_id)
        for index, event_id, frame, same in self.waiting:
            if not frame.stored:
                self._unconfirmed(index, event_id)
            elif same:
                self.duplicates += 1
            else:
                self._conflict(index, event_id)
        self.errors.sort(key=lambda error: error.index)

    def count(self) -> None:
        _OUTCOMES["accepted"].inc(self.accepted)
        _OUTCOMES["duplicate"].inc(self.duplicates)
        for error in self.errors:
            _OUTCOMES[error.code].inc()

    def _conflict(self, index: int, event_id: str) -> None:
        self.refuse(index, event_id, "conflict", "id", "this id was sent before with another body")

    def _unconfirmed(self, index: int, event_id: str) -> None:
        self.refuse(index, event_id, "unavailable", None, "Kafka did not confirm it in time; send it again")


class _Named(msgspec.Struct):
    id: str | None = None


_named = msgspec.json.Decoder(_Named)


def _id_of(raw: bytes | msgspec.Raw) -> str | None:
    """The id of an event that is not valid otherwise, if it has a usable one."""
    try:
        found = _named.decode(raw).id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return found if found is not None and len(found) <= 100 else None
