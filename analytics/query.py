"""The running metrics query: started, followed by its progress, and ended without leaving a batch half stored."""

import queue
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.listener import (
    QueryIdleEvent,
    QueryProgressEvent,
    QueryStartedEvent,
    QueryTerminatedEvent,
    StreamingQueryListener,
)
from pyspark.sql.streaming.query import StreamingQuery

from analytics.engagement import by_minute, deduplicated, parsed
from infra.contracts.tables import METRICS_QUERY

Offsets = dict[str, dict[str, int]]
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


class Reports(StreamingQueryListener):
    """Hands each report of Spark's over to `queue`; None stands for an idle query. Spark's thread must not wait."""

    def __init__(self) -> None:
        self.queue: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()

    def onQueryStarted(self, event: QueryStartedEvent) -> None:  # noqa: N802 - Spark names it
        """Nothing was done yet."""

    def onQueryProgress(self, event: QueryProgressEvent) -> None:  # noqa: N802 - Spark names it
        self.queue.put(batch_of(msgspec.json.decode(event.progress.json)))

    def onQueryIdle(self, event: QueryIdleEvent) -> None:  # noqa: N802 - Spark names it
        self.queue.put(None)

    def onQueryTerminated(self, event: QueryTerminatedEvent) -> None:  # noqa: N802 - Spark names it
        """The role notices by itself, and knows why."""


def batch_of(progress: dict[str, Any]) -> Batch:
    """A report of Spark's in our words."""
    (source,) = progress["sources"]
    watermark = datetime.fromisoformat(progress["eventTime"].get("watermark", _NEVER))
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
) -> StreamingQuery:
    """Start the query, continuing at what `folder` says was done."""
    records = spark.readStream.format("kafka").options(**options).load()
    return (
        by_minute(deduplicated(parsed(records, held_topic)))
        .writeStream.queryName(METRICS_QUERY)
        .outputMode("update")
        .foreachBatch(write)
        .option("checkpointLocation", str(folder))
        .start()
    )
