"""The running metrics query: started, followed by its progress, and ended without leaving a batch half stored."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from analytics.engagement import by_minute, deduplicated, parsed
from infra.contracts.tables import METRICS_QUERY

Offsets = dict[str, dict[str, int]]
#: Only a batch that ran took time for this.
_ADDED: Final = "addBatch"
_NEVER: Final = "1970-01-01T00:00:00.000Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What Spark reports of one finished batch.

    `watermark` is the one the batch was computed under. The next batch may still take events later than it, so only
    windows that end by it are final once this batch is stored. `offsets` are the next to be read, `ends` where the
    topics ended then: None for a batch that was begun by an earlier run.
    """

    batch_id: int
    watermark: datetime | None
    offsets: Offsets
    ends: Offsets | None
    late: int
    duplicates: int
    seconds: float


class Reports:
    """A query's finished batches, each reported once, oldest first.

    They are asked for: a `StreamingQueryListener` in Python takes every report apart in some hundred calls between
    the processes, which cost a sixth of all that Spark did at 500 events a second.
    """

    def __init__(self, query: StreamingQuery) -> None:
        self._query = query
        self._last: int | None = None
        self._seen: str | None = None

    def take(self) -> list[Batch]:
        """The batches finished since the last call."""
        latest = self._query.lastProgress
        if latest is None or latest["timestamp"] == self._seen:
            return []
        follows = self._last is not None and latest["batchId"] == self._last + 1
        batches = [
            batch_of(msgspec.json.decode(progress.json))
            for progress in ([latest] if follows else self._query.recentProgress)
            # A trigger that found nothing to do reports the batch it would have been.
            if _ADDED in progress["durationMs"] and (self._last is None or progress["batchId"] > self._last)
        ]
        self._seen = latest["timestamp"]
        if batches:
            self._last = batches[-1].batch_id
        return batches


def batch_of(progress: dict[str, Any]) -> Batch:
    """A report of Spark's in our words."""
    (source,) = progress["sources"]
    watermark = datetime.fromisoformat(progress.get("eventTime", {}).get("watermark", _NEVER))
    operators = progress["stateOperators"]
    return Batch(
        batch_id=progress["batchId"],
        watermark=None if watermark.year == 1970 else watermark,  # none yet, in Spark's words
        offsets=source["endOffset"],
        ends=source["latestOffset"],
        # Counted where it is dropped first, in the deduplication: what passed there is not late further on.
        late=sum(o["numRowsDroppedByWatermark"] for o in operators if "dedupe" in o["operatorName"]),
        duplicates=sum(o["customMetrics"].get("numDroppedDuplicateRows", 0) for o in operators),
        seconds=progress["durationMs"].get("triggerExecution", 0) / 1000,
    )


def start_query(
    spark: SparkSession,
    *,
    options: dict[str, str],
    held_topic: str,
    write: Callable[[DataFrame, int], None],
    folder: Path,
    read_tasks: int,
) -> StreamingQuery:
    """Start the query, continuing at what `folder` says was done."""
    # Each task costs more than reading a partition's share of a small batch; Spark would start one a partition.
    records = spark.readStream.format("kafka").options(**options).load().coalesce(read_tasks)
    return (
        by_minute(deduplicated(parsed(records, held_topic)))
        .writeStream.queryName(METRICS_QUERY)
        .outputMode("update")
        .foreachBatch(write)
        .option("checkpointLocation", str(folder))
        .start()
    )
