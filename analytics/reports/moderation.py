"""`moderation`: what people tried to say in a week, what rules and moderators did about it, and how long that took.

Rules in shadow stand beside: what each would have done, and what became of the same messages.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as fn

from analytics.reports import facts, trail
from analytics.reports.report import Report, Shape
from analytics.reports.shares import percent, percentile
from analytics.reports.spans import Span
from infra.contracts import reports
from infra.contracts.archive import EVENTS, HELD, VERDICTS
from infra.contracts.events import MESSAGE_BLOCKED, MESSAGE_EDITED, MESSAGE_SENT
from infra.contracts.records import Action
from infra.contracts.review import Verb

#: Sections with a row a rule, a row a rule in shadow, and a row a message that waits.
_BY_RULE: Final = "rule"
_SHADOW: Final = "shadow"
_WAIT: Final = "wait"
_MICROSECONDS: Final = 1_000_000
_SHARES: Final = {"median": 0.5, "p90": 0.9}
_RULE: Final = (
    "Messages and edits count in the week they were sent, with what became of them by the time of the report; a "
    "decision that comes later makes it again under a higher revision. Each counts once: one that was released is "
    "among those held, and not tried twice. Hiding is the last word: what was released and then taken down counts as "
    "rejected. Flagged is what a rule held or blocked or a moderator took down. The time to a decision is from when "
    "Hubbub received what it held to the first decision about it. Who decided, and when something was released, stands "
    "in the audit trail and not in the archive; a decision that is not there counts without a moderator and a time. A "
    "rule in shadow stops nothing: its list says what it would have done, and of the same messages how many other "
    "rules or a moderator stopped, and how many of those a moderator released. Imported history is not in it."
    "\n\nAn example: of six messages held, two were released after 10 and 20 minutes, one was rejected after 30, and "
    "three wait. The median is 20 minutes, and 66.7 % of what was decided about was released."
)

_COUNTS: Final = (
    reports.Column(
        name="tried", label="Tried", meaning="messages and edits that people tried to send", unit="messages"
    ),
    reports.Column(
        name="flagged",
        label="Flagged",
        meaning="of these, held or blocked by a rule or taken down by a moderator since",
        unit="messages",
    ),
    reports.Column(name="held", label="Held", meaning="held back for review", unit="messages"),
    reports.Column(name="blocked", label="Blocked", meaning="blocked by a rule", unit="messages"),
    reports.Column(
        name="taken_down",
        label="Taken down",
        meaning="messages that no rule stopped and a moderator took down since",
        unit="messages",
    ),
    reports.Column(
        name="released", label="Released", meaning="shown by a moderator after a rule stopped them", unit="messages"
    ),
    reports.Column(
        name="rejected",
        label="Rejected",
        meaning="kept hidden by a moderator after a rule stopped them",
        unit="messages",
    ),
    reports.Column(name="waiting", label="Waiting", meaning="held, and not decided about yet", unit="messages"),
    reports.Column(
        name="masked",
        label="Masked",
        meaning="shown with words masked by a rule",
        unit="messages",
    ),
)
_WOULD: Final = {
    "would_hold": (Action.HOLD, "Would hold", "held back"),
    "would_block": (Action.BLOCK, "Would block", "blocked"),
    "would_mask": (Action.MASK, "Would mask", "shown with words masked"),
}
COLUMNS: Final = (
    *_COUNTS,
    *(
        reports.Column(
            name=name,
            label=label,
            meaning=f"messages that this rule, if it were not in shadow, would have {done}",
            unit="messages",
        )
        for name, (_, label, done) in _WOULD.items()
    ),
    reports.Column(
        name="flagged_percent",
        label="Flagged, %",
        meaning="flagged as a share of what people tried to send",
        unit="percent",
        optional=True,
    ),
    reports.Column(
        name="released_percent",
        label="Released, %",
        meaning="released as a share of what a rule stopped and a moderator decided about",
        unit="percent",
        optional=True,
    ),
    *(
        reports.Column(
            name=name,
            label=label,
            meaning=f"the time within which {_SHARES[name]:.0%} of what was held and decided about was decided",
            unit="seconds",
            optional=True,
        )
        for name, label in (("median", "Median to a decision"), ("p90", "90 % to a decision"))
    ),
    reports.Column(
        name="decisions",
        label="Decisions",
        meaning="messages whose release, reject or block was this moderator's",
        unit="messages",
    ),
    reports.Column(name="channel", label="Channel", meaning="where it would stand", unit="channel", optional=True),
    reports.Column(name="author", label="Author", meaning="who wrote it", unit="person", optional=True),
    reports.Column(name="by_rule", label="Rule", meaning="what held it", unit="rule", optional=True),
    reports.Column(
        name="since", label="Since", meaning="when it was sent, by the tenant's clock", unit="time", optional=True
    ),
)
_NUMBERS: Final = tuple(column.name for column in _COUNTS)
_OF_A_WAIT: Final = ("channel", "author", "by_rule", "since")


def moderation(tables: Mapping[str, DataFrame], span: Span, as_of: datetime) -> DataFrame:
    """(tenant, section, key) and `COLUMNS`; null where a number says nothing."""
    stopped = fn.col("held") | fn.col("blocked")
    rule = fn.when(stopped | fn.col("masked"), fn.split("rule", ","))
    decided = fn.col("released") | fn.col("rejected") | fn.col("taken_down")
    one_each = fn.array(
        facts.place(facts.TOTAL, fn.lit("")),
        facts.place(facts.STEP, fn.col("step").cast("string")),
        fn.when(fn.col("channel_id").isNotNull(), facts.place(facts.CHANNEL, fn.col("channel_id"))),
        fn.when(decided & fn.col("moderator").isNotNull(), facts.place(facts.PERSON, fn.col("moderator"))),
        fn.when(fn.col("waiting"), facts.place(_WAIT, fn.col("id"))),
    )
    by_rule = fn.transform(
        fn.coalesce(rule, fn.array().cast("array<string>")), lambda name: facts.place(_BY_RULE, name)
    )
    places = fn.transform(
        fn.concat(fn.array_compact(one_each), by_rule),
        lambda place: place.withField("would", fn.lit(None).cast("string")),
    )
    in_shadow = fn.transform(
        fn.coalesce("noted", fn.array().cast("array<struct<rule:string,action:string>>")),
        lambda verdict: facts.place(_SHADOW, verdict["rule"]).withField("would", verdict["action"]),
    )
    of_a_wait = fn.col("section") == _WAIT
    judged = fn.col("released") + fn.col("rejected")
    return (
        _messages(tables, span)
        .withColumn("place", fn.explode(fn.concat(places, in_shadow)))
        .groupBy("tenant", "place.section", "place.key")
        .agg(
            *(fn.count(fn.when(fn.col(name), True)).alias(name) for name in _NUMBERS),
            *(
                fn.count(fn.when(fn.col("place.would") == action.value, True)).alias(name)
                for name, (action, *_) in _WOULD.items()
            ),
            *(percentile("seconds", share).alias(name) for name, share in _SHARES.items()),
            fn.max("channel_id").alias("channel"),
            fn.max("author").alias("author"),
            fn.max("rule").alias("by_rule"),
            fn.max("since").alias("since"),
        )
        # A channel in which nothing was flagged is none that a moderator looks for.
        .where((fn.col("section") != facts.CHANNEL) | (fn.col("flagged") > 0))
        .withColumn("flagged_percent", percent(fn.col("flagged"), fn.col("tried")))
        .withColumn("released_percent", percent(fn.col("released"), judged))
        .withColumn("decisions", fn.when(fn.col("section") == facts.PERSON, judged + fn.col("taken_down")))
        .withColumns({name: fn.when(of_a_wait, fn.col(name)) for name in _OF_A_WAIT})
        .select("tenant", "section", "key", *(column.name for column in COLUMNS))
    )


def _messages(tables: Mapping[str, DataFrame], span: Span) -> DataFrame:
    """A row for each message or edit that people tried to send: whether each of `_NUMBERS`, who decided and how soon.

    What was released stands in the archive twice: as it was held, and late among the events, which is left out here.
    """
    happened = facts.happened(tables, span).where(
        ~fn.col("is_bot") & fn.col("type").isin(MESSAGE_SENT, MESSAGE_EDITED) & (fn.col("step") >= 0)
    )
    shown = fn.col("outcome") == "events"
    released = happened.where(shown & fn.col("late")).select("tenant", "id", fn.lit(True).alias("shown_late"))
    late = fn.coalesce("shown_late", fn.lit(False))
    # A reject hides what was held by its own id; a block after a release by that of its message.
    hidden = ~shown & (fn.coalesce("hidden", fn.lit(False)) | (fn.col("taken_down") & late))
    about = fn.when(shown, fn.col("target")).otherwise(fn.col("id"))
    flags: dict[str, Column] = {
        "rejected": hidden,
        "released": ~shown & ~hidden & late,
        "waiting": (fn.col("outcome") == "held") & ~hidden & ~late,
        "held": fn.col("outcome") == "held",
        "blocked": fn.col("outcome") == "blocked",
        "taken_down": shown & fn.col("taken_down") & (fn.col("type") == MESSAGE_SENT),
        # A verdict on imported history is noted and not carried out.
        "masked": shown & fn.col("rule").isNotNull() & ~fn.col("historical"),
    }
    flagged = fn.col("held") | fn.col("blocked") | fn.col("taken_down")
    took = (fn.unix_micros("decided_at") - fn.unix_micros("received_at")) / _MICROSECONDS
    return (
        happened.where(~(shown & fn.col("late")))
        .join(released, ["tenant", "id"], "left")
        .join(_hidden(tables[EVENTS.name], span), ["tenant", "id"], "left")
        .join(_in_shadow(tables[VERDICTS.name], span), ["tenant", "id"], "left")
        .withColumns(flags)
        .withColumns({"tried": fn.lit(True), "flagged": flagged, "about": about})
        .join(_decided(tables[trail.DECISIONS]), ["tenant", "about"], "left")
        .withColumn("noted", fn.when(~fn.col("historical"), fn.col("noted")))
        .withColumn("moderator", fn.when(fn.col("released"), fn.col("released_by")).otherwise(fn.col("hidden_by")))
        .withColumn("seconds", fn.when(fn.col("held") & ~fn.col("waiting"), took))
        .withColumn("since", fn.date_format(fn.from_utc_timestamp("time", span.zone.key), "yyyy-MM-dd HH:mm:ss"))
    )


def _hidden(events: DataFrame, span: Span) -> DataFrame:
    """The ids that a moderator's decision hides."""
    since = span.utc_days[0] - facts.APART
    return (
        events.where((fn.col("day") >= fn.lit(since)) & (fn.col("type") == MESSAGE_BLOCKED))
        .select("tenant", fn.col("message_id").alias("id"), fn.lit(True).alias("hidden"))
        .distinct()
    )


def _in_shadow(verdicts: DataFrame, span: Span) -> DataFrame:
    """(tenant, id, noted): which rules in shadow found something in an event, and what each asked for."""
    found = fn.struct(fn.concat_ws("@", "rule", "rule_version").alias("rule"), "action")
    return (
        # A verdict stands in the day its event was received, which is not before the day it was sent.
        verdicts.where((fn.col("day") >= fn.lit(span.utc_days[0])) & fn.col("shadow"))
        .groupBy("tenant", fn.col("event_id").alias("id"))
        .agg(fn.collect_set(found).alias("noted"))
    )


def _decided(decisions: DataFrame) -> DataFrame:
    """(tenant, about): when it was first decided about, and who released and who first hid it."""
    releases = fn.col("verb") == Verb.RELEASE.value
    order = fn.struct("decided_at", "moderator")
    return decisions.groupBy("tenant", "about").agg(
        fn.min("decided_at").alias("decided_at"),
        fn.min_by("moderator", fn.when(releases, order)).alias("released_by"),
        fn.min_by("moderator", fn.when(~releases, order)).alias("hidden_by"),
    )


MODERATION: Final = Report(
    name="moderation",
    title="Moderation",
    meaning="What rules and moderators stopped of what people tried to say in one calendar week, and how soon.",
    calendar="tenant",
    tables=(EVENTS, HELD, VERDICTS),
    query=moderation,
    columns=COLUMNS,
    headline=("held", "blocked", "taken_down", "waiting", "median"),
    figures=(*_NUMBERS, "flagged_percent", "released_percent", "median", "p90"),
    shapes=(
        Shape(
            name="days",
            section=facts.STEP,
            title="Day by day",
            kind="series",
            key="day",
            columns=("tried", "flagged", "waiting"),
        ),
        Shape(
            name="rules",
            section=_BY_RULE,
            title="By rule",
            kind="table",
            key="rule",
            columns=(
                *("held", "blocked", "masked", "released", "rejected", "waiting"),
                *("released_percent", "median"),
            ),
            order=("held", "blocked", "masked"),
            most=200,
        ),
        Shape(
            name="shadows",
            section=_SHADOW,
            title="In shadow: would have been stopped",
            kind="table",
            key="rule",
            columns=(*_WOULD, "flagged", "taken_down", "released", "flagged_percent"),
            order=("would_block", "would_hold", "would_mask"),
            most=200,
        ),
        Shape(
            name="moderators",
            section=facts.PERSON,
            title="Who decided",
            kind="ranking",
            key="moderator",
            columns=("decisions", "released", "rejected", "taken_down", "median"),
            order=("decisions",),
            most=20,
        ),
        Shape(
            name="channels",
            section=facts.CHANNEL,
            title="Channels with something flagged",
            kind="table",
            key="channel",
            columns=("tried", "flagged", "flagged_percent", "held", "blocked", "taken_down", "waiting"),
            order=("flagged", "tried"),
            most=2_000,
        ),
        Shape(
            name="waiting",
            section=_WAIT,
            title="Still waiting",
            kind="table",
            key="event",
            columns=("channel", "author", "by_rule", "since"),
            most=200,
        ),
    ),
    reviewed=True,
    grain="week",
    rule=_RULE,
)
