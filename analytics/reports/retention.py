"""`retention`: of those who wrote for the first time in a period, or at all, how many were active so much later."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as fn

from analytics.reports import facts, visits
from analytics.reports.report import Report, Shape
from analytics.reports.shares import percent
from analytics.reports.spans import Grain, Span
from infra.contracts import reports
from infra.contracts.archive import EVENTS

#: The sections: cohorts by somebody's first message ever, and by any message.
FIRST_TIME: Final = "first_time"
RECURRING: Final = "recurring"
RULE: Final = (
    "A cohort is the people who sent their first message ever, in all of the archive, in one period; of the recurring, "
    "who sent any message in it, so that the same people may be in several. Somebody is retained after n periods who "
    "is active in the n-th after the cohort's own: sent, edited, reacted, read or joined. After 0 periods that is "
    "everybody. The mean weighs each cohort by its people. A period that is not over is shown, marked by `open`, and "
    "in no mean."
)
EXAMPLE: Final = """\
Ann, Bob and Cem write for the first time in week A, Dan in week B. In week B Ann writes again and Bob reads; in week C,
which is not over, Ann and Dan write. Of A 66.7% came after 1 week and so far 33.3% after 2, of B so far 100% after 1.
The mean after 1 week is 66.7%, that of A alone, since the week after B is not over. The recurring cohort of week B is
Ann and Dan, of whom so far 100% came after 1 week.
"""
#: Synapse's R30 (version 2) looks so many days back for visits more than so many days apart.
_LOOK_BACK: Final = 60
_APART: Final = 30
R30: Final = reports.Column(
    name="r30",
    label="R30",
    meaning=f"people active on two days more than {_APART} days apart, of the {_LOOK_BACK} days that end with the last "
    "day of the period that has begun",
    unit="people",
)
SIZE: Final = reports.Column(
    name="size", label="People", meaning="people in the cohort; of several cohorts, in all of them", unit="people"
)


def after(grain: Grain, count: int) -> str:
    """The name of the share that was retained after so many periods."""
    return f"{grain[0]}{count}"


def columns(grain: Grain) -> tuple[reports.Column, ...]:
    """The numbers of cohorts by day, week or month."""
    return (
        R30,
        SIZE,
        *(
            reports.Column(
                name=after(grain, n),
                label=f"{grain[0].upper()}{n}",
                meaning=f"percent of the cohort who were active {n} {grain}{'' if n == 1 else 's'} after its own",
                unit="percent",
                optional=True,
            )
            for n in range(visits.PERIODS[grain])
        ),
        reports.Column(
            name=reports.OPEN,
            label="Open from",
            meaning=f"the first share whose {grain} is not over, and so in no mean",
            unit="column",
            optional=True,
        ),
    )


def retention(tables: Mapping[str, DataFrame], span: Span, as_of: datetime) -> DataFrame:
    """(tenant, section, key) and `columns`: of all, and of each section its cohorts and their mean.

    A cohort's key is its number, 0 for the oldest.
    """
    count = visits.PERIODS[span.grain]
    return _shares(_retained(_people(tables, span, as_of), count), span, as_of)


def _people(tables: Mapping[str, DataFrame], span: Span, as_of: datetime) -> DataFrame:
    """One row a person, of `visits.by_person`, and whether R30 counts them as `stayed`."""
    today = (min(as_of, span.end) - timedelta(microseconds=1)).astimezone(span.zone).date()
    ago = fn.date_diff(fn.lit(today), fn.col("day"))
    recent = fn.when((ago >= 0) & (ago < _LOOK_BACK), ago)
    stayed = fn.coalesce(fn.max(recent) - fn.min(recent) > _APART, fn.lit(False))
    return visits.by_person(visits.came(tables, span), visits.PERIODS[span.grain], stayed=stayed)


def _retained(people: DataFrame, count: int) -> DataFrame:
    """(tenant, kind, cohort, retained): by distance how many of a cohort came; of `facts.TOTAL` how many stayed."""
    by_first = fn.array(fn.col("first_sent"))
    places = fn.concat(
        _places(FIRST_TIME, fn.when(fn.col("first_sent") > -count, by_first).otherwise(fn.array())),
        _places(RECURRING, fn.col("wrote")),
        fn.when(fn.col("stayed"), fn.array(_place(facts.TOTAL, fn.lit(0), fn.lit(0)))).otherwise(fn.array()),
    )
    return (
        people.select("tenant", fn.explode(places).alias("place"))
        .groupBy("tenant", "place.kind", "place.cohort")
        .agg(fn.array(*(fn.count(fn.when(fn.col("place.after") == n, True)) for n in range(count))).alias("retained"))
    )


def _places(kind: str, cohorts: Column) -> Column:
    """Where a person counts: in each of these cohorts, at each distance from it at which they came."""
    return fn.flatten(
        fn.transform(
            cohorts,
            lambda cohort: fn.transform(
                fn.filter("came", lambda period: period >= cohort),
                lambda period: _place(kind, cohort, period - cohort),
            ),
        )
    )


def _place(kind: str, cohort: Column, distance: Column) -> Column:
    return fn.struct(fn.lit(kind).alias("kind"), cohort.alias("cohort"), distance.alias("after"))


def _shares(retained: DataFrame, span: Span, as_of: datetime) -> DataFrame:
    """The cohorts' sizes and shares, and the mean of those whose period is over, weighed by size."""
    count = visits.PERIODS[span.grain]
    starts = [*span.periods(count), span.end]
    # The number of the first period that is not over; 1 if all are.
    open_from = next((n - count + 1 for n, end in enumerate(starts[1:]) if end > as_of), 1)
    cohort, kind, is_mean = fn.col("cohort"), fn.col("kind"), fn.col("key").isin(reports.MEAN, "")
    places = fn.when(kind == facts.TOTAL, fn.array(facts.place(facts.TOTAL, fn.lit("")))).otherwise(
        fn.array_compact(
            fn.array(
                facts.place(kind, (cohort + count - 1).cast("string")),
                facts.place(kind, fn.lit(reports.MEAN)),
                fn.when(kind == FIRST_TIME, facts.place(facts.TOTAL, fn.lit(""))),
            )
        )
    )
    size = fn.col("retained")[0]
    people = fn.when(kind != facts.TOTAL, size)
    first_open = fn.greatest(fn.lit(open_from) - cohort, fn.lit(0))

    def share(n: int) -> Column:
        come = cohort + n < fn.when(is_mean, open_from).otherwise(1)
        came = fn.sum(fn.when(come & (kind != facts.TOTAL), fn.col("retained")[n]))
        return percent(came, fn.sum(fn.when(come, people)))

    return (
        retained.withColumn("place", fn.explode(places))
        .select("tenant", "kind", "cohort", "retained", "place.section", "place.key")
        .groupBy("tenant", "section", "key")
        .agg(
            fn.coalesce(fn.sum(fn.when(kind == facts.TOTAL, size)), fn.lit(0)).alias("r30"),
            fn.coalesce(fn.sum(people), fn.lit(0)).alias("size"),
            *(share(n).alias(after(span.grain, n)) for n in range(count)),
            fn.max(fn.when(~is_mean & (fn.lit(open_from) <= 0), first_open)).alias("first_open"),
        )
        .withColumn(reports.OPEN, fn.concat(fn.lit(span.grain[0]), fn.col("first_open").cast("string")))
        .drop("first_open")
    )


def _retention(grain: Grain) -> Report:
    """Cohorts by day, week or month: weekly unless the name says otherwise."""
    count = visits.PERIODS[grain]
    shares = tuple(after(grain, n) for n in range(count))
    headline = {"day": (1, 7, 14), "week": (1, 4, 12), "month": (1, 3, 12)}[grain]
    figures = (R30.name, SIZE.name, *(shares[n] for n in headline))
    return Report(
        name=visits.NAMED[grain].format("retention"),
        title=f"Retention by {grain}",
        meaning=f"How many came again of those who wrote in the {count} {grain}s that end with this one, and R30.",
        calendar="tenant",
        tables=(EVENTS,),
        query=retention,
        columns=columns(grain),
        headline=figures,
        figures=figures,
        shapes=tuple(
            Shape(
                name=section,
                section=section,
                title=title,
                kind="heatmap",
                key="cohort",
                columns=(SIZE.name, *shares, reports.OPEN),
                most=count + 1,
                periods=count,
            )
            for section, title in (
                (FIRST_TIME, f"By the {grain} of the first message"),
                (RECURRING, f"By every {grain} with a message"),
            )
        ),
        grain=grain,
        before=None,
        settle=visits.SETTLE,
        rule=RULE,
        example=EXAMPLE if grain == "week" else "",
    )


RETENTION: Final = tuple(_retention(grain) for grain in visits.NAMED)
