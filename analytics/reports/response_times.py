"""`response-times`: how long people waited for an answer, by the rule of `analytics.responses`, exactly."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from heapq import merge
from operator import itemgetter
from typing import Any, Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as fn

from analytics.reports import facts
from analytics.reports.report import Report, Shape
from analytics.reports.shares import percent, percentile
from analytics.reports.spans import Span
from analytics.responses import DIRECT_PATIENCE, GROUP_PATIENCE, Conversation, End, Said, Wait
from infra.contracts import reports
from infra.contracts.archive import EVENTS
from infra.contracts.events import MESSAGE_SENT

#: A message of the day may follow up a wait that began before it, and may be answered in the day after.
_BEFORE: Final = 3 * DIRECT_PATIENCE
_AFTER: Final = DIRECT_PATIENCE
_RULE: Final = (
    "A wait opens at the first unanswered message of a participant, by channel and thread; what they say after it does "
    "not move it. It ends at the first message of somebody else who is no bot; edits, reactions and what was held or "
    "taken down end nothing. A message with `reply_to` ends the wait of what it answers and no other. The first "
    "message of a thread stands outside of it and is answered in it. A question that its author takes back before an "
    "answer did not wait. A wait counts on the day it began; the report is final a day later."
)
#: The section with a row for each wait without an answer.
_WAIT: Final = "wait"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_SHARES: Final = {"median": ("Median", 0.5), "p90": ("90 %", 0.9), "p95": ("95 %", 0.95)}
#: Label and upper bound in seconds; each begins where the one before ends.
_BUCKETS: Final = {
    "within_1m": ("Within 1 min", 60),
    "within_5m": ("1 to 5 min", 300),
    "within_15m": ("5 to 15 min", 900),
    "within_1h": ("15 to 60 min", 3_600),
    "within_8h": ("1 to 8 h", 28_800),
    "within_24h": ("8 to 24 h", 86_400),
}
_HOURS: Final = {"group": GROUP_PATIENCE // timedelta(hours=1), "direct": DIRECT_PATIENCE // timedelta(hours=1)}

_OF_A_WAIT: Final = (
    reports.Column(name="channel", label="Channel", meaning="where somebody waits", unit="channel", optional=True),
    reports.Column(name="author", label="Author", meaning="who waits", unit="person", optional=True),
    reports.Column(
        name="since", label="Since", meaning="when the wait began, by the tenant's clock", unit="time", optional=True
    ),
    reports.Column(
        name="waited",
        label="Waited",
        meaning="so far, or until the wait was given up as unanswered",
        unit="seconds",
        optional=True,
    ),
)
_NUMBERS: Final = (
    reports.Column(
        name="waits",
        label="Waits",
        meaning="first unanswered messages of somebody in a channel or thread, unless taken back before an answer",
        unit="waits",
    ),
    reports.Column(
        name="answered",
        label="Answered",
        meaning="waits that somebody else's message ended; of a person, those that they ended",
        unit="waits",
    ),
    reports.Column(
        name="unanswered",
        label="Unanswered",
        meaning=f"waits that nobody ended within {_HOURS['group']} hours, {_HOURS['direct']} in a direct channel",
        unit="waits",
    ),
    reports.Column(name="waiting", label="Waiting", meaning="waits that may still be answered in time", unit="waits"),
    reports.Column(
        name="answered_percent",
        label="Answered, %",
        meaning="answered as a share of all waits but those that may still be answered",
        unit="percent",
        optional=True,
    ),
    *(
        reports.Column(
            name=name,
            label=label,
            meaning=f"the time in which {share:.0%} of the answers came",
            unit="seconds",
            optional=True,
        )
        for name, (label, share) in _SHARES.items()
    ),
    *(
        reports.Column(name=name, label=label, meaning=f"answers that took: {label.lower()}", unit="waits")
        for name, (label, _) in _BUCKETS.items()
    ),
)
COLUMNS: Final = (*_NUMBERS, *_OF_A_WAIT)

_WAITS: Final = (
    "array<struct<id: string, author: string, opened: bigint, end: string, answerer: string, seconds: double>>"
)


def response_times(tables: Mapping[str, DataFrame], span: Span, as_of: datetime) -> DataFrame:
    """(tenant, section, key) and `COLUMNS`, of the waits that began on the day."""
    waits = _waits(tables, span, as_of)
    answered, unanswered = fn.col("end") == End.ANSWERED.value, fn.col("end") == End.UNANSWERED.value
    places = fn.array_compact(
        fn.array(
            facts.place(facts.TOTAL, fn.lit("")),
            facts.place(facts.CHANNEL, fn.col("channel_id")),
            facts.place(facts.STEP, fn.col("step").cast("string")),
            fn.when(answered, facts.place(facts.PERSON, fn.col("answerer"))),
            fn.when(~answered, facts.place(_WAIT, fn.col("id"))),
        )
    )
    lows = (-1, *(bound for _, bound in _BUCKETS.values()))
    of_a_wait = fn.col("section") == _WAIT
    ended = fn.col("answered") + fn.col("unanswered")
    return (
        waits.withColumn("place", fn.explode(places))
        .groupBy("tenant", "place.section", "place.key")
        .agg(
            fn.count("*").alias("waits"),
            fn.count(fn.when(answered, True)).alias("answered"),
            fn.count(fn.when(unanswered, True)).alias("unanswered"),
            *(percentile("seconds", share).alias(name) for name, (_, share) in _SHARES.items()),
            *(
                fn.count(fn.when((fn.col("seconds") > low) & (fn.col("seconds") <= high), True)).alias(name)
                for low, (name, (_, high)) in zip(lows, _BUCKETS.items(), strict=False)
            ),
            fn.max("channel_id").alias("channel"),
            *(fn.max(name).alias(name) for name in ("author", "since", "waited")),
        )
        .withColumn("waiting", fn.col("waits") - ended)
        .withColumn("answered_percent", percent(fn.col("answered"), ended))
        .withColumns({column.name: fn.when(of_a_wait, fn.col(column.name)) for column in _OF_A_WAIT})
        .select("tenant", "section", "key", *(column.name for column in COLUMNS))
    )


def _waits(tables: Mapping[str, DataFrame], span: Span, as_of: datetime) -> DataFrame:
    """A row for each wait that began on the day: the fields of `_WAITS`, and where, in which step and how long."""
    direct = fn.get_json_object("properties", "$.channel_type") == "direct"
    said = facts.moderated(facts.happened(tables, span)).where(
        (fn.col("type") == MESSAGE_SENT)
        & (fn.col("outcome") == "events")
        & ~fn.col("is_bot")
        & fn.col("channel_id").isNotNull()
        & fn.col("author").isNotNull()
    )
    line = fn.struct(
        fn.unix_micros("time").alias("time"),
        fn.col("target").alias("id"),
        "author",
        "reply_to",
        fn.unix_micros("deleted_at").alias("deleted"),
        "elsewhere",
    )
    # A thread's first message waits outside of it, where what is said in the thread answers and asks nothing.
    in_thread = said.where(fn.col("thread_id") != fn.col("target")).withColumns(
        {
            "reply_to": fn.coalesce("reply_to", "thread_id"),
            "thread_id": fn.lit(None).cast("string"),
            "deleted_at": fn.lit(None).cast("timestamp"),
            "elsewhere": fn.lit(True),
        }
    )
    known = _micros(as_of)
    conversation = fn.udf(lambda lines, direct: list(_converse(lines, direct, known)), _WAITS)
    opened = fn.timestamp_micros("opened")
    group, between_two = (patience.total_seconds() for patience in (GROUP_PATIENCE, DIRECT_PATIENCE))
    so_far = fn.round((fn.lit(known) - fn.col("opened")) / 1_000_000, 1)
    given_up = fn.when(fn.col("direct"), between_two).otherwise(group)
    return (
        said.withColumn("elsewhere", fn.lit(False))
        .unionByName(in_thread)
        .groupBy("tenant", "channel_id", "thread_id")
        .agg(
            fn.array_sort(fn.collect_list(line)).alias("lines"),
            fn.max(fn.coalesce(direct, fn.lit(False))).alias("direct"),
        )
        .select("tenant", "channel_id", "direct", fn.inline(conversation("lines", "direct")))
        .where((opened >= fn.lit(span.start)) & (opened < fn.lit(span.end)))
        .withColumn("step", facts.step(opened, span))
        .withColumn("since", fn.date_format(fn.from_utc_timestamp(opened, span.zone.key), "yyyy-MM-dd HH:mm:ss"))
        .withColumn("waited", fn.when(fn.col("end") == End.OPEN.value, so_far).otherwise(given_up))
    )


def _converse(lines: Sequence[Any], direct: bool, known: int) -> Iterator[tuple[Any, ...]]:
    """The waits of one conversation: its messages, and the deletes of some, in the order of their times."""
    conversation = Conversation(DIRECT_PATIENCE if direct else GROUP_PATIENCE)
    deletes = sorted((max(line.deleted, line.time), line.id) for line in lines if line.deleted is not None)
    for moment, line in merge(
        ((line.time, line) for line in lines), ((at, message) for at, message in deletes), key=itemgetter(0)
    ):
        if isinstance(line, str):
            yield from map(_row, conversation.delete(line, _moment(moment)))
            continue
        said = Said(line.id, line.author, _moment(moment), line.reply_to)
        yield from map(_row, conversation.answer(said) if line.elsewhere else conversation.say(said))
    last = lines[-1].time
    yield from map(_row, conversation.close(_moment(max(last, known))))


def _row(wait: Wait) -> tuple[Any, ...]:
    answerer = wait.answer and wait.answer.author
    return (wait.opened.id, wait.opened.author, _micros(wait.opened.time), wait.end.value, answerer, wait.seconds)


def _moment(micros: int) -> datetime:
    return _EPOCH + micros * _MICROSECOND


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


RESPONSE_TIMES: Final = Report(
    name="response-times",
    title="Response times",
    meaning="How long people waited for an answer that day, who answered, and who still waits.",
    calendar="tenant",
    tables=(EVENTS,),
    query=response_times,
    columns=COLUMNS,
    headline=("median", "p90", "answered_percent", "unanswered", "waiting"),
    figures=tuple(column.name for column in _NUMBERS),
    shapes=(
        Shape(
            name="hours",
            section=facts.STEP,
            title="Through the day",
            kind="series",
            key="start",
            columns=("waits", "unanswered"),
        ),
        Shape(
            name="answerers",
            section=facts.PERSON,
            title="Who answered",
            kind="ranking",
            key="user",
            columns=("answered", "median"),
            order=("answered",),
            most=10,
        ),
        Shape(
            name="unanswered",
            section=_WAIT,
            title="Without an answer",
            kind="table",
            key="message",
            columns=("channel", "author", "since", "waited"),
            order=("waited",),
            most=200,
        ),
        Shape(
            name="channels",
            section=facts.CHANNEL,
            title="Every channel",
            kind="table",
            key="channel",
            columns=("waits", "answered", "unanswered", "waiting", "answered_percent", "median", "p90"),
            order=("waits",),
            most=2_000,
        ),
    ),
    rule=_RULE,
    before=_BEFORE,
    after=_AFTER,
)
