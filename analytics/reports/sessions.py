"""`sessions`: how often people came that day, how long they stayed, and how much of it they did something.

    events of a device ─ island ─▶ stretches without an idle gap ─ told apart by the client's ids, where those can be
    believed ─ cut every 24 hours ─▶ one row a session

The limits are those of `analytics.stays`.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from pyspark.sql import Column, DataFrame, Window, WindowSpec
from pyspark.sql import functions as fn

from analytics.reports import facts
from analytics.reports.report import Report, Shape
from analytics.reports.shares import percentile
from analytics.reports.spans import Span
from analytics.stays import ENGAGED, IDLE, LONGEST
from infra.contracts import reports
from infra.contracts.archive import EVENTS
from infra.contracts.events import RECEIPT_DELIVERED

#: A stretch that began before this is cut as if it began here: nobody is awake for so long.
_BEFORE: Final = 3 * LONGEST
_MICROSECOND: Final = timedelta(microseconds=1)
_SECOND: Final = timedelta(seconds=1) // _MICROSECOND
#: The section with a row for each length below, in hours and minutes, by the seconds it ends before.
_LENGTH: Final = "length"
_LENGTHS: Final = {
    "00:00 to 00:01": 60,
    "00:01 to 00:05": 300,
    "00:05 to 00:15": 900,
    "00:15 to 00:30": 1_800,
    "00:30 to 01:00": 3_600,
    "01:00 to 03:00": 10_800,
    "03:00 to 08:00": 28_800,
    "08:00 to 24:00": 86_400,
}
_RULE: Final = (
    f"A session is what one person does on one device without an idle gap of more than {IDLE.seconds // 60} minutes; "
    f"a longer stretch is cut every {LONGEST // timedelta(hours=1)} hours after its beginning. The device is what "
    "`context.device` names, by its `id` if it has one, else the anonymous id; events that name neither are of one "
    "unnamed device. Where one `context.session_id` follows another, a new session begins, if both can be believed: "
    "all events of such an id are one stretch of one person on one device, with no idle gap and no other id in "
    f"between, as far as from {_BEFORE.days} days before the day to one after it. A session counts as a whole on the "
    "day it began; the report is final a day later. Engaged time is the time between events of a session, of each gap "
    f"{ENGAGED.seconds // 60} minutes at most; a person on two devices at once is engaged on both, and twice. Every "
    "event by a person counts but what was held, blocked or taken down and `receipt.delivered`, which devices send by "
    "themselves; what was deleted was done."
    "\n\nAn example: events at 12:00, 12:04, 12:31 and 13:10 are two sessions, one "
    "of 31 minutes with 4 + 5 = 9 engaged, and one of a single event, without length."
)

COLUMNS: Final = (
    reports.Column(name="sessions", label="Sessions", meaning="sessions that began in the period", unit="sessions"),
    reports.Column(name="people", label="People", meaning="distinct people who began one", unit="people"),
    reports.Column(
        name="sessions_per_person",
        label="Sessions per person",
        meaning="sessions, divided by the people who began them",
        unit="sessions",
        optional=True,
    ),
    reports.Column(
        name="median",
        label="Median length",
        meaning="half of the sessions were no longer, from the first event to the last",
        unit="seconds",
        optional=True,
    ),
    reports.Column(
        name="p90",
        label="90 % length",
        meaning="90% of the sessions were no longer",
        unit="seconds",
        optional=True,
    ),
    reports.Column(
        name="engaged",
        label="Engaged",
        meaning="engaged time of all sessions, added up",
        unit="seconds",
    ),
    reports.Column(
        name="engaged_per_person",
        label="Engaged per person",
        meaning="half of the people were engaged no longer in all their sessions of the day",
        unit="seconds",
        optional=True,
    ),
)


def sessions(tables: Mapping[str, DataFrame], span: Span, as_of: datetime) -> DataFrame:
    """(tenant, section, key) and `COLUMNS`, of the sessions that began on the day."""
    began = fn.timestamp_micros("began")
    seconds = (fn.col("ended") - fn.col("began")) / _SECOND
    length = fn.lit(None).cast("string")
    for name, end in reversed(_LENGTHS.items()):
        length = fn.when(seconds < end, name).otherwise(length)
    places = fn.array(
        facts.place(facts.TOTAL, fn.lit("")),
        facts.place(facts.STEP, facts.step(began, span).cast("string")),
        facts.place(facts.PERSON, fn.col("author")),
        facts.place(_LENGTH, length),
    )
    whole, person = fn.col("section") == facts.TOTAL, fn.col("section") == facts.PERSON
    of_one = fn.percentile(fn.when(person, fn.col("engaged")), 0.5).over(Window.partitionBy("tenant"))
    return (
        _stays(_seen(tables, span))
        .where((began >= fn.lit(span.start)) & (began < fn.lit(span.end)))
        .select("tenant", "author", "engaged", seconds.alias("seconds"), fn.explode(places).alias("place"))
        .groupBy("tenant", "place.section", "place.key")
        .agg(
            fn.count("*").alias("sessions"),
            fn.count_distinct("author").alias("people"),
            percentile("seconds", 0.5).alias("median"),
            percentile("seconds", 0.9).alias("p90"),
            fn.round(fn.sum("engaged") / _SECOND, 1).alias("engaged"),
        )
        .withColumn("engaged_per_person", fn.when(whole, fn.round(of_one, 1)))
        .withColumn("sessions_per_person", fn.round(fn.col("sessions") / fn.col("people"), 2))
        .select("tenant", "section", "key", *(column.name for column in COLUMNS))
    )


def _seen(tables: Mapping[str, DataFrame], span: Span) -> DataFrame:
    """(tenant, author, device, session_id, id, at): each sign of a person that the span reads, and when, in µs."""
    device = (fn.get_json_object("context", f"$.{path}") for path in ("device.id", "device"))
    return (
        facts.moderated(facts.happened(tables, span))
        .where(fn.col("outcome") == "events")
        .where(~fn.col("is_bot") & fn.col("author").isNotNull() & (fn.col("type") != RECEIPT_DELIVERED))
        .select(
            *("tenant", "author", "id"),
            fn.coalesce(*device, "anonymous_id", fn.lit("")).alias("device"),
            fn.nullif(fn.get_json_object("context", "$.session_id"), fn.lit("")).alias("session_id"),
            fn.unix_micros("time").alias("at"),
        )
    )


def _stays(seen: DataFrame) -> DataFrame:
    """(tenant, author, device, began, ended, engaged): each session, in µs."""
    device = ("tenant", "author", "device")
    in_turn = Window.partitionBy(*device).orderBy("at", "id")
    # Before the row, back to the last idle gap.
    earlier = Window.partitionBy(*device, "island").orderBy("at", "id").rowsBetween(Window.unboundedPreceding, -1)
    # Rows without an id are each apart, or all of them would be one partition.
    named_so = Window.partitionBy("tenant", fn.coalesce("session_id", "id"))
    session = Window.partitionBy(*device, "stretch", "part")
    gap = fn.col("at") - fn.lag("at").over(in_turn)
    islands = seen.withColumn("idle", fn.coalesce(gap > _micros(IDLE), fn.lit(True))).withColumn(
        "island", _running(fn.col("idle"), in_turn)
    )
    named = (
        islands.withColumn("said", fn.last("session_id", ignorenulls=True).over(earlier))
        .withColumn("taken_up", fn.col("session_id").isNotNull() & ~fn.col("session_id").eqNullSafe(fn.col("said")))
        .withColumn("stretches", fn.count(fn.when(fn.col("taken_up"), True)).over(named_so))
        .withColumn("believed", fn.when(fn.col("stretches") == 1, fn.col("session_id")))
    )
    another = fn.col("believed") != fn.last("believed", ignorenulls=True).over(earlier)
    # `least` passes over nulls, and the first event has no gap before it.
    counted = fn.when(fn.col("gap").isNotNull(), fn.least("gap", fn.lit(_micros(ENGAGED))))
    since_beginning = fn.col("at") - fn.min("at").over(Window.partitionBy(*device, "stretch"))
    return (
        named.withColumn("another", fn.coalesce(another, fn.lit(False)))
        .withColumn("stretch", _running(fn.col("idle") | fn.col("another"), in_turn))
        .withColumn("part", fn.floor(since_beginning / _micros(LONGEST)))
        .withColumn("gap", fn.col("at") - fn.lag("at").over(session.orderBy("at", "id")))
        .groupBy(*device, "stretch", "part")
        .agg(
            fn.min("at").alias("began"),
            fn.max("at").alias("ended"),
            fn.coalesce(fn.sum(counted), fn.lit(0)).alias("engaged"),
        )
    )


def _running(begins: Column, window: WindowSpec) -> Column:
    """How many rows up to this one begin something."""
    return fn.sum(begins.cast("long")).over(window)


def _micros(time: timedelta) -> int:
    return time // _MICROSECOND


SESSIONS: Final = Report(
    name="sessions",
    title="Sessions",
    meaning="How often people came on one calendar day, how long they stayed, and how long they did something.",
    calendar="tenant",
    tables=(EVENTS,),
    query=sessions,
    columns=COLUMNS,
    headline=("sessions", "people", "median", "engaged_per_person", "sessions_per_person"),
    figures=tuple(column.name for column in COLUMNS),
    shapes=(
        Shape(
            name="hours",
            section=facts.STEP,
            title="When they began",
            kind="series",
            key="start",
            columns=("sessions", "people"),
        ),
        Shape(
            name="top_users",
            section=facts.PERSON,
            title="Longest engaged",
            kind="ranking",
            key="user",
            columns=("engaged", "sessions", "median"),
            order=("engaged",),
            most=10,
        ),
        Shape(
            name="lengths",
            section=_LENGTH,
            title="By length, in hours and minutes",
            kind="table",
            key="length",
            columns=("sessions", "people", "engaged"),
            most=len(_LENGTHS),
        ),
    ),
    rule=_RULE,
    before=_BEFORE,
    after=LONGEST,
)
