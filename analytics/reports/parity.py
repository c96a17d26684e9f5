"""`parity`: how far the numbers that were streamed are from an exact count, metric by metric.

A count has to agree. The stream's number of people is an estimate: within three standard errors it agrees. A ratio may
be off as far as what it is made of may. What a moderator does later the stream cannot know: it counts what was taken
down since, and of what was released only what came in time. What is made of several windows is compared by its windows.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import reduce
from operator import add
from typing import Final

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as fn
from pyspark.sql.types import LongType, StringType, StructField, StructType

from analytics.engagement import counts_in, value_of
from analytics.reports import facts
from analytics.reports.report import Report, Shape
from analytics.reports.shares import percent
from analytics.reports.spans import Span
from infra.contracts import reports
from infra.contracts.archive import EVENTS, HELD
from infra.contracts.metrics import COUNTS, DISTINCTS, MEASURES, METRICS, SKETCH_ERROR, Metric, Part

#: The streamed windows of the day, by tenant and channel; an empty channel is the tenant's own window.
STREAMED: Final = "metric_windows"
STREAMED_SCHEMA: Final = StructType(
    [
        StructField("tenant", StringType(), nullable=False),
        StructField("channel_id", StringType(), nullable=False),
        *(StructField(m.name, LongType()) for m in MEASURES),
    ]
)
#: What one window is enough for.
_COMPARED: Final = tuple(metric for metric in METRICS.values() if metric.is_of_window)
#: Standard errors of a sketch within which it agrees.
_ERRORS: Final = 3
#: Two ways to come to one ratio may differ by so much.
_ROUNDING: Final = 1e-9
#: The section with a row a metric.
METRIC: Final = "metric"
#: How many events came after a moderator released them.
_LATE: Final = "late"

COLUMNS: Final = (
    reports.Column(
        name="streamed",
        label="Streamed",
        meaning="the tenant's streamed window of the day",
        unit=reports.OWN,
        optional=True,
    ),
    reports.Column(
        name="exact",
        label="Exact",
        meaning="the same counted from the archive, without what was imported as history, before moderators decided",
        unit=reports.OWN,
        optional=True,
    ),
    reports.Column(name="drift", label="Drift", meaning="streamed less exact", unit=reports.OWN, optional=True),
    reports.Column(
        name="drift_percent", label="Drift, %", meaning="drift as a share of exact", unit="percent", optional=True
    ),
    reports.Column(
        name="allowed",
        label="Allowed",
        meaning="how far streamed may be off: by what was released after it was held, and of people by "
        f"{_ERRORS} standard errors of {SKETCH_ERROR:.1%} as well; of a ratio, as far as what it is made of may be",
        unit=reports.OWN,
        optional=True,
    ),
    reports.Column(name="channels", label="Channels", meaning="channels in which either has counted", unit="channels"),
    reports.Column(
        name="channels_off", label="Channels off", meaning="channels whose drift is more than allowed", unit="channels"
    ),
    reports.Column(
        name="worst",
        label="Worst channel",
        meaning="the largest drift of a channel, either way",
        unit=reports.OWN,
        optional=True,
    ),
    reports.Column(
        name="off",
        label="Metrics off",
        meaning="metrics whose drift is more than allowed, in all or in a channel",
        unit="metrics",
    ),
    reports.Column(
        name="compared", label="Metrics compared", meaning="metrics in which either has counted", unit="metrics"
    ),
)


def parity(tables: Mapping[str, DataFrame], span: Span, as_of: datetime) -> DataFrame:
    """(tenant, section, key) and `COLUMNS`: a row a metric, and a total with `off` and `compared`."""
    whole, channel = fn.col("channel_id") == "", fn.col("channel_id") != ""
    metrics = (
        _compared(_exact(tables, span), tables[STREAMED])
        .groupBy("tenant", "metric")
        .agg(
            *(fn.max(fn.when(whole, fn.col(name))).alias(name) for name in ("streamed", "exact", "drift", "allowed")),
            fn.count(fn.when(channel, True)).alias("channels"),
            fn.count(fn.when(channel & fn.col("is_off"), True)).alias("channels_off"),
            fn.max_by("drift", fn.when(channel, fn.abs("drift"))).alias("worst"),
            fn.max("is_off").alias("is_off"),
        )
    )
    total = fn.col("place.section") == facts.TOTAL
    of_tenant = Window.partitionBy("tenant")
    # One row of each tenant stands for its total as well.
    places = fn.array(
        facts.place(METRIC, fn.col("metric")), fn.when(fn.col("first") == 1, facts.place(facts.TOTAL, fn.lit("")))
    )
    tenants_own = {"off": fn.count(fn.when(fn.col("is_off"), True)), "compared": fn.count("*")}
    return (
        metrics.withColumn("drift_percent", percent(fn.col("drift"), fn.col("exact"), 2))
        .withColumns({name: number.over(of_tenant) for name, number in tenants_own.items()})
        .withColumn("first", fn.row_number().over(of_tenant.orderBy("metric")))
        .withColumn("place", fn.explode(fn.array_compact(places)))
        .select(
            "tenant",
            "place.*",
            *(fn.when(total if c.name in tenants_own else ~total, fn.col(c.name)).alias(c.name) for c in COLUMNS),
        )
    )


def _exact(tables: Mapping[str, DataFrame], span: Span) -> DataFrame:
    """Every measure as the stream counts it, by tenant and channel."""
    counts = {_LATE: fn.col("late"), **{m.name: counts_in(m) for m in COUNTS}}
    flags = {m.name: counts_in(m) for m in DISTINCTS}
    # Imported history takes a lane of its own, past the stream.
    live = facts.happened(tables, span).where(~fn.col("is_bot") & ~fn.col("historical"))
    return (
        facts.by_section(facts.by_person(live, counts, flags), counts, flags)
        .where(fn.col("section").isin(facts.TOTAL, facts.CHANNEL))
        .withColumnRenamed("key", "channel_id")
    )


def _compared(exact: DataFrame, streamed: DataFrame) -> DataFrame:
    """(tenant, channel_id, metric): both numbers, their drift and whether it is more than allowed."""
    place = ["tenant", "channel_id"]
    told = streamed.select(*place, *(fn.col(m.name).alias(f"{m.name}_streamed") for m in MEASURES))
    metrics = (
        fn.struct(
            fn.lit(metric.name).alias("metric"),
            _is_off(metric.parts[-1]).alias("apart"),
            *(
                number.cast("double").alias(name)
                for name, number in (
                    ("streamed", value_of(metric, _streamed)),
                    ("exact", value_of(metric)),
                    ("allowed", _allowed(metric)),
                )
            ),
        )
        for metric in _COMPARED
    )
    return (
        exact.join(told, place, "full")
        .fillna(0)
        .select(*place, fn.inline(fn.array(*metrics)))
        .where((fn.col("exact") > 0) | (fn.col("streamed") > 0))
        .withColumn("drift", fn.col("streamed") - fn.col("exact"))
        # A ratio that only one side has anything to divide by has no drift; what it is divided by has.
        .withColumn("is_off", fn.coalesce(fn.abs("drift") > fn.col("allowed") + _ROUNDING, fn.col("apart")))
        .withColumns({name: fn.round(name, 4) for name in ("streamed", "exact", "drift", "allowed")})
    )


def _streamed(measure: str) -> Column:
    return fn.col(f"{measure}_streamed")


def _allowed(metric: Metric) -> Column:
    """How far the streamed number may be above or below the exact."""
    if metric.per is None:
        return _error(metric.of)
    # Furthest off when there is as much more of the one and as much less of the other as there may be.
    most = _sum(metric.of) + _error(metric.of)
    return most / fn.greatest(_sum(metric.per) - _error(metric.per), fn.lit(1)) - value_of(metric)


def _is_off(part: Part) -> Column:
    return fn.abs(_sum(part, _streamed) - _sum(part)) > _error(part)


def _error(part: Part) -> Column:
    return fn.col(_LATE) + fn.ceil(_sum(part) * _ERRORS * SKETCH_ERROR) if part.counts_people else fn.col(_LATE)


def _sum(part: Part, columns: Callable[[str], Column] = fn.col) -> Column:
    return reduce(add, map(columns, part.measures))


PARITY: Final = Report(
    name="parity",
    title="Parity",
    meaning="How far the streamed numbers of a UTC day are from an exact count, metric by metric.",
    calendar="UTC",
    tables=(EVENTS, HELD),
    query=parity,
    columns=COLUMNS,
    headline=("off", "compared"),
    figures=("off", "compared"),
    shapes=(
        Shape(
            name="metrics",
            section=METRIC,
            title="Metric by metric",
            kind="table",
            key="metric",
            columns=tuple(c.name for c in COLUMNS if c.name not in ("off", "compared")),
            order=("exact",),
            most=100,
        ),
    ),
    streamed=True,
)
