"""What the archive says of a day, as functions from DataFrame to DataFrame: every report counts from these.

archive ─ happened ─▶ events of the day, each once ─ by_person ─▶ one row a channel, person and step
        ─ by_section ─▶ one row for the total, and for each channel, person and step
"""

from collections.abc import Mapping
from datetime import timedelta
from functools import reduce
from operator import or_
from typing import Final

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as fn

from analytics.engagement import is_reply
from analytics.reports.spans import Span
from infra.contracts.archive import EVENTS, FIRST, HELD, SRC, ArchiveTable
from infra.contracts.events import MESSAGE_BLOCKED, MESSAGE_DELETED, MESSAGE_EDITED, MESSAGE_SENT, OWN_TYPES
from infra.contracts.records import Action

#: Types that take a message away: somebody deletes it, or a moderator blocks it.
REMOVALS: Final = frozenset({MESSAGE_BLOCKED, MESSAGE_DELETED})
#: Copies of one event may carry different corrected times, and so stand in different days: as a rule beside each other.
#: If the client's clock was far off at its first try and was set since, they may be further apart, and then both count.
APART: Final = timedelta(days=1)
_KEPT: Final = (
    *("tenant", "id", "type", "time", "channel_id", "thread_id", "message_id", "reply_to", "properties"),
    *("is_bot", "historical", "late", "anonymous_id", "context"),
)

TOTAL: Final = "total"
CHANNEL: Final = "channel"
PERSON: Final = "person"
STEP: Final = "step"


def happened(tables: Mapping[str, DataFrame], span: Span) -> DataFrame:
    """The events and held events that the span reads: the columns above, author, outcome, step and what removed them.

    `is_reply` says whether it answers a message, `rule` is `id@version` of what stopped an event, else of all that
    masked it, with commas.

    Of several copies the first received counts, with its time. A step is an hour of
    the span, or a day of one that has several, by its number. A message
    is `removed` when anything in the archive deletes or blocks it, however much later, `taken_down` if it was blocked,
    and `deleted_at` is when it was first deleted. What Hubbub itself writes to the log is nobody's doing and left out.
    """
    rows = _of_day(tables[EVENTS.name], EVENTS, span, fn.lit("events"), fn.col("rule"))
    if HELD.name in tables:
        held = fn.when(fn.col("action") == Action.HOLD.value, "held").when(
            fn.col("action") == Action.BLOCK.value, "blocked"
        )
        rule = fn.concat_ws("@", "rule", "rule_version")
        rows = rows.unionByName(_of_day(tables[HELD.name], HELD, span, held, rule))
    removed = _removed(tables[EVENTS.name], span)
    return (
        rows.withColumn("target", fn.coalesce("message_id", "id"))
        .join(removed, ["tenant", "target"], "left")
        .withColumns({name: fn.coalesce(name, fn.lit(False)) for name in ("removed", "taken_down")})
        .withColumn("step", step(fn.col("time"), span))
    )


def moderated(events: DataFrame) -> DataFrame:
    """What `happened`, with the moderators' last word: what they took down was blocked, and so were its edits."""
    gone = fn.col("taken_down") & (fn.col("outcome") == "events") & fn.col("type").isin(MESSAGE_SENT, MESSAGE_EDITED)
    return events.withColumn("outcome", fn.when(gone, "blocked").otherwise(fn.col("outcome")))


def by_person(events: DataFrame, counts: Mapping[str, Column], flags: Mapping[str, Column]) -> DataFrame:
    """One row a tenant, channel, author and step: a number for each of `counts`, whether ever for each of `flags`."""
    return events.groupBy("tenant", "channel_id", "author", "step").agg(
        *(fn.count(fn.when(condition, True)).alias(name) for name, condition in counts.items()),
        *(fn.max(fn.coalesce(condition, fn.lit(False))).alias(name) for name, condition in flags.items()),
    )


def by_section(
    people: DataFrame, counts: Mapping[str, Column], flags: Mapping[str, Column], ranked: tuple[str, ...] = ()
) -> DataFrame:
    """(tenant, section, key): the counts added up, and for each flag how many different authors have it.

    Sections are the total, each channel, each step, and each person who has one of the `ranked` counts.
    """
    ranks = reduce(or_, (fn.col(name) > 0 for name in ranked), fn.lit(False))
    places = fn.array_compact(
        fn.array(
            place(TOTAL, fn.lit("")),
            fn.when(fn.col("channel_id").isNotNull(), place(CHANNEL, fn.col("channel_id"))),
            place(STEP, fn.col("step").cast("string")),
            fn.when(ranks, place(PERSON, fn.col("author"))),
        )
    )
    return (
        people.withColumn("place", fn.explode(places))
        .groupBy("tenant", "place.section", "place.key")
        .agg(
            *(fn.sum(name).alias(name) for name in counts),
            *(fn.count_distinct(fn.when(fn.col(name), fn.col("author"))).alias(name) for name in flags),
        )
    )


def step(moment: Column, span: Span) -> Column:
    """The number of the step that a moment lies in, less than 0 before the span."""
    if span.count > 1:
        return fn.date_diff(fn.to_date(fn.from_utc_timestamp(moment, span.zone.key)), fn.lit(span.day))
    start = fn.lit(int(span.start.timestamp()) * 1_000_000)
    return fn.floor((fn.unix_micros(moment) - start) / 3_600_000_000).cast("int")


def place(section: str | Column, key: Column) -> Column:
    """Where a row belongs: a section of the report, and what it is about there."""
    return fn.struct(fn.lit(section).alias("section"), key.alias("key"))


def _of_day(rows: DataFrame, table: ArchiveTable, span: Span, outcome: Column, rule: Column) -> DataFrame:
    first, last = span.utc_days
    order = Window.partitionBy(*table.identity).orderBy(*(fn.col(name).asc_nulls_last() for name in FIRST))
    return (
        rows.where(fn.col("day").between(fn.lit(first - APART), fn.lit(last + APART)))
        .select(
            *_KEPT,
            is_reply(),
            fn.coalesce("user_id", "anonymous_id").alias("author"),
            outcome.alias("outcome"),
            rule.alias("rule"),
            *FIRST,
        )
        .withColumn("copy", fn.row_number().over(order))
        .where(~fn.col("type").isin(sorted(OWN_TYPES)))
        .where((fn.col("copy") == 1) & (fn.col("time") >= fn.lit(span.since)) & (fn.col("time") < fn.lit(span.until)))
        .withColumns({name: fn.coalesce(name, fn.lit(False)) for name in ("is_bot", "historical", "late")})
        .drop("copy", *(column.name for column in SRC))
    )


def _removed(events: DataFrame, span: Span) -> DataFrame:
    since = span.utc_days[0] - APART
    return (
        events.where((fn.col("day") >= fn.lit(since)) & fn.col("type").isin(sorted(REMOVALS)))
        .groupBy("tenant", fn.col("message_id").alias("target"))
        .agg(
            fn.lit(True).alias("removed"),
            fn.max(fn.col("type") == MESSAGE_BLOCKED).alias("taken_down"),
            fn.min(fn.when(fn.col("type") == MESSAGE_DELETED, fn.col("time"))).alias("deleted_at"),
        )
    )
