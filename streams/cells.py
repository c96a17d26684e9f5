"""What one event writes to history: steps of rows and reads, which end in the same cells in any order and number.

A step's parts may be done in any order; the next step begins when all of them are confirmed. Nothing here does I/O:
whoever drives a generator of steps sends it the rows that the reads of the step returned, one list for each read.
"""

from collections.abc import Generator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from infra.contracts import codec, events, tables
from infra.contracts.events import Event, Invalid, to_ms
from infra.contracts.placement import (
    DEFAULT_PLAN,
    BucketEpoch,
    bucket,
    create_write_time,
    day,
    micros,
    plan_of,
    time_of_id,
)
from infra.contracts.tables import Statement

_ROW_OVERHEAD: Final = 200
_REMEMBERED: Final = 100_000
_CHANGES: Final = events.CHANGES - {events.RECEIPT_DELIVERED}


class Row(msgspec.Struct, frozen=True, gc=False):
    """One row to write. None is a value not set. `partition` is the partition key, `size` about its bytes."""

    statement: Statement
    values: tuple[Any, ...]
    partition: tuple[str | int, ...]
    size: int = _ROW_OVERHEAD


class Read(msgspec.Struct, frozen=True, gc=False):
    """Rows to read before the next step."""

    statement: Statement
    values: tuple[Any, ...] = ()


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where a message stands: its channel and its milliseconds since the epoch."""

    channel_id: str
    sent_ms: int


Rows = list[tuple[Any, ...]]
Steps = Generator[Sequence[Row | Read], list[Rows], None]


class Cells:
    """Turns events into steps. Remembers which buckets are written and which channels were active since `settle`."""

    def __init__(self, touch_seconds: float) -> None:
        self.plan: tuple[BucketEpoch, ...] = DEFAULT_PLAN
        self._touch_seconds = touch_seconds
        self._buckets: dict[tuple[str, str, int], None] = {}
        self._touched: dict[tuple[str, str], float] = {}
        self._active: dict[tuple[str, str], int] = {}

    def steps(self, event: Event, envelope: str, src: str | None, rule: str, now: float) -> Steps | None:
        """What an accepted event asks for; None when history keeps nothing of its type.

        `now` is in monotonic seconds. Raises `Invalid` for an event that the router did not stamp.
        """
        tenant, received_at = _stamp(event)
        kind = event.type
        if kind == events.MESSAGE_SENT:
            return self._create(tenant, received_at, event, envelope, src, rule, now)
        if kind in _CHANGES:
            return self._change(tenant, received_at, event, envelope, src)
        channel = event.channel_id
        if channel is None:
            return None
        if kind in (events.CHANNEL_JOINED, events.CHANNEL_LEFT):
            joined = kind == events.CHANNEL_JOINED
            values = (micros(event.time), to_ms(event.time) if joined else None, joined, tenant, event.author, channel)
            return _once(Row(tables.SET_MEMBERSHIP, values, (tenant, event.author)))
        if kind == events.CHANNEL_CREATED:
            name = (event.properties or {}).get("name")
            named = (micros(event.time), to_ms(event.time), name if isinstance(name, str) else None, tenant, channel)
            return _once(Row(tables.NAME_CHANNEL, named, (tenant,)))
        return None

    def hold(self, event: Event, envelope: str, verdict: str, src: str | None) -> Steps:
        """What an event that a rule held or blocked asks for."""
        tenant, received_at = _stamp(event)
        on = day(received_at)
        values = (create_write_time(received_at), envelope, verdict, src, tenant, on, event.id)
        return _once(Row(tables.HOLD_MESSAGE, values, (tenant, on), _ROW_OVERHEAD + _bytes(envelope) + _bytes(verdict)))

    @property
    def unsettled(self) -> bool:
        """Whether `settle` has anything to write."""
        return bool(self._active)

    def settle(self) -> Steps | None:
        """The activity of channels that was not written at once, so that it may be stored before offsets are."""
        if not self._active:
            return None
        active, self._active = self._active, {}
        return _once(*(_touch(tenant, channel, ms) for (tenant, channel), ms in active.items()))

    def replan(self) -> Steps:
        """Take the bucket plan as it stands now. An entry counts from an hour after it was added, so a minute's age
        of the plan harms nobody."""
        (rows,) = yield (Read(tables.BUCKET_PLAN),)
        self.plan = plan_of((effective_from, width_ms) for effective_from, width_ms in rows)

    def _create(
        self, tenant: str, received_at: datetime, event: Event, envelope: str, src: str | None, rule: str, now: float
    ) -> Steps:
        channel, target = event.channel_id or "", event.target
        in_id = time_of_id(target)
        sent_at = in_id or event.placed_time
        sent_ms = to_ms(sent_at)
        written = create_write_time(received_at)
        partition = (tenant, channel, bucket(sent_at, self.plan))
        if partition not in self._buckets:
            yield (Row(tables.ADD_BUCKET, partition, (tenant, channel)),)
            _remember(self._buckets, partition, None)
        # An empty rule is stored: of two copies the first received must win whole, by what it lacks as well.
        values = (written, envelope, src, rule, *partition, sent_ms, target)
        rows = [
            Row(tables.CREATE_MESSAGE, values, partition, _ROW_OVERHEAD + _bytes(envelope)),
            *self._activity(tenant, channel, to_ms(event.time), now),
        ]
        if in_id is None:
            index = (written, channel, sent_ms, tenant, target)
            yield (Row(tables.INDEX_MESSAGE, index, (tenant, target)),)
            # Whoever changes this message either finds the index row just confirmed or has a pending row read here.
            found, pending = yield _find(tenant, target), Read(tables.PENDING, (tenant, target))
            place = _place(found)
            if (
                place is not None
                and place != Place(channel, sent_ms)
                and (yield from self._stands(tenant, place, target))
            ):
                return
            for _, changed, _ in pending:
                rows.extend(self._apply(tenant, codec.decode(changed.encode()), changed, Place(channel, sent_ms)))
        yield rows

    def _change(self, tenant: str, received_at: datetime, event: Event, envelope: str, src: str | None) -> Steps:
        target = event.target
        in_id = time_of_id(target)
        if in_id is not None:
            yield self._apply(tenant, event, envelope, Place(event.channel_id or "", to_ms(in_id)))
            return
        (found,) = yield (_find(tenant, target),)
        if not found:
            values = (tenant, target, event.id, envelope, src, create_write_time(received_at))
            yield (Row(tables.ADD_PENDING, values, (tenant, target), _ROW_OVERHEAD + _bytes(envelope)),)
            (found,) = yield (_find(tenant, target),)
        place = _place(found)
        if place is not None:
            yield self._apply(tenant, event, envelope, place)

    def _apply(self, tenant: str, event: Event, envelope: str, place: Place) -> list[Row]:
        at = events.from_ms(place.sent_ms)
        partition = (tenant, place.channel_id, bucket(at, self.plan))
        cell = (*partition, place.sent_ms, event.target)
        written = micros(event.time)
        match event.type:
            case events.MESSAGE_EDITED:
                size = _ROW_OVERHEAD + _bytes(envelope)
                return [Row(tables.EDIT_MESSAGE, (written, envelope, *cell), partition, size)]
            case events.MESSAGE_DELETED:
                return [Row(tables.DELETE_MESSAGE, (written, to_ms(event.time), *cell), partition)]
            case events.RECEIPT_READ:
                mark = (place.sent_ms * 1000, place.sent_ms, event.target, tenant, event.author, place.channel_id)
                return [Row(tables.SET_READ_MARK, mark, (tenant, event.author))]
            case _:
                active = event.type == events.REACTION_ADDED
                values = (written, active, *partition, event.target, event.reaction, event.author)
                return [Row(tables.SET_REACTION, values, partition)]

    def _activity(self, tenant: str, channel: str, ms: int, now: float) -> list[Row]:
        key = (tenant, channel)
        if now - self._touched.get(key, -self._touch_seconds) >= self._touch_seconds:
            _remember(self._touched, key, now)
            return [_touch(tenant, channel, ms)]
        if ms > self._active.get(key, -1):
            self._active[key] = ms
        return []

    def _stands(self, tenant: str, place: Place, target: str) -> "Generator[Sequence[Row | Read], list[Rows], bool]":
        """Whether a copy of this id that was received earlier, at another place, is in history already."""
        at = bucket(events.from_ms(place.sent_ms), self.plan)
        (rows,) = yield (Read(tables.MESSAGE, (tenant, place.channel_id, at, place.sent_ms, target)),)
        return any(envelope is not None for _, _, envelope, *_ in rows)


def _once(*rows: Row) -> Steps:
    yield rows


def _find(tenant: str, target: str) -> Read:
    return Read(tables.FIND_MESSAGE, (tenant, target))


def _place(found: Rows) -> Place | None:
    for channel_id, sent_at in found:
        if channel_id is not None and sent_at is not None:
            return Place(channel_id, to_ms(sent_at.replace(tzinfo=UTC)))  # the driver's datetimes are naive UTC
    return None


def _touch(tenant: str, channel: str, ms: int) -> Row:
    return Row(tables.TOUCH_CHANNEL, (ms * 1000, ms, tenant, channel), (tenant,))


def _stamp(event: Event) -> tuple[str, datetime]:
    if event.tenant is None:
        raise Invalid("missing_field", "tenant", "the router stamps a tenant; this record has none")
    if event.received_at is None:
        raise Invalid("missing_field", "received_at", "the router stamps received_at; this record has none")
    return event.tenant, event.received_at


def _remember(memory: dict[Any, Any], key: Any, value: Any) -> None:
    memory.pop(key, None)
    memory[key] = value
    if len(memory) > _REMEMBERED:
        del memory[next(iter(memory))]


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
