"""`daily`: what a community did on one calendar day, exactly, in all and by channel, person and hour.

What it counts is counted of longer periods as well: see `analytics.reports.activity`.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as fn

from analytics.engagement import counts_in, value_of
from analytics.reports import facts
from analytics.reports.report import Report, Shape
from analytics.reports.spans import Span
from infra.contracts import metrics, reports
from infra.contracts.archive import EVENTS, HELD
from infra.contracts.events import CHANNEL_JOINED, CHANNEL_LEFT
from infra.contracts.metrics import COUNTS, DISTINCTS, METRICS, Measure, Metric

_JOINS: Final = Measure(name="joins", kind="count", types=frozenset({CHANNEL_JOINED}))
_LEAVES: Final = Measure(name="leaves", kind="count", types=frozenset({CHANNEL_LEFT}))
_MEASURES: Final = {measure.name: measure for measure in metrics.MEASURES}


def published(metric: Metric, name: str | None = None) -> reports.Column:
    """A number that is also a metric: what it is called, means and is counted in is what the registry says."""
    return reports.Column(
        name=name or metric.measure or metric.name,
        label=metric.label,
        meaning=metric.meaning,
        unit=metric.unit,
        optional=metric.per is not None,
    )


#: What is counted of a period of any length.
VOLUME: Final = (
    published(METRICS["messages_sent"]),
    reports.Column(
        name="net",
        label="Net",
        meaning="messages sent that day which nothing had deleted by the time of the report",
        unit="messages",
    ),
    published(METRICS["messages_edited"]),
    published(METRICS["messages_deleted"]),
    published(METRICS["messages_held"]),
    reports.Column(
        name="blocked",
        label="Blocked",
        meaning="messages that a rule blocked, or a moderator since",
        unit="messages",
    ),
    published(METRICS["reactions_added"]),
    reports.Column(name="joins", label="Joins", meaning="people joining a channel", unit="joins"),
    reports.Column(name="leaves", label="Leaves", meaning="people leaving a channel", unit="leaves"),
    published(METRICS["active_users"]),
    published(METRICS["contributors"]),
    published(METRICS["responders"]),
    reports.Column(
        name="present",
        label="Present",
        meaning="distinct people of whom anything was stored, reads, receipts and sessions included",
        unit="people",
    ),
    published(METRICS["messages_per_sender"]),
    reports.Column(
        name="active_channels", label="Active channels", meaning="channels with at least one message", unit="channels"
    ),
    reports.Column(
        name="alive_channels",
        label="Alive channels",
        meaning="channels in which at least two people sent messages",
        unit="channels",
    ),
)
COLUMNS: Final = (
    *VOLUME,
    reports.Column(
        name="peak_hour",
        label="Peak hour",
        meaning="the hour with the most messages, the first of several",
        unit="start",
        optional=True,
    ),
    reports.Column(
        name="peak_sent", label="At the peak", meaning="messages sent in the peak hour", unit="messages", optional=True
    ),
)


def volume(*names: str) -> tuple[reports.Column, ...]:
    """These of `VOLUME`, in this order."""
    known = {column.name: column for column in VOLUME}
    return tuple(known[name] for name in names)


#: What people are ranked by.
RANKED: Final = ("sent", "reactions")

TOP_CHANNELS: Final = Shape(
    name="top_channels",
    section=facts.CHANNEL,
    title="Top channels",
    kind="ranking",
    key="channel",
    columns=("sent", "reactions", "contributors"),
    order=RANKED,
    most=10,
)
TOP_USERS: Final = Shape(
    name="top_users",
    section=facts.PERSON,
    title="Top people",
    kind="ranking",
    key="user",
    columns=RANKED,
    order=RANKED,
    most=10,
)
CHANNELS: Final = Shape(
    name="channels",
    section=facts.CHANNEL,
    title="Every channel",
    kind="table",
    key="channel",
    columns=(
        *("sent", "net", "edited", "deleted", "held", "blocked", "reactions", "joins", "leaves"),
        *("active", "contributors", "responders", "present", "messages_per_sender"),
    ),
    order=RANKED,
    most=2_000,
)


def daily(tables: Mapping[str, DataFrame], span: Span, as_of: datetime) -> DataFrame:
    """(tenant, section, key) and `COLUMNS`; what is only known of a tenant as a whole is null elsewhere."""
    events = facts.moderated(facts.happened(tables, span)).where(~fn.col("is_bot"))
    return counted(events, "peak_hour").select("tenant", "section", "key", *(column.name for column in COLUMNS))


def counted(events: DataFrame, peak: str) -> DataFrame:
    """(tenant, section, key), `VOLUME`, and of the total the step with most messages, named `peak`, and how many."""
    counts, conditions = _counts(), flags()
    people = facts.by_person(events, counts, conditions)
    rows = facts.by_section(people, counts, conditions, ranked=RANKED)
    total = fn.col("section") == facts.TOTAL
    channel = fn.col("section") == facts.CHANNEL
    step = (fn.col("section") == facts.STEP) & (fn.col("sent") > 0)
    # Of equal steps the earlier is greater.
    height = fn.when(step, fn.struct("sent", -fn.col("key").cast("int")))
    of_tenant = Window.partitionBy("tenant")
    whole = {
        "active_channels": fn.count(fn.when(channel & (fn.col("sent") > 0), True)).over(of_tenant),
        "alive_channels": fn.count(fn.when(channel & (fn.col("contributors") > 1), True)).over(of_tenant),
        peak: fn.max_by("key", height).over(of_tenant),
        "peak_sent": fn.max(fn.when(step, fn.col("sent"))).over(of_tenant),
    }
    return (
        rows.withColumns(whole)
        .withColumns({name: fn.when(total, fn.col(name)) for name in whole})
        .withColumn("messages_per_sender", fn.round(value_of(METRICS["messages_per_sender"]), 2))
    )


def _counts() -> dict[str, Column]:
    measures = {measure.name: counts_in(measure) for measure in (*COUNTS, _JOINS, _LEAVES)}
    return {**measures, "net": counts_in(_MEASURES["sent"]) & ~fn.col("removed")}


def flags() -> dict[str, Column]:
    """Whether an event makes its author active, a contributor, or just present."""
    return {**{m.name: counts_in(m) for m in DISTINCTS}, "present": fn.col("outcome") == "events"}


DAILY: Final = Report(
    name="daily",
    title="Daily report",
    meaning="What the community did on one calendar day, counted exactly from the archive.",
    calendar="tenant",
    tables=(EVENTS, HELD),
    query=daily,
    columns=COLUMNS,
    headline=("sent", "active", "contributors", "reactions", "peak_hour"),
    figures=tuple(column.name for column in COLUMNS),
    shapes=(
        Shape(
            name="hours",
            section=facts.STEP,
            title="Through the day",
            kind="series",
            key="start",
            columns=("sent", "reactions", "active"),
        ),
        TOP_CHANNELS,
        TOP_USERS,
        CHANNELS,
    ),
)
