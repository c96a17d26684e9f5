"""The metrics query as functions from DataFrame to DataFrame: records of Kafka to one row a tenant, scope and minute.

    records ─ parsed ─▶ events ─ deduplicated ─▶ events ─ by_minute ─▶ (tenant, scope, start_ms, every measure)

Heartbeats pass the watermark and the deduplication, since they move the watermark, and end there. Columns come from
the metric registry, so a measure is added in one place.
"""

from collections.abc import Callable, Iterable
from functools import reduce
from operator import add, and_, or_
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as fn
from pyspark.sql.types import BooleanType, StringType, StructField, StructType, TimestampType

from infra.contracts.events import HEARTBEAT, MAX_FUTURE
from infra.contracts.metrics import (
    COUNTS,
    DISTINCTS,
    MEASURES,
    SKETCH_LG_K,
    TENANT_SCOPE,
    Measure,
    Metric,
    channel_scope,
    user_scope,
)
from infra.contracts.records import Action
from infra.contracts.windows import MINUTE, WATERMARK_DELAY

#: The counts that users are ranked by; the columns of `window_members`.
RANKED: Final = tuple(m for m in COUNTS if m.name in ("sent", "reactions"))

_EVENT: Final = StructType(
    [
        StructField("id", StringType()),
        StructField("type", StringType()),
        StructField("time", TimestampType()),
        StructField("tenant", StringType()),
        StructField("channel_id", StringType()),
        StructField("user_id", StringType()),
        StructField("anonymous_id", StringType()),
        StructField("message_id", StringType()),
        StructField("thread_id", StringType()),
        StructField("reply_to", StringType()),
        StructField("is_bot", BooleanType()),
    ]
)
#: One schema for both topics: an envelope has the fields of `_EVENT`, a held record `event` and `verdict`.
_RECORD: Final = StructType(
    [
        *_EVENT.fields,
        StructField("event", _EVENT),
        StructField("verdict", StructType([StructField("action", StringType())])),
    ]
)


def parsed(records: DataFrame, held_topic: str) -> DataFrame:
    """The events in records of Kafka: id, type, time, tenant, channel_id, author, is_bot, is_reply, outcome.

    A record that is no event, has no time, or claims a time over an hour after it was appended has a null time: it
    can neither fail the query nor push the watermark, and goes no further than `deduplicated`.
    """
    is_held = fn.col("topic") == held_topic
    record = fn.from_json(fn.col("value").cast("string"), _RECORD)
    outcome = (
        fn.when(~is_held, "events")
        .when(fn.col("record.verdict.action") == Action.HOLD.value, "held")
        .when(fn.col("record.verdict.action") == Action.BLOCK.value, "blocked")
    )
    fields = {
        field.name: fn.when(is_held, fn.col(f"record.event.{field.name}")).otherwise(fn.col(f"record.{field.name}"))
        for field in _EVENT.fields
    }
    heartbeat = fn.col("type") == HEARTBEAT
    valid = reduce(
        and_,
        (
            fn.col("type").isNotNull(),
            fn.col("outcome").isNotNull(),
            heartbeat | (fn.col("tenant").isNotNull() & fn.col("id").isNotNull()),
            fn.col("time") <= fn.col("timestamp") + fn.expr(f"INTERVAL {MAX_FUTURE.seconds} SECONDS"),
        ),
    )
    return (
        records.select("topic", "partition", "offset", "timestamp", record.alias("record"))
        .select(
            "topic",
            "partition",
            "offset",
            "timestamp",
            outcome.alias("outcome"),
            *(column.alias(name) for name, column in fields.items()),
        )
        .select(
            # A heartbeat is its own place, so that no two are taken for copies of one event.
            fn.when(heartbeat, fn.concat_ws("/", "topic", "partition", "offset")).otherwise(fn.col("id")).alias("id"),
            fn.when(heartbeat, "").otherwise(fn.col("tenant")).alias("tenant"),
            "type",
            fn.when(valid, fn.col("time")).alias("time"),
            "channel_id",
            fn.coalesce("user_id", "anonymous_id").alias("author"),
            fn.coalesce("is_bot", fn.lit(False)).alias("is_bot"),
            is_reply(),
            "outcome",
        )
    )


def deduplicated(events: DataFrame) -> DataFrame:
    """Each (tenant, id, outcome) once within the watermark's delay; what lies behind it is dropped and counted.

    The outcome, because an event that is released after it was held is counted as both.
    """
    delay = f"{int(WATERMARK_DELAY.total_seconds())} seconds"
    return (
        events.withWatermark("time", delay)
        # Above the watermark because it names the time; any lower, Spark would parse the JSON once more a condition.
        .where(fn.col("time").isNotNull())
        .dropDuplicatesWithinWatermark(["tenant", "id", "outcome"])
    )


def by_minute(events: DataFrame) -> DataFrame:
    """One row a tenant, scope and minute: `start_ms`, every count and every distinct's sketch.

    Scopes are the tenant, the channel, and the author where the event counts in a ranking.
    """
    scopes = fn.array_compact(
        fn.array(
            fn.lit(TENANT_SCOPE),
            fn.concat(fn.lit(channel_scope("")), fn.col("channel_id")),
            fn.when(counts_in_any(RANKED), fn.concat(fn.lit(user_scope("")), fn.col("author"))),
        )
    )
    # A user's own row says nothing by counting its one author, and an empty sketch is the smallest state.
    author = fn.when(~fn.col("scope").startswith(user_scope("")), fn.col("author"))
    return (
        # The condition stands in the generator and not in a filter: Spark would push a filter below the watermark.
        events.withColumn("scope", fn.explode(fn.when(counts_in_any(MEASURES), scopes)))
        .groupBy("tenant", "scope", fn.window("time", f"{int(MINUTE.width.total_seconds())} seconds").alias("window"))
        .agg(
            *(fn.count(fn.when(counts_in(m), True)).alias(m.name) for m in COUNTS),
            *(fn.hll_sketch_agg(fn.when(counts_in(m), author), SKETCH_LG_K).alias(m.name) for m in DISTINCTS),
        )
        .select(
            "tenant",
            "scope",
            fn.unix_millis(fn.col("window.start")).alias("start_ms"),
            *(m.name for m in MEASURES),
        )
    )


def is_reply() -> Column:
    """`is_reply`: see `events.Event.is_reply`. Never null."""
    within = fn.col("thread_id") != fn.coalesce("message_id", "id")
    return (fn.col("reply_to").isNotNull() | fn.coalesce(within, fn.lit(False))).alias("is_reply")


def counts_in(measure: Measure) -> Column:
    """Whether an event counts in this measure. Never null."""
    counted = fn.col("type").isin(sorted(measure.types))
    if measure.replies:
        counted |= fn.col("type").isin(sorted(measure.replies)) & fn.col("is_reply")
    return reduce(and_, (~fn.col("is_bot"), fn.col("outcome") == measure.outcome, counted))


def counts_in_any(measures: Iterable[Measure]) -> Column:
    """Whether an event counts in one of these measures. Never null."""
    return reduce(or_, map(counts_in, measures))


def value_of(metric: Metric, columns: Callable[[str], Column] = fn.col) -> Column:
    """A metric from the measures of one window, given each one's column. Null where there is nothing to divide by."""
    of, *per = (reduce(add, map(columns, part.measures)) for part in metric.parts)
    return of / fn.nullif(per[0], fn.lit(0)) if per else of
