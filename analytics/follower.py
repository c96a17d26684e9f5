"""Follows the query's reports: stores how far it has come, once its windows are stored, and shows it as metrics."""

from datetime import UTC, datetime

import msgspec

from analytics.query import Batch
from analytics.source import lag
from analytics.store import Store
from infra.contracts.tables import METRICS_QUERY
from infra.runtime.clock import Clock
from infra.runtime.telemetry import LAG, LATE, TRIGGER_SECONDS, WATERMARK_SECONDS


class Follower:
    """Takes each batch's report after the batch was stored, so nothing it says is ahead of the windows.

    Late events and duplicates are counted over the life of the query; those of a batch whose report was lost in a
    crash are missing from the counts.
    """

    def __init__(self, store: Store, clock: Clock, first_day: datetime | None) -> None:
        self._store = store
        self._clock = clock
        self._first_day = first_day
        stored = store.progress(METRICS_QUERY)
        self._late, self._duplicates = (stored[4] or 0, stored[5] or 0) if stored else (0, 0)
        self.watermark = stored[1].replace(tzinfo=UTC) if stored and stored[1] else None
        self.batch_id: int | None = None
        self.lag: int | None = None

    def take(self, batch: Batch) -> None:
        """Store and show the progress a finished batch made."""
        now = self._clock.now()
        self._late += batch.late
        self._duplicates += batch.duplicates
        self.batch_id, self.watermark = batch.batch_id, batch.watermark
        self.lag = None if batch.ends is None else lag(batch.ends, batch.offsets)
        self._store.put_progress(
            METRICS_QUERY,
            batch.batch_id,
            batch.watermark,
            msgspec.json.encode(batch.offsets).decode(),
            self._first_day,
            self._late,
            self._duplicates,
            now,
        )
        LATE.inc(batch.late)
        TRIGGER_SECONDS.observe(batch.seconds)
        if batch.watermark is not None:
            WATERMARK_SECONDS.set((now - batch.watermark).total_seconds())
        for topic, partitions in (batch.ends or {}).items():
            for partition, end in partitions.items():
                LAG.labels(topic, partition).set(max(0, end - batch.offsets.get(topic, {}).get(partition, 0)))
