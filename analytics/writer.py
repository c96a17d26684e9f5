"""Stores what each micro-batch counted, and publishes it. Runs in the driver, called by Spark once a batch.

Values are absolute and each window is only ever raised, so a batch that is repeated after a crash changes nothing
that was already stored.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import structlog
from pyspark.sql import DataFrame

from analytics.ladder import Change, Ladder, Minute
from analytics.persistence import Stopping
from analytics.rollups import Values, counted, to_columns
from analytics.store import Store
from analytics.tallies import Tallies, Tally, UserMinute
from infra.contracts.events import from_ms
from infra.contracts.metrics import COUNTS, DISTINCTS, MEASURES, TENANT_SCOPE, user_scope
from infra.contracts.records import Point
from infra.contracts.tables import MEASURE_COLUMNS
from infra.contracts.windows import MINUTE
from infra.runtime.clock import Clock
from infra.runtime.telemetry import WINDOW_ROWS

log = structlog.get_logger("hubbub.analytics")

_USER: Final = user_scope("")
_ERROR_CHARS: Final = 1_500
_NAMES: Final = frozenset(m.name for m in MEASURES)


class BatchFailed(Exception):
    """A batch was not stored. The query ends, and takes it again when it is started anew."""


class Writer:
    """One batch at a time. `publish` gets every changed minute of a tenant; it must not block."""

    def __init__(
        self,
        store: Store,
        publish: Callable[[Point], None],
        clock: Clock,
        *,
        stopping: threading.Event,
        first_day: datetime | None,
        cached_rows: int,
    ) -> None:
        self._store = store
        self._publish = publish
        self._clock = clock
        self._stopping = stopping
        self._first_day = first_day
        self._ladder = Ladder(store.families, cached_rows)
        self._tallies = Tallies(store.boards, cached_rows)
        self._writing = threading.Lock()
        self.watermark: datetime | None = None
        """What published points say; set by whoever follows the query's progress."""

    def write(self, batch: DataFrame, batch_id: int) -> None:
        """Store one batch. Raises when it is not stored whole, which fails the query before it commits the batch."""
        try:
            self._write(batch, batch_id)
        except Exception as error:
            # Spark matches the whole traceback it is given against a pattern that overflows its stack on a long one.
            raise BatchFailed(f"{type(error).__name__}: {str(error)[:_ERROR_CHARS]}") from None

    def _write(self, batch: DataFrame, batch_id: int) -> None:
        began = self._clock.monotonic()
        rows = [row.asDict() for row in batch.collect()]
        counted_at = self._clock.monotonic()
        with self._writing:
            if self._stopping.is_set():
                raise Stopping
            self.take(rows)
        log.debug(
            "batch.stored",
            batch_id=batch_id,
            rows=len(rows),
            count_seconds=round(counted_at - began, 3),
            store_seconds=round(self._clock.monotonic() - counted_at, 3),
        )

    def take(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Store rows as `engagement.by_minute` makes them."""
        minutes, users = split(rows, self._first_day)
        try:
            changes = self._ladder.climb(minutes)
            scores = self._tallies.climb(users)
            now = self._clock.now()
            self._store.write(changes, scores, now)
        except BaseException:
            self._ladder.forget()
            self._tallies.forget()
            raise
        for change in changes:
            WINDOW_ROWS.labels(change.grain.name).inc()
            if change.grain is MINUTE and change.scope == TENANT_SCOPE:
                self._publish(point(change, now, self.watermark))

    def settle(self) -> None:
        """Wait until the batch being stored is stored; with `stopping` set, none follows."""
        with self._writing:
            return


def split(
    rows: Iterable[Mapping[str, Any]], first_day: datetime | None
) -> tuple[dict[Minute, Values], dict[UserMinute, Tally]]:
    """Rows of Spark as minutes of tenants and channels, and minutes of users, without those before `first_day`."""
    minutes: dict[Minute, Values] = {}
    users: dict[UserMinute, Tally] = {}
    for row in rows:
        tenant, scope, start = row["tenant"], row["scope"], from_ms(row["start_ms"])
        if first_day is not None and start < first_day:
            continue
        if scope.startswith(_USER):
            users[tenant, scope.removeprefix(_USER), start] = (row["sent"], row["reactions"])
        else:
            minutes[tenant, scope, start] = counted([row[m.name] for m in COUNTS], [row[m.name] for m in DISTINCTS])
    return minutes, users


def point(change: Change, now: datetime, watermark: datetime | None) -> Point:
    """A stored window as it is published."""
    columns = zip(MEASURE_COLUMNS, to_columns(change.stored.values), strict=True)
    return Point(
        tenant=change.tenant,
        scope=change.scope,
        grain=change.grain.name,
        start=change.start,
        end=change.grain.end(change.start),
        values={name: value for name, value in columns if name in _NAMES},
        revision=change.stored.revision,
        as_of=now,
        watermark=watermark,
    )
