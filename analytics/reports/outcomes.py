"""What people did in two weeks, and whether they stayed away in the two after: what a model of churn learns from.

events ─ by person and day ─▶ days ─ by person and week's reference day ─▶ outcomes

A reference day is told by how many days it lies before the day of the report, and is a week from the next. What is
known of a person at one is from the days that end with it; whether they left is from the days after it, and from
nothing else.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as fn

from analytics.reports import daily, facts
from analytics.reports.spans import Span
from infra.contracts.events import MESSAGE_SENT, REACTION_ADDED

#: Days after a reference day in which somebody who left is never active, and days up to it in which they were.
HORIZON: Final = 14
#: Nothing is predicted from less: two weeks to know people by, two to see who left, two to see whether a model knew.
HISTORY: Final = 3 * HORIZON
_WEEK: Final = 7
_TRAINING: Final = 8
_HELD_OUT: Final = 4
#: Days that the oldest reference day needs.
READ: Final = HORIZON + _WEEK * (_HELD_OUT - 1) + HORIZON + _WEEK * (_TRAINING - 1) + HORIZON
#: A day more, for where the clocks change.
BEFORE: Final = timedelta(days=READ)
#: The reference day of what is predicted: the day of the report.
TODAY: Final = 0


@dataclass(frozen=True, slots=True)
class Feature:
    """One thing known of a person at a reference day. `words` says it of somebody, beside the mean of all.

    What has no upper bound is taken by its logarithm, log(1 + x), so that the few who do most do not drown the rest.
    """

    name: str
    words: Callable[[float, float], str]
    is_log: bool = False


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 10 or round(value, 1) == round(value) else f"{value:.1f}"


def _ago(value: float, mean: float) -> str:
    if value == 0:
        return f"active on the last day, others {_number(mean)} days ago"
    return f"last active {_number(value)} {'day' if value == 1 else 'days'} ago, others {_number(mean)}"


def _trend(value: float, mean: float) -> str:
    if value == 0:
        return "came as often as the week before"
    more = "fewer" if value > 0 else "more"
    return f"came {_number(abs(value))} {'day' if abs(value) == 1 else 'days'} {more} than the week before"


def _counted(what: str) -> Callable[[float, float], str]:
    return lambda value, mean: f"{what}: {_number(value)}, others {_number(mean)}"


FEATURES: Final = (
    Feature("away", _ago),
    Feature(
        "overdue",
        lambda value, mean: f"away {_number(value)} times their usual gap, others {_number(mean)}",
        is_log=True,
    ),
    Feature("days", lambda value, mean: f"active on {_number(value)} of {HORIZON} days, others {_number(mean)}"),
    Feature("fading", _trend),
    Feature("messages", _counted("messages"), is_log=True),
    Feature("replies", _counted("replies to others"), is_log=True),
    Feature("reactions", _counted("reactions given"), is_log=True),
    Feature("channels", _counted("channels"), is_log=True),
    Feature("heard", _counted("replies and reactions received"), is_log=True),
)


@dataclass(frozen=True, slots=True)
class Weeks:
    """The reference days a model is fitted to, and the later ones it is judged by."""

    training: Sequence[int]
    held_out: Sequence[int]


def weeks(history: int) -> Weeks:
    """How so many days of history are used: a held-out week for every three that are more than needed, four at most.

    Training ends a horizon before the first held-out reference day: what became of people was known on it.
    """
    spare = (history - HISTORY) // _WEEK
    if spare < 0:
        return Weeks((), ())
    held_out = [HORIZON + _WEEK * n for n in range(min(_HELD_OUT, 1 + spare // 3))]
    training = range(held_out[-1] + HORIZON, history - HORIZON + 1, _WEEK)
    return Weeks(training[:_TRAINING], held_out)


def outcomes(tables: Mapping[str, DataFrame], span: Span) -> DataFrame:
    """(tenant, author, ref, since, left) and `FEATURES`: a row for each person active before a reference day.

    `since` is how many days before the report's day the person was first active in the time before `ref`; `left` says
    nothing where `ref` is `TODAY`.
    """
    ago, ref, active = fn.col("ago"), fn.col("ref"), fn.col("active")
    before, later = ago >= ref, fn.col("d") < _WEEK
    first = ago - ago % _WEEK
    known = {name: fn.sum(fn.when(before, fn.col(name))) for name in ("messages", "replies", "reactions", "heard")}
    came = before & active
    days = fn.count(fn.when(came, True))
    away, since = fn.min(fn.when(came, ago - ref)), fn.max(fn.when(came, ago))
    gap = fn.when(days > 1, (since - fn.min(fn.when(came, ago))) / (days - 1)).otherwise(HORIZON)
    features = {
        **known,
        "away": away,
        "overdue": away / gap,
        "days": days,
        "fading": fn.count(fn.when(came & ~later, True)) - fn.count(fn.when(came & later, True)),
        "channels": fn.size(fn.array_distinct(fn.flatten(fn.collect_list(fn.when(before, fn.col("channels")))))),
    }
    return (
        _days(tables, span)
        # Each day is among those up to two reference days, and among those after two others.
        .withColumn("ref", fn.explode(fn.sequence(first - _WEEK, first + HORIZON, fn.lit(_WEEK))))
        .where((ref == TODAY) | ((ref >= HORIZON) & (ref <= READ - HORIZON)))
        .withColumn("d", ago - ref)
        .groupBy("tenant", "author", "ref")
        .agg(
            since.alias("since"),
            (fn.count(fn.when(~before & active, True)) == 0).alias("left"),
            *(value.cast("double").alias(name) for name, value in features.items()),
        )
        .where(fn.col("days") > 0)
        .select(
            *("tenant", "author", "ref", "since", "left"),
            *((fn.log1p(fn.col(f.name)) if f.is_log else fn.col(f.name)).alias(f.name) for f in FEATURES),
        )
    )


def _days(tables: Mapping[str, DataFrame], span: Span) -> DataFrame:
    """(tenant, author, ago): what a person did on a day, and what others made of their messages on it."""
    events = (
        facts.moderated(facts.happened(tables, span))
        .where(~fn.col("is_bot") & fn.col("author").isNotNull() & (fn.col("outcome") == "events"))
        .withColumn("ago", fn.date_diff(fn.lit(span.day), fn.to_date(fn.from_utc_timestamp("time", span.zone.key))))
        .where(fn.col("ago") < READ)
    )
    sent, reacted = fn.col("type") == MESSAGE_SENT, fn.col("type") == REACTION_ADDED
    active = daily.flags()["active"]
    did = events.select(
        *("tenant", "author", "ago"),
        active.alias("active"),
        fn.when(active, fn.col("channel_id")).alias("channel"),
        sent.alias("messages"),
        (sent & fn.col("reply_to").isNotNull()).alias("replies"),
        reacted.alias("reactions"),
        fn.lit(False).alias("heard"),
    )
    never = {name: fn.lit(False) for name in ("active", "messages", "replies", "reactions")}
    written = events.where(sent).select("tenant", fn.col("target").alias("about"), fn.col("author").alias("writer"))
    heard = (
        events.withColumn("about", fn.when(sent, fn.col("reply_to")).when(reacted, fn.col("message_id")))
        .join(written, ["tenant", "about"])
        .where(fn.col("writer") != fn.col("author"))
        .select("tenant", fn.col("writer").alias("author"), "ago", fn.lit(True).alias("heard"))
        .withColumns(never)
    )
    return (
        did.unionByName(heard, allowMissingColumns=True)
        .groupBy("tenant", "author", "ago")
        .agg(
            fn.max("active").alias("active"),
            fn.collect_set("channel").alias("channels"),
            *(_how_many(name) for name in ("messages", "replies", "reactions", "heard")),
        )
    )


def _how_many(name: str) -> Column:
    return fn.count(fn.when(fn.col(name), True)).alias(name)
