"""Who came in which calendar periods, from the first event in the archive on: what retention and lifecycle are made of.

archive ─ came ─▶ events that make people active ─ by_person ─▶ one row a person, however long the archive is
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as fn

from analytics.reports import daily, facts
from analytics.reports.spans import Grain, Span

#: How a report that comes by day, week and month is named.
NAMED: Final[Mapping[Grain, str]] = {"week": "{}", "day": "{}-daily", "month": "{}-monthly"}
#: They read all there is, and a late event changes them little: corrections are gathered for a day.
SETTLE: Final = timedelta(days=1)
#: So many periods up to and with the one reported are shown, so that the longest distances shown are two weeks, a
#: quarter and a year.
PERIODS: Final[Mapping[Grain, int]] = {"day": 15, "week": 13, "month": 13}


def came(tables: Mapping[str, DataFrame], span: Span) -> DataFrame:
    """(tenant, author, day, period, sent): a row for each event that makes a person active.

    `day` is the calendar day in the zone and `period` the number of its period: 0 for the one reported, -1 for the one
    before it. `sent` says whether the event is a message.
    """
    flags = daily.flags()
    events = facts.moderated(facts.happened(tables, span)).where(~fn.col("is_bot") & fn.col("author").isNotNull())
    day = fn.to_date(fn.from_utc_timestamp("time", span.zone.key))
    return events.where(flags["active"]).select(
        "tenant", "author", day.alias("day"), _period(day, span).alias("period"), flags["contributors"].alias("sent")
    )


def by_person(events: DataFrame, count: int, **more: Column) -> DataFrame:
    """(tenant, author, first, first_sent, came, wrote) and what is asked for: one row a person.

    `first` and `first_sent` are the period of the first event and of the first message ever; `came` and `wrote` are in
    which of the last so many periods they were active, and sent a message.
    """
    period, sent = fn.col("period"), fn.col("sent")
    shown = period > -count
    return events.groupBy("tenant", "author").agg(
        fn.min("period").alias("first"),
        fn.min(fn.when(sent, period)).alias("first_sent"),
        fn.collect_set(fn.when(shown, period)).alias("came"),
        fn.collect_set(fn.when(shown & sent, period)).alias("wrote"),
        *(column.alias(name) for name, column in more.items()),
    )


def _period(day: Column, span: Span) -> Column:
    if span.grain == "month":
        return (fn.year(day) - span.day.year) * 12 + fn.month(day) - span.day.month
    days = fn.date_diff(day, fn.lit(span.day))
    return fn.floor(days / 7).cast("int") if span.grain == "week" else days
