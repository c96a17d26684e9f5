"""Sends events from any thread through one background thread; none is lost without `on_drop` being told.

Events are sent in the order they were given, one request at a time, and again with the same ids until ingest has
answered for each. What does not fit in memory waits in the disk spool, behind everything older.
"""

import dataclasses
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx
import msgspec
import structlog

from infra.contracts.events import MAX_BATCH_BYTES, MAX_BATCH_EVENTS, MAX_EVENT_BYTES, Event, to_ms, truncate_ms
from infra.runtime.clock import Clock, SystemClock
from ingest.client.backoff import Backoff
from ingest.client.ids import MonotonicIds
from ingest.client.outcomes import Drop, Outcome, Stats
from ingest.client.spool import Entry, Spool
from ingest.client.wire import Answer, Wire

log = structlog.get_logger("hubbub.client")

#: Room left in a batch for what surrounds its events.
_ENVELOPE_BYTES: Final = 1_024

OnDrop = Callable[[dict[str, Any], Drop], None]
OnResult = Callable[[str, Outcome], None]


@dataclass(slots=True)
class _Pending:
    id: str
    raw: bytes
    since: float
    entry: Entry | None = None
    attempted: bool = False


class Client:
    """A connection to one ingest with one key. Thread safe. Close it, or use it as a context manager.

    `on_drop(event, drop)` is told about each event given up, `on_result(id, outcome)` about each that is settled; both
    run on the background thread or, for what never enters the queue, in `send`.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        spool_dir: Path | None = None,
        spool_bytes: int = 64 * 1024 * 1024,
        batch_events: int = 500,
        batch_bytes: int = MAX_BATCH_BYTES - _ENVELOPE_BYTES,
        flush_interval: float = 0.2,
        max_queue_events: int = 10_000,
        on_drop: OnDrop | None = None,
        on_result: OnResult | None = None,
        historical: bool = False,
        timeout: float = 15.0,
        backoff: Backoff | None = None,
        clock: Clock | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._wire = Wire(url, key, clock=self._clock, historical=historical, timeout=timeout, transport=transport)
        self._batch_events = min(batch_events, MAX_BATCH_EVENTS)
        self._batch_bytes = min(batch_bytes, MAX_BATCH_BYTES - _ENVELOPE_BYTES)
        self._flush_interval = flush_interval
        self._max_queue_events = max_queue_events
        self._on_drop = on_drop
        self._on_result = on_result
        self._timeout = timeout
        self._backoff = backoff or Backoff()
        self._ids = MonotonicIds()
        self._encoder = msgspec.json.Encoder()
        self._changed = threading.Condition()
        self._queue = deque[_Pending]()
        self._again = deque[_Pending]()
        self._in_flight: list[_Pending] = []
        self._attempt = 0
        self._not_before = 0.0
        self._flushing = 0
        self._closed = False
        self._stopping = False
        self._stats = Stats()
        self._spool = Spool(spool_dir, max_bytes=spool_bytes) if spool_dir is not None else None
        self._thread = threading.Thread(target=self._run, name="hubbub-client", daemon=True)
        self._thread.start()

    def send(self, event: Mapping[str, Any] | Event) -> str:
        """Queue an event and return its id; never blocks on the network.

        An event without `id` gets a UUIDv7 that carries its `time`, one without `time` happens now. Raises `TypeError`
        for what JSON cannot hold and `RuntimeError` after `close`.
        """
        if isinstance(event, Event):
            identifier, raw = event.id, self._encoder.encode(event)
        else:
            fields = {name: value for name, value in event.items() if value is not None}
            identifier = self._complete(fields)
            raw = self._encoder.encode(fields)
        pending = _Pending(identifier, raw, self._clock.monotonic())
        drop = None
        if len(raw) > MAX_EVENT_BYTES:
            drop = Drop(code="too_large", message=f"the event is longer than {MAX_EVENT_BYTES} bytes")
        else:
            with self._changed:
                if self._closed:
                    raise RuntimeError("the client is closed")
                drop = self._enqueue(pending)
                self._changed.notify_all()
        if drop is not None:
            self._give_up(pending, drop)
        return identifier

    def flush(self, timeout: float) -> bool:
        """Send what waits without delay; True once every event so far is settled, False when time ran out."""
        deadline = self._clock.monotonic() + timeout
        with self._changed:
            self._flushing += 1
            self._changed.notify_all()
            try:
                while not self._idle():
                    left = deadline - self._clock.monotonic()
                    if left <= 0:
                        return False
                    self._changed.wait(left)
                return True
            finally:
                self._flushing -= 1

    def close(self, timeout: float = 10.0) -> bool:
        """Flush, then stop. What is left goes to the spool, else to `on_drop`. True if nothing was left.

        A request in flight at the deadline is waited for, at most as long as a request may take.
        """
        with self._changed:
            if self._closed:
                return True
            self._closed = True
        done = self.flush(timeout)
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(self._timeout * 2)
        self._put_away()
        self._wire.close()
        return done

    @property
    def stats(self) -> Stats:
        """The counters now."""
        with self._changed:
            queued = len(self._queue) + len(self._again) + len(self._in_flight)
            spooled = self._spool.waiting if self._spool else 0
            return dataclasses.replace(self._stats, queued=queued, spooled=spooled)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _complete(self, fields: dict[str, Any]) -> str:
        time = fields.get("time")
        if time is None:
            now = truncate_ms(self._clock.now())
            fields["time"] = now.isoformat(timespec="milliseconds")
        if not fields.get("id"):
            moment = _moment(time)
            if moment is None:
                fields["id"] = self._ids.now(to_ms(truncate_ms(self._clock.now())) if time is not None else to_ms(now))
            else:
                fields["id"] = self._ids.at(to_ms(truncate_ms(moment)))
        return str(fields["id"])

    def _enqueue(self, pending: _Pending) -> Drop | None:
        if self._spool is None:
            if len(self._queue) >= self._max_queue_events:
                return Drop(code="queue_full", message="more events wait than may")
        elif self._spool.waiting or len(self._queue) >= self._max_queue_events:
            try:
                kept = self._spool.append(pending.raw)
            except OSError as error:
                return Drop(code="spool_failed", message=str(error))
            return None if kept else Drop(code="spool_full", message="the disk spool is full")
        self._queue.append(pending)
        return None

    def _run(self) -> None:
        while (batch := self._next_batch()) is not None:
            if batch:
                self._settle(batch, self._wire.post([pending.raw for pending in batch]))

    def _next_batch(self) -> list[_Pending] | None:
        with self._changed:
            while not self._stopping:
                wait = self._seconds_to_batch()
                if wait is None or wait > 0:
                    self._changed.wait(wait)
                    continue
                batch = self._gather()
                self._in_flight = batch
                attempted = sum(pending.attempted for pending in batch)
                self._count(sent=len(batch), retried=attempted)
                for pending in batch:
                    pending.attempted = True
                return batch
            return None

    def _seconds_to_batch(self) -> float | None:
        """Seconds until a batch is due; 0 when it is, None when there is nothing to send."""
        now = self._clock.monotonic()
        if now < self._not_before:
            return self._not_before - now
        if self._again or (self._spool and self._spool.waiting) or len(self._queue) >= self._batch_events:
            return 0
        if not self._queue:
            return None
        return 0 if self._flushing else max(0.0, self._queue[0].since + self._flush_interval - now)

    def _gather(self) -> list[_Pending]:
        batch: list[_Pending] = []
        size = 0
        for source in (self._again, self._queue):
            while source and len(batch) < self._batch_events:
                if batch and size + len(source[0].raw) + 1 > self._batch_bytes:
                    return batch
                size += len(source[0].raw) + 1
                batch.append(source.popleft())
        if self._spool and not batch and self._spool.waiting:
            try:
                entries = self._spool.take(self._batch_events, self._batch_bytes)
            except OSError as error:
                log.error("client.spool_unreadable", error=str(error))
                self._delay(None)
                return []
            batch.extend(_Pending(entry.id, entry.raw, 0.0, entry) for entry in entries)
        return batch

    def _settle(self, batch: list[_Pending], answer: Answer) -> None:
        with self._changed:
            if self._in_flight is not batch:
                return  # closed meanwhile: these events are put away or given up already
        whole = answer.refused_all
        if answer.status == httpx.codes.REQUEST_ENTITY_TOO_LARGE and len(batch) > 1:
            # The limit over there is lower than ours: smaller batches from now on.
            answer.retry = set(range(len(batch))) - answer.refused.keys()
            self._batch_events = max(1, len(batch) // 2)
        again: list[_Pending] = []
        for index, pending in enumerate(batch):
            if index in answer.retry:
                again.append(pending)
                continue
            drop = answer.refused.get(index) or whole
            if drop is None:
                self._tell(pending.id, Outcome.STORED)
            else:
                self._give_up(pending, drop)
        with self._changed:
            self._count(accepted=answer.accepted, duplicates=answer.duplicates)
            if self._spool:
                kept = {id(pending) for pending in again}
                for pending in batch:
                    if pending.entry is not None and id(pending) not in kept:
                        self._spool.done(pending.entry)
            self._again.extendleft(reversed(again))
            self._in_flight = []
            if len(again) < len(batch):
                self._attempt = 0
            if again:
                self._delay(answer.retry_after)
            self._changed.notify_all()

    def _delay(self, retry_after: float | None) -> None:
        self._attempt += 1
        self._not_before = self._clock.monotonic() + self._backoff.delay(self._attempt, retry_after)

    def _idle(self) -> bool:
        waiting = self._queue or self._again or self._in_flight
        return not waiting and (self._spool is None or not self._spool.waiting)

    def _put_away(self) -> None:
        """What is neither answered for nor on disk goes to disk, before everything younger, or is given up."""
        with self._changed:
            left = [p for p in (*self._in_flight, *self._again, *self._queue) if p.entry is None]
            self._queue.clear()
            self._again.clear()
            self._in_flight = []
            if self._spool:
                try:
                    if self._spool.prepend([pending.raw for pending in left]):
                        left = []
                    self._spool.close()
                except OSError as error:
                    log.error("client.spool_failed", error=str(error))
        for pending in left:
            self._give_up(
                pending, Drop(code="closed", message="the client was closed before ingest answered"),
                Outcome.UNKNOWN if pending.attempted else Outcome.REFUSED,
            )  # fmt: skip

    def _give_up(self, pending: _Pending, drop: Drop, outcome: Outcome = Outcome.REFUSED) -> None:
        with self._changed:
            self._count(dropped=1)
        if self._on_drop is None:
            log.warning("client.dropped", id=pending.id, code=drop.code, field=drop.field)
        else:
            try:
                self._on_drop(msgspec.json.decode(pending.raw), drop)
            except Exception:
                # The caller's error must not end the thread that serves every other event.
                log.exception("client.on_drop_failed", id=pending.id)
        self._tell(pending.id, outcome)

    def _tell(self, identifier: str, outcome: Outcome) -> None:
        if self._on_result is not None:
            try:
                self._on_result(identifier, outcome)
            except Exception:
                log.exception("client.on_result_failed", id=identifier)

    def _count(self, **more: int) -> None:
        self._stats = dataclasses.replace(
            self._stats, **{name: getattr(self._stats, name) + count for name, count in more.items()}
        )


def _moment(time: object) -> datetime | None:
    """The moment an event says it happened, unless it is missing or unreadable: then ingest says what is wrong."""
    try:
        moment = msgspec.convert(time, datetime)
    except msgspec.ValidationError:
        return None
    return moment if moment.tzinfo is not None and moment.timestamp() >= 0 else None
