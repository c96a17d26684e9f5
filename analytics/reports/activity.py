"""`weekly` and `monthly`: what a community did in several calendar days, and how many of its people come how often."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as fn

from analytics.reports import daily, facts
from analytics.reports.report import Report, Shape
from analytics.reports.spans import Grain, Span
from infra.contracts import reports
from infra.contracts.archive import EVENTS, HELD
from infra.contracts.metrics import METRICS

#: Rolling windows, in days that end with the day they are given for: docs/metrics.md.
_WEEK: Final = METRICS["wau"].days
_MONTH: Final = METRICS["mau"].days
#: The first day's rolling month begins so much before it. A day more, for where the clocks change.
_BEFORE: Final = timedelta(days=_MONTH)
#: The section with a row for each number of active days.
_ACTIVE_DAYS: Final = "active_days"
_RULE: Final = (
    f"DAU, WAU and MAU are the people active on a day, in the {_WEEK} and in the {_MONTH} days that end with it. "
    "Stickiness is the mean of DAU/MAU over the days of the period that have come."
)

_ROLLING: Final = tuple(daily.published(METRICS[name], name) for name in ("dau", "wau", "mau"))
_WHOLE: Final = (
    reports.Column(
        name="mean_dau",
        label="Mean DAU",
        meaning="people active on a day, on the average",
        unit="people",
        optional=True,
    ),
    reports.Column(
        name="stickiness",
        label="Stickiness, %",
        meaning="the mean of DAU/MAU over the days",
        unit="percent",
        optional=True,
    ),
    reports.Column(
        name="peak_day", label="Peak day", meaning="the day with the most messages", unit="day", optional=True
    ),
    reports.Column(
        name="peak_sent", label="At the peak", meaning="messages sent on the peak day", unit="messages", optional=True
    ),
)
_PEOPLE: Final = reports.Column(
    name="people", label="People", meaning="people active on so many days of the period", unit="people"
)
COLUMNS: Final = (*daily.VOLUME, *_WHOLE, *_ROLLING, _PEOPLE)


def activity(tables: Mapping[str, DataFrame], span: Span, as_of: datetime) -> DataFrame:
    """(tenant, section, key) and `COLUMNS`; null where a number says nothing."""
    events = facts.moderated(facts.happened(tables, span)).where(~fn.col("is_bot"))
    came = events.where(daily.flags()["active"] & fn.col("author").isNotNull()).select("tenant", "author", "step")
    come = sum(start < as_of for start in span.steps())
    rolling = _rolling(came.distinct(), come)
    key = ["tenant", "section", "key"]
    return (
        daily.counted(events.where(fn.col("step") >= 0), "peak_day")
        .join(rolling.select(*key, *(c.name for c in _ROLLING)), key, "full")
        .join(_whole(rolling, come), key, "left")
        .join(_histogram(came), key, "full")
        .select(*key, *(column.name for column in COLUMNS))
    )


def _rolling(came: DataFrame, come: int) -> DataFrame:
    """(tenant, section, key): the rolling numbers of each day that has come; `came` is who was active on which."""
    on, ago = fn.col("on"), fn.col("on") - fn.col("step")
    people = {"dau": ago < 1, "wau": ago < _WEEK, "mau": ago < _MONTH}
    return (
        came.withColumn("on", fn.explode(fn.sequence("step", fn.col("step") + _MONTH - 1)))
        .where((on >= 0) & (on < come))
        .groupBy("tenant", "on")
        .agg(*(fn.count_distinct(fn.when(recent, fn.col("author"))).alias(name) for name, recent in people.items()))
        .select("tenant", fn.lit(facts.STEP).alias("section"), on.cast("string").alias("key"), "on", *people)
    )


def _whole(rolling: DataFrame, come: int) -> DataFrame:
    """(tenant, section, key): what the days that have come are on the average."""
    return (
        rolling.groupBy("tenant")
        .agg(
            fn.round(fn.sum("dau") / fn.lit(come), 1).alias("mean_dau"),
            fn.round(100 * fn.avg(fn.col("dau") / fn.col("mau")), 1).alias("stickiness"),
        )
        .select("tenant", fn.lit(facts.TOTAL).alias("section"), fn.lit("").alias("key"), "mean_dau", "stickiness")
    )


def _histogram(came: DataFrame) -> DataFrame:
    """(tenant, section, key): how many people were active on so many days of the period."""
    return (
        came.where(fn.col("step") >= 0)
        .groupBy("tenant", "author")
        .agg(fn.count_distinct("step").alias("days"))
        .groupBy("tenant", "days")
        .agg(fn.count("*").alias("people"))
        .select(
            "tenant",
            fn.lit(_ACTIVE_DAYS).alias("section"),
            fn.lpad(fn.col("days").cast("string"), 2, "0").alias("key"),
            "people",
        )
    )


def _of_days(name: str, title: str, grain: Grain) -> Report:
    """What was done in the days of a week or of a month."""
    return Report(
        name=name,
        title=title,
        meaning=f"What the community did in one calendar {grain}, and how many came how often, from the archive.",
        calendar="tenant",
        tables=(EVENTS, HELD),
        query=activity,
        columns=COLUMNS,
        headline=("sent", "active", "contributors", "mean_dau", "stickiness"),
        figures=tuple(column.name for column in (*daily.VOLUME, *_WHOLE)),
        shapes=(
            Shape(
                name="days",
                section=facts.STEP,
                title="Day by day",
                kind="series",
                key="day",
                columns=("sent", "dau", "wau", "mau"),
            ),
            Shape(
                name="active_days",
                section=_ACTIVE_DAYS,
                title="People by the days they came",
                kind="table",
                key="days",
                columns=("people",),
                most=31,
            ),
            daily.TOP_CHANNELS,
            daily.TOP_USERS,
            daily.CHANNELS,
        ),
        grain=grain,
        before=_BEFORE,
        rule=_RULE,
    )


WEEKLY: Final = _of_days("weekly", "Weekly report", "week")
MONTHLY: Final = _of_days("monthly", "Monthly report", "month")
