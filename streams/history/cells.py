"""What one event writes to history: rows in steps, which end in the same cells in any order and number.

The parts of a step may be done in any order; the next step begins when all of them are confirmed. Most events are one
step, given as it is. Where more is needed a generator yields them and is sent what the reads of its last step returned,
one list of rows for each read. Nothing here does I/O.
"""

from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from infra.contracts import codec, events, tables
from infra.contracts.events import Event, to_ms
from infra.contracts.metrics import MEASURES
from infra.contracts.placement import (
    DEFAULT_PLAN,
    BucketEpoch,
    bucket_of_ms,
    create_write_time,
    micros,
    ms_of_id,
    plan_of,
)
from infra.contracts.windows import WATERMARK_DELAY
from streams.history import reviews
from streams.history.rows import ROW_OVERHEAD, Place, Read, Row, Rows, Step, Steps, stamp_of

_REMEMBERED: Final = 100_000
_CHANGES: Final = events.CHANGES - {events.RECEIPT_DELIVERED}
_COUNTED: Final = frozenset[str]().union(*(measure.types | measure.replies for measure in MEASURES))
_DAY_MS: Final = 86_400_000
_DELAY_MS: Final = WATERMARK_DELAY // timedelta(milliseconds=1)


class Cells:
    """Turns events into steps. Remembers which buckets are written and, until `settle`, what many events say alike.

    That is which channels were active, and for which days something came too late to be counted live.
    """

    def __init__(self, touch_seconds: float) -> None:
        self.plan: tuple[BucketEpoch, ...] = DEFAULT_PLAN
        self._touch_seconds = touch_seconds
        self._buckets: dict[tuple[str, str, int], None] = {}
        self._touched: dict[tuple[str, str], float] = {}
        self._active: dict[tuple[str, str], int] = {}
        self._late: dict[tuple[str, int], int] = {}

    def steps(self, event: Event, envelope: bytes, src: str | None, rule: str, now: float) -> Steps | Step:
        """What an accepted event asks for; an empty step when history keeps nothing of its type.

        `now` is in monotonic seconds. Raises `Invalid` for an event that the router did not stamp.
        """
        tenant, received_at = stamp_of(event)
        kind, channel = event.type, event.channel_id or ""
        if received_at - event.time > WATERMARK_DELAY and kind in _COUNTED and not event.historical:
            on = (tenant, to_ms(event.time) // _DAY_MS)
            self._late[on] = max(to_ms(received_at), self._late.get(on, 0))
        if kind == events.MESSAGE_SENT:
            return self._create(tenant, received_at, event, envelope, src, rule, now)
        if kind == events.MESSAGE_BLOCKED:
            return self._block(tenant, received_at, event, envelope, src)
        if kind in _CHANGES:
            in_id = ms_of_id(event.target)
            if in_id is None:
                return self._find_and_change(tenant, received_at, event, envelope, src)
            return self._change(tenant, event, envelope, Place(channel, in_id))
        if kind in (events.CHANNEL_JOINED, events.CHANNEL_LEFT):
            joined = kind == events.CHANNEL_JOINED
            values = (micros(event.time), to_ms(event.time) if joined else None, joined, tenant, event.author, channel)
            return (Row(tables.SET_MEMBERSHIP, values, (tenant, event.author)),)
        if kind == events.CHANNEL_CREATED:
            name = (event.properties or {}).get("name")
            named = (micros(event.time), to_ms(event.time), name if isinstance(name, str) else None, tenant, channel)
            return (Row(tables.NAME_CHANNEL, named, (tenant,)),)
        return ()

    @property
    def unsettled(self) -> bool:
        """Whether `settle` has anything to write."""
        return bool(self._active or self._late)

    def settle(self) -> Step:
        """What was not written at once, to be stored before the offsets that imply it."""
        active, self._active = self._active, {}
        late, self._late = self._late, {}
        return [
            *(_touch(tenant, channel, ms) for (tenant, channel), ms in active.items()),
            *(reviews.dirty(tenant, on * _DAY_MS, ms) for (tenant, on), ms in late.items()),
        ]

    def replan(self) -> Steps:
        """Take the bucket plan as it stands now.

        An entry counts from an hour after it was added, so a plan that is a minute old harms nobody.
        """
        (rows,) = yield (Read(tables.BUCKET_PLAN),)
        self.plan = plan_of((effective_from, width_ms) for effective_from, width_ms in rows)

    def _create(
        self, tenant: str, received_at: datetime, event: Event, envelope: bytes, src: str | None, rule: str, now: float
    ) -> Steps | Step:
        channel, target = event.channel_id or "", event.target
        in_id = ms_of_id(target)
        place = Place(channel, to_ms(event.placed_time) if in_id is None else in_id)
        written = create_write_time(received_at)
        partition = (tenant, channel, bucket_of_ms(place.sent_ms, self.plan))
        # An empty rule is stored: of two copies the first received must win whole, by what it lacks as well.
        values = (written, envelope, src, rule, *partition, place.sent_ms, target)
        rows = [Row(tables.CREATE_MESSAGE, values, partition, ROW_OVERHEAD + len(envelope))]
        key, active_ms = (tenant, channel), to_ms(event.time)
        if now - self._touched.get(key, -self._touch_seconds) >= self._touch_seconds:
            _remember(self._touched, key, now)
            rows.append(_touch(tenant, channel, active_ms))
        elif active_ms > self._active.get(key, active_ms - 1):
            self._active[key] = active_ms
        if in_id is not None and partition in self._buckets and not event.late:
            return rows
        return self._prepare_and_create(partition, rows, place, event, None if in_id is not None else written)

    def _prepare_and_create(
        self, partition: tuple[str, str, int], rows: list[Row], place: Place, event: Event, indexed: int | None
    ) -> Steps:
        """First what must be there before the message, then the message, with the changes that were waiting for it.

        `indexed` is the write time of its index row, None for an id that carries its time. A message shown late may
        have been hidden before it was there: whichever of the two is written last finds the other.
        """
        tenant, channel, _ = partition
        target = event.target
        if partition not in self._buckets:
            yield (Row(tables.ADD_BUCKET, partition, (tenant, channel), shared=True),)
            _remember(self._buckets, partition, None)
        if indexed is not None:
            index = (indexed, channel, place.sent_ms, tenant, target)
            yield (Row(tables.INDEX_MESSAGE, index, (tenant, target)),)
            # Whoever changes this message either finds the index row just confirmed or left a pending row to be read.
            found, pending = yield _find(tenant, target), Read(tables.PENDING, (tenant, target))
            first = _placed(found)
            if first is not None and first != place and (yield from self._stands(tenant, first, target)):
                return  # another copy of this id, received earlier, has the message
            for _, changed, _ in pending:
                raw = changed.encode()
                change = codec.decode(raw)
                rows.extend(self._change(tenant, change, raw, place))
                if change.type == events.MESSAGE_BLOCKED:
                    rows.extend(reviews.taken_out(event, to_ms(change.time)))
        yield rows
        if event.late:
            for *_, blocked_at in (yield from self._read(tenant, place, target)):
                if blocked_at is not None:
                    yield reviews.taken_out(event, _ms(blocked_at))

    def _stands(self, tenant: str, place: Place, target: str) -> Generator[Step, list[Rows], bool]:
        """Whether a message of this id is in history at this place."""
        rows = yield from self._read(tenant, place, target)
        return any(envelope is not None for _, _, envelope, *_ in rows)

    def _read(self, tenant: str, place: Place, target: str) -> Generator[Step, list[Rows], Rows]:
        at = bucket_of_ms(place.sent_ms, self.plan)
        (rows,) = yield (Read(tables.MESSAGE, (tenant, place.channel_id, at, place.sent_ms, target)),)
        return rows

    def _find_and_change(
        self, tenant: str, received_at: datetime, event: Event, envelope: bytes, src: str | None
    ) -> Steps:
        yield from self._changed_where_found(tenant, received_at, event, envelope, src)

    def _changed_where_found(
        self, tenant: str, received_at: datetime, event: Event, envelope: bytes, src: str | None
    ) -> Generator[Step, list[Rows], Place | None]:
        """Change a message whose place only the index knows, or leave the change to be found by its create.

        Returns the place, if it is known by now.
        """
        target = event.target
        (found,) = yield (_find(tenant, target),)
        if not found:
            values = (tenant, target, event.id, envelope, src, create_write_time(received_at))
            yield (Row(tables.ADD_PENDING, values, (tenant, target), ROW_OVERHEAD + len(envelope)),)
            (found,) = yield (_find(tenant, target),)
        place = _placed(found)
        if place is not None:
            yield self._change(tenant, event, envelope, place)
        return place

    def _block(self, tenant: str, received_at: datetime, event: Event, envelope: bytes, src: str | None) -> Steps:
        """Hide a message, then note whose it was and the day it counted in, if it is there."""
        place: Place | None
        in_id = ms_of_id(event.target)
        if in_id is None:
            place = yield from self._changed_where_found(tenant, received_at, event, envelope, src)
        else:
            place = Place(event.channel_id or "", in_id)
            yield self._change(tenant, event, envelope, place)
        if place is not None:
            for _, _, created, *_ in (yield from self._read(tenant, place, event.target)):
                if created:
                    yield reviews.taken_out(codec.decode(created.encode()), to_ms(event.time))

    def _change(self, tenant: str, event: Event, envelope: bytes, place: Place) -> list[Row]:
        partition = (tenant, place.channel_id, bucket_of_ms(place.sent_ms, self.plan))
        cell = (*partition, place.sent_ms, event.target)
        written = micros(event.time)
        match event.type:
            case events.MESSAGE_EDITED:
                size = ROW_OVERHEAD + len(envelope)
                return [Row(tables.EDIT_MESSAGE, (written, envelope, *cell), partition, size)]
            case events.MESSAGE_DELETED:
                deleted_ms = to_ms(event.time)
                delete = Row(tables.DELETE_MESSAGE, (written, deleted_ms, *cell), partition)
                if deleted_ms - place.sent_ms <= _DELAY_MS:
                    return [delete]
                return [delete, reviews.removed(tenant, place.sent_ms, deleted_ms)]
            case events.MESSAGE_BLOCKED:
                block = Row(tables.BLOCK_MESSAGE, (written, to_ms(event.time), *cell), partition)
                return [block, reviews.dirty(tenant, place.sent_ms, to_ms(event.time))]
            case events.RECEIPT_READ:
                mark = (place.sent_ms * 1000, place.sent_ms, event.target, tenant, event.author, place.channel_id)
                return [Row(tables.SET_READ_MARK, mark, (tenant, event.author))]
            case _:
                active = event.type == events.REACTION_ADDED
                values = (written, active, *partition, event.target, event.reaction, event.author)
                return [Row(tables.SET_REACTION, values, partition)]


def _find(tenant: str, target: str) -> Read:
    return Read(tables.FIND_MESSAGE, (tenant, target))


def _placed(found: Rows) -> Place | None:
    for channel_id, sent_at in found:
        if channel_id is not None and sent_at is not None:
            return Place(channel_id, _ms(sent_at))
    return None


def _ms(moment: datetime) -> int:
    return to_ms(moment.replace(tzinfo=UTC))  # the driver's datetimes are naive UTC


def _touch(tenant: str, channel: str, ms: int) -> Row:
    return Row(tables.TOUCH_CHANNEL, (ms * 1000, ms, tenant, channel), (tenant,))


def _remember(memory: dict[Any, Any], key: Any, value: Any) -> None:
    memory.pop(key, None)
    memory[key] = value
    if len(memory) > _REMEMBERED:
        del memory[next(iter(memory))]
