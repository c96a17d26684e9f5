"""`next-channel`: for each person the channel they do not write in that goes best with those they write in.

people ─ what they write in ─▶ pairs of channels with people in common ─ what each person lacks ─▶ one channel a person
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as fn

from analytics.reports import facts
from analytics.reports.report import Report, Shape
from analytics.reports.spans import Span
from infra.contracts import reports
from infra.contracts.archive import EVENTS
from infra.contracts.events import MESSAGE_SENT

#: Days that end with the day of the report.
_DAYS: Final = 28
#: A day less than that before the day, and one more, for where the clocks change.
BEFORE: Final = timedelta(days=_DAYS)
#: People that two channels have in common, below which they are not held to go together.
SUPPORT: Final = 3
#: Of somebody who writes in more channels than this those count in which they write most: pairs grow with the square.
_MOST: Final = 50
RULE: Final = f"""\
Two channels go together as far as the same people write in both, in the {_DAYS} days that end with the day: the \
cosine of the two, which is how many write in both, divided by the root of how many write in the one times how \
many in the other; fewer than {SUPPORT} people in common are none. A channel's score for somebody is the mean of \
that over the channels they write in, and the one they do not write in with the highest score is theirs; of \
equal ones the first by name. Direct channels are in none of it. Whether somebody may enter a channel Hubbub \
does not know: ask your chat before you pass a suggestion on. Of somebody in more than {_MOST} channels those \
count that they write in most."""

_SUGGESTION: Final = (
    reports.Column(
        name="channel", label="Channel", meaning="one they do not write in yet", unit="channel", optional=True
    ),
    reports.Column(
        name="score",
        label="Score",
        meaning="how well it goes with those they write in, from 0 to 1",
        unit="share",
        optional=True,
    ),
    reports.Column(
        name="via",
        label="Goes with",
        meaning="the channel of theirs that it goes with best",
        unit="channel",
        optional=True,
    ),
    reports.Column(
        name="together", label="In both", meaning="people who write in both of these", unit="people", optional=True
    ),
    reports.Column(
        name="out_of", label="Out of", meaning="people who write in the channel of theirs", unit="people", optional=True
    ),
)
_WHOLE: Final = (
    reports.Column(name="people", label="People", meaning=f"wrote in a channel in the {_DAYS} days", unit="people"),
    reports.Column(name="suggested", label="Suggestions", meaning="people with a channel to suggest", unit="people"),
    reports.Column(
        name="channels", label="Channels", meaning="channels that are suggested to anybody", unit="channels"
    ),
)
FIGURES: Final = tuple(column.name for column in _WHOLE)
COLUMNS: Final = (*_WHOLE, *_SUGGESTION)


def next_channel(tables: Mapping[str, DataFrame], span: Span, as_of: datetime) -> DataFrame:
    """(tenant, section, key) and `COLUMNS`."""
    writes = _writes(tables, span).localCheckpoint()
    best = _best(writes, _alike(writes))
    found = writes.select("tenant", "author").distinct().join(best, ["tenant", "author"], "left")
    places = fn.array_compact(
        fn.array(
            facts.place(facts.TOTAL, fn.lit("")),
            fn.when(fn.col("channel").isNotNull(), facts.place(facts.CHANNEL, fn.col("channel"))),
            fn.when(fn.col("channel").isNotNull(), facts.place(facts.PERSON, fn.col("author"))),
        )
    )
    of_a_person = fn.col("section") == facts.PERSON
    return (
        found.withColumn("place", fn.explode(places))
        .groupBy("tenant", "place.section", "place.key")
        .agg(
            fn.count("*").alias("people"),
            fn.count("channel").alias("suggested"),
            fn.count_distinct("channel").alias("channels"),
            *(fn.max(column.name).alias(column.name) for column in _SUGGESTION),
        )
        .withColumns({column.name: fn.when(of_a_person, fn.col(column.name)) for column in _SUGGESTION})
        .select("tenant", "section", "key", *(column.name for column in COLUMNS))
    )


def _writes(tables: Mapping[str, DataFrame], span: Span) -> DataFrame:
    """(tenant, author, channel, counts): who writes in which, and whether it is one of those they write in most."""
    ago = fn.date_diff(fn.lit(span.day), fn.to_date(fn.from_utc_timestamp("time", span.zone.key)))
    direct = fn.get_json_object("properties", "$.channel_type") == "direct"
    written = (fn.col("type") == MESSAGE_SENT) & ~fn.col("is_bot") & fn.col("author").isNotNull()
    most = Window.partitionBy("tenant", "author").orderBy(fn.desc("messages"), "channel")
    return (
        facts.moderated(facts.happened(tables, span))
        .where((ago < _DAYS) & fn.col("channel_id").isNotNull() & (fn.col("outcome") == "events"))
        .groupBy("tenant", "author", fn.col("channel_id").alias("channel"))
        .agg(
            fn.count(fn.when(written, True)).alias("messages"),
            fn.max(fn.coalesce(direct, fn.lit(False))).alias("direct"),
        )
        .withColumn("direct", fn.max("direct").over(Window.partitionBy("tenant", "channel")))
        .where(~fn.col("direct") & (fn.col("messages") > 0))
        .select("tenant", "author", "channel", (fn.row_number().over(most) <= _MOST).alias("counts"))
    )


def _alike(writes: DataFrame) -> DataFrame:
    """(tenant, via, channel, together, out_of, cosine): each two channels that go together, both ways."""
    size = writes.groupBy("tenant", "channel").agg(fn.count("*").alias("size"))
    counting = writes.where("counts").select("tenant", "author", "channel")
    here = counting.withColumnRenamed("channel", "via")
    of = size.select("tenant", fn.col("channel").alias("via"), fn.col("size").alias("out_of"))
    return (
        here.join(counting, ["tenant", "author"])
        .where(fn.col("via") != fn.col("channel"))
        .groupBy("tenant", "via", "channel")
        .agg(fn.count("*").alias("together"))
        .where(fn.col("together") >= SUPPORT)
        .join(size, ["tenant", "channel"])
        .join(of, ["tenant", "via"])
        .withColumn("cosine", fn.col("together") / fn.sqrt(fn.col("size") * fn.col("out_of")))
        .select("tenant", "via", "channel", "together", "out_of", "cosine")
    )


def _best(writes: DataFrame, alike: DataFrame) -> DataFrame:
    """(tenant, author) and `_SUGGESTION`: of each person the channel that goes best with theirs, if any does."""
    theirs = writes.where("counts").withColumn("count", fn.count("*").over(Window.partitionBy("tenant", "author")))
    strongest = fn.max(fn.struct("cosine", "together", "via", "out_of"))
    first = Window.partitionBy("tenant", "author").orderBy(fn.desc("score"), "channel")
    return (
        theirs.select("tenant", "author", fn.col("channel").alias("via"), "count")
        .join(alike, ["tenant", "via"])
        .join(writes, ["tenant", "author", "channel"], "left_anti")
        .groupBy("tenant", "author", "channel", "count")
        .agg(fn.sum("cosine").alias("sum"), strongest.alias("by"))
        .withColumn("score", fn.round(fn.col("sum") / fn.col("count"), 3))
        .withColumn("first", fn.row_number().over(first))
        .where(fn.col("first") == 1)
        .select("tenant", "author", "channel", "score", "by.via", "by.together", "by.out_of")
    )


NEXT_CHANNEL: Final = Report(
    name="next-channel",
    title="Next channel",
    meaning="For each person the channel they do not write in that goes best with those they write in.",
    calendar="tenant",
    tables=(EVENTS,),
    query=next_channel,
    columns=COLUMNS,
    headline=FIGURES,
    figures=FIGURES,
    shapes=(
        Shape(
            name="channels",
            section=facts.CHANNEL,
            title="Channels suggested most",
            kind="ranking",
            key="channel",
            columns=("suggested",),
            order=("suggested",),
            most=10,
        ),
        Shape(
            name="people",
            section=facts.PERSON,
            title="Everybody's next channel",
            kind="table",
            key="user",
            columns=("channel", "score", "via", "together", "out_of"),
            order=("score",),
            most=2_000,
        ),
    ),
    rule=RULE,
    before=BEFORE,
    settle=timedelta(days=1),
)
