"""`lifecycle`: how many of a period's people were new, returning or resurrecting, and how many went dormant."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as fn

from analytics.reports import daily, facts, visits
from analytics.reports.report import Report, Shape
from analytics.reports.spans import Grain, Span
from infra.contracts import reports
from infra.contracts.archive import EVENTS

RULE: Final = (
    "New, returning and resurrecting are together the active people, always. New is who was never active before, in "
    "all of the archive; returning, who was active in the period before, too; resurrecting, who was active at some "
    "time before that and not in the period before. Dormant are the people of the period before who did not come, "
    "counted once, in the first period they miss; while a period is not over, those who have not come yet."
)

EXAMPLE: Final = """\
Ann is active in the weeks A, B and D, Bob in A and C, Cem in A only. Week A: three are new. Week B: Ann is returning,
Bob and Cem are dormant. Week C: Bob is resurrecting, Ann is dormant; Cem is counted no more. Week D: Ann is
resurrecting, Bob is dormant.
"""


def columns(grain: Grain) -> tuple[reports.Column, ...]:
    """The numbers of a day, a week or a month."""
    return (
        *daily.volume("active"),
        reports.Column(
            name="new", label="New", meaning=f"people active in the {grain} and never before", unit="people"
        ),
        reports.Column(
            name="returning",
            label="Returning",
            meaning=f"people active in the {grain} and in the {grain} before",
            unit="people",
        ),
        reports.Column(
            name="resurrecting",
            label="Resurrecting",
            meaning=f"people active in the {grain}, not in the {grain} before, and at some time before that",
            unit="people",
        ),
        reports.Column(
            name="dormant",
            label="Dormant",
            meaning=f"people active in the {grain} before and not in the {grain}",
            unit="people",
        ),
    )


FIGURES: Final = tuple(column.name for column in columns("day"))


def lifecycle(tables: Mapping[str, DataFrame], span: Span, as_of: datetime) -> DataFrame:
    """(tenant, section, key) and `columns`: the period, and a step for each of the last periods."""
    count = visits.PERIODS[span.grain]
    # One period more, for who was there before the first that is shown.
    people = visits.by_person(visits.came(tables, span), count + 1)
    period, now = fn.col("period"), fn.col("now")
    before = fn.array_contains("came", period - 1)
    state = (
        fn.when(now & (period == fn.col("first")), "new")
        .when(now & before, "returning")
        .when(now, "resurrecting")
        .when(before, "dormant")
    )
    places = fn.array_compact(
        fn.array(
            facts.place(facts.STEP, (period + count - 1).cast("string")),
            fn.when(period == 0, facts.place(facts.TOTAL, fn.lit(""))),
        )
    )
    return (
        people.withColumn("period", fn.explode(fn.sequence(fn.lit(1 - count), fn.lit(0))))
        .withColumn("now", fn.array_contains("came", period))
        .withColumn("state", state)
        .where(fn.col("state").isNotNull())
        .withColumn("place", fn.explode(places))
        .groupBy("tenant", "place.section", "place.key")
        .agg(
            fn.count(fn.when(now, True)).alias("active"),
            *(fn.count(fn.when(fn.col("state") == name, True)).alias(name) for name in FIGURES if name != "active"),
        )
        .select("tenant", "section", "key", *FIGURES)
    )


def _lifecycle(grain: Grain) -> Report:
    """Who was new, returning, resurrecting and dormant, by day, week or month."""
    return Report(
        name=visits.NAMED[grain].format("lifecycle"),
        title=f"Lifecycle by {grain}",
        meaning=f"How many people were new, returning or resurrecting in the {grain}, and how many went dormant.",
        calendar="tenant",
        tables=(EVENTS,),
        query=lifecycle,
        columns=columns(grain),
        headline=FIGURES,
        figures=FIGURES,
        shapes=(
            Shape(
                name=f"{grain}s",
                section=facts.STEP,
                title=f"{grain.capitalize()} by {grain}",
                kind="series",
                key=grain,
                columns=FIGURES,
                periods=visits.PERIODS[grain],
            ),
        ),
        grain=grain,
        before=None,
        settle=visits.SETTLE,
        rule=RULE,
        example=EXAMPLE if grain == "week" else "",
    )


LIFECYCLE: Final = tuple(_lifecycle(grain) for grain in visits.NAMED)
