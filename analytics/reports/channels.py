"""`channels`: where a community talked in a week, how healthy each channel is, and which began or ceased to be used."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as fn

from analytics.engagement import counts_in, counts_in_any, value_of
from analytics.reports import daily, facts
from analytics.reports.report import Report, Shape
from analytics.reports.shares import percent, ratio
from analytics.reports.spans import Span
from infra.contracts import reports
from infra.contracts.archive import EVENTS, HELD
from infra.contracts.metrics import MEASURES, METRICS, Part

_WEEK: Final = timedelta(days=7)
_HOURS: Final = 24
#: The week before, and an hour more, for where the clocks change.
_BEFORE: Final = _WEEK + timedelta(hours=1)
#: Sections with the channels that have messages in one of the two weeks alone.
_NEW: Final = "new"
_QUIET: Final = "quiet"
_MEASURES: Final = {measure.name: measure for measure in MEASURES}
_FLAGGED: Final = METRICS["flagged_rate"]
_COUNTS: Final = ("sent", "sent_before", "reactions", "tried", "flagged")
_RULE: Final = (
    "The week before is the seven days before this week; of a week that is not over, as much of it as has passed of "
    "this one. A channel is newly active with a message this week and none the week before, and quiet the other way "
    "round. Concentration adds up the square of each channel's share of the messages: 1 when all are in one channel, "
    "and with as many in each of ten, 0.1. The peak factor is the hour of the clock with most messages, those of all "
    f"days together, by what each of the {_HOURS} hours would have if all had the same: 1 is flat, {_HOURS} is "
    "everything within one hour. A message or edit is flagged when a rule held or blocked it, also if it was released "
    "since, or a moderator took its message down; one that was released was tried once."
    "\n\nAn example: 7 messages of 3 people against 2 the week before "
    "are +250 % and 2.33 a sender; with 1 message in another channel the concentration is (7/8)² + (1/8)² = 0.781."
)

COLUMNS: Final = (
    *daily.volume("sent", "reactions", "contributors"),
    reports.Column(
        name="sent_before", label="The week before", meaning="messages sent in the week before", unit="messages"
    ),
    reports.Column(
        name="change_percent",
        label="Change, %",
        meaning="messages against the week before",
        unit="percent",
        optional=True,
    ),
    *daily.volume("active_channels", "alive_channels"),
    reports.Column(
        name="new_channels",
        label="Newly active",
        meaning="channels with a message this week and none the week before",
        unit="channels",
    ),
    reports.Column(
        name="quiet_channels",
        label="Gone quiet",
        meaning="channels with a message the week before and none this week",
        unit="channels",
    ),
    reports.Column(
        name="concentration",
        label="Concentration",
        meaning="the squares of the channels' shares of the messages, added up",
        unit="ratio",
        optional=True,
    ),
    *daily.volume("messages_per_sender"),
    daily.published(METRICS["reaction_rate"]),
    reports.Column(
        name="flagged_percent",
        label="Flagged, %",
        meaning=METRICS["flagged_rate"].meaning,
        unit="percent",
        optional=True,
    ),
    reports.Column(
        name="peak_factor",
        label="Peak factor",
        meaning="messages in the busiest hour of the clock, by the average over its 24",
        unit="ratio",
        optional=True,
    ),
    reports.Column(name="active_days", label="Active days", meaning="days with a message", unit="days"),
    reports.Column(
        name="alive",
        label="Alive",
        meaning="whether at least two people sent messages: yes or no",
        unit="yes or no",
        optional=True,
    ),
)
_OF_CHANNEL: Final = (
    *("sent", "sent_before", "change_percent", "contributors", "messages_per_sender", "reactions", "reaction_rate"),
    *("flagged_percent", "peak_factor", "active_days", "alive"),
)


def channels(tables: Mapping[str, DataFrame], span: Span, as_of: datetime) -> DataFrame:
    """(tenant, section, key) and `COLUMNS`; null where a number says nothing."""
    rows = _compared(_counted(tables, span, as_of))
    # Where only the week before had anything, it is no channel of this week.
    talked = fn.col("sent") + fn.col("tried") + fn.col("reactions") > 0
    channel = fn.col("section") == facts.CHANNEL
    sections = fn.array_compact(
        fn.array(
            fn.when(~channel | talked, fn.col("section")),
            fn.when(channel & fn.col("is_new"), _NEW),
            fn.when(channel & fn.col("is_quiet"), _QUIET),
        )
    )
    return rows.withColumn("section", fn.explode(sections)).select(
        "tenant", "section", "key", *(column.name for column in COLUMNS)
    )


def _counted(tables: Mapping[str, DataFrame], span: Span, as_of: datetime) -> DataFrame:
    """(tenant, section, key): `_COUNTS`, distinct people, days and channels, and messages at the busiest hour."""
    clock = fn.from_utc_timestamp("time", span.zone.key)
    passed = min(as_of, span.end).astimezone(span.zone).replace(tzinfo=UTC) - _WEEK
    now, step = fn.col("step") >= 0, fn.col("step")
    before = (step < 0) & (step >= -_WEEK.days) & (clock < fn.lit(passed))
    # What was released stands among what was held as well.
    tried = now & ~fn.col("late") & _counts_in_any(_FLAGGED.per)
    sent = counts_in(_MEASURES["sent"])
    conditions: dict[str, Column] = {
        "sent": now & sent,
        "sent_before": before & sent,
        "reactions": now & counts_in(_MEASURES["reactions"]),
        "tried": tried,
        "flagged": tried & _counts_in_any(_FLAGGED.of),
    }
    places = fn.array_compact(
        fn.array(
            facts.place(facts.TOTAL, fn.lit("")),
            facts.place(facts.CHANNEL, fn.col("channel_id")),
            fn.when(now, facts.place(facts.STEP, step.cast("string"))),
        )
    )
    said = fn.col("sent") > 0
    distinct = {"contributors": "author", "active_days": "step", "active_channels": "channel_id"}
    by_hour = [fn.sum(fn.when(fn.col("hour") == hour, fn.col("sent")).otherwise(0)) for hour in range(_HOURS)]
    return (
        facts.moderated(facts.happened(tables, span))
        .where(~fn.col("is_bot") & fn.col("channel_id").isNotNull())
        .groupBy("tenant", "channel_id", "author", "step", fn.hour(clock).alias("hour"))
        .agg(*(fn.count(fn.when(condition, True)).alias(name) for name, condition in conditions.items()))
        .withColumn("place", fn.explode(places))
        .groupBy("tenant", "place.section", "place.key")
        .agg(
            *(fn.sum(name).alias(name) for name in _COUNTS),
            *(fn.count_distinct(fn.when(said, fn.col(of))).alias(name) for name, of in distinct.items()),
            fn.greatest(*by_hour).alias("peak"),
        )
    )


def _compared(rows: DataFrame) -> DataFrame:
    """Every number of `COLUMNS`, and whether a channel is new or quiet."""
    sent, before = fn.col("sent"), fn.col("sent_before")
    channel = fn.col("section") == facts.CHANNEL
    of_tenant, of_section = Window.partitionBy("tenant"), Window.partitionBy("tenant", "section")
    share = sent / fn.nullif(fn.sum("sent").over(of_section), fn.lit(0))
    whole = {
        "alive_channels": fn.count(fn.when(channel & (fn.col("contributors") > 1), True)).over(of_tenant),
        "new_channels": fn.count(fn.when(channel & fn.col("is_new"), True)).over(of_tenant),
        "quiet_channels": fn.count(fn.when(channel & fn.col("is_quiet"), True)).over(of_tenant),
        "concentration": fn.round(fn.sum(fn.when(channel, fn.col("share") * fn.col("share"))).over(of_tenant), 3),
    }
    return (
        rows.withColumns(
            {
                "is_new": (sent > 0) & (before == 0),
                "is_quiet": (sent == 0) & (before > 0),
                "share": share,
                "change_percent": percent(sent - before, before),
                "messages_per_sender": fn.round(value_of(METRICS["messages_per_sender"]), 2),
                "reaction_rate": fn.round(value_of(METRICS["reaction_rate"]), 2),
                "flagged_percent": percent(fn.col("flagged"), fn.col("tried")),
                "peak_factor": ratio(_HOURS * fn.col("peak"), sent),
                "alive": fn.when(channel, fn.when(fn.col("contributors") > 1, "yes").otherwise("no")),
            }
        )
        .withColumns(whole)
        .withColumns({name: fn.when(fn.col("section") == facts.TOTAL, fn.col(name)) for name in whole})
    )


def _counts_in_any(part: Part | None) -> Column:
    return counts_in_any(_MEASURES[name] for name in part.measures) if part else fn.lit(False)


CHANNELS: Final = Report(
    name="channels",
    title="Channels",
    meaning="Where the community talked in one calendar week, how healthy its channels are, and how that changed.",
    calendar="tenant",
    tables=(EVENTS, HELD),
    query=channels,
    columns=COLUMNS,
    headline=("active_channels", "alive_channels", "new_channels", "quiet_channels", "concentration"),
    figures=tuple(column.name for column in COLUMNS if column.name != "alive"),
    shapes=(
        Shape(
            name="days",
            section=facts.STEP,
            title="Day by day",
            kind="series",
            key="day",
            columns=("sent", "active_channels"),
        ),
        daily.TOP_CHANNELS,
        Shape(
            name="new",
            section=_NEW,
            title="Newly active",
            kind="table",
            key="channel",
            columns=("sent", "contributors", "active_days"),
            order=("sent",),
            most=200,
        ),
        Shape(
            name="quiet",
            section=_QUIET,
            title="Gone quiet",
            kind="table",
            key="channel",
            columns=("sent_before",),
            order=("sent_before",),
            most=200,
        ),
        Shape(
            name="channels",
            section=facts.CHANNEL,
            title="Every channel",
            kind="table",
            key="channel",
            columns=_OF_CHANNEL,
            order=daily.RANKED,
            most=2_000,
        ),
    ),
    grain="week",
    before=_BEFORE,
    rule=_RULE,
)
