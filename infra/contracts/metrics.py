"""The metric registry: every published number, what it means and which measures it is made of.

Meanings follow docs/metrics.md. A measure is a column of `metric_windows`; a metric is what people see of it. What is
declared here is all there is to a measure or a metric: the streaming column, the exact count, the API's catalogue, the
dashboard's tiles and the documentation are made from it.
"""

from dataclasses import dataclass
from typing import Final, Literal

from infra.contracts.events import (
    CHANNEL_JOINED,
    MESSAGE_DELETED,
    MESSAGE_EDITED,
    MESSAGE_SENT,
    REACTION_ADDED,
    RECEIPT_READ,
    Event,
)
from infra.contracts.windows import DAY, GRAINS, HOUR, MINUTE, Grain

#: HyperLogLog precision of every distinct count: 2^12 buckets, standard error 1.04/sqrt(2^12) = 1.6 %.
SKETCH_LG_K: Final = 12
SKETCH_ERROR: Final = 1.04 / (2**SKETCH_LG_K) ** 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One column of a metric window.

    `count` adds up the events of `types`, and of `replies` those that answer a message, with that `outcome`; `distinct`
    sketches their authors. Bots never count; what was held or blocked counts only in the measure named for it.
    """

    name: str
    kind: Literal["count", "distinct"]
    types: frozenset[str]
    replies: frozenset[str] = frozenset()
    outcome: Literal["events", "held", "blocked"] = "events"

    def takes(self, event: Event, outcome: str | None) -> bool:
        """Whether an event of a person with this outcome counts in it."""
        counted = event.type in self.types or (event.type in self.replies and event.is_reply)
        return counted and outcome == self.outcome


_ACTIVE = frozenset({MESSAGE_SENT, MESSAGE_EDITED, REACTION_ADDED, RECEIPT_READ, CHANNEL_JOINED})
_SENT = frozenset({MESSAGE_SENT})

MEASURES: Final = (
    Measure(name="sent", kind="count", types=_SENT),
    Measure(name="edited", kind="count", types=frozenset({MESSAGE_EDITED})),
    Measure(name="deleted", kind="count", types=frozenset({MESSAGE_DELETED})),
    Measure(name="held", kind="count", types=_SENT | {MESSAGE_EDITED}, outcome="held"),
    Measure(name="blocked", kind="count", types=_SENT | {MESSAGE_EDITED}, outcome="blocked"),
    Measure(name="reactions", kind="count", types=frozenset({REACTION_ADDED})),
    Measure(name="contributors", kind="distinct", types=_SENT),
    Measure(name="active", kind="distinct", types=_ACTIVE),
    Measure(name="responders", kind="distinct", types=frozenset({REACTION_ADDED}), replies=_SENT),
)
COUNTS: Final = tuple(m for m in MEASURES if m.kind == "count")
DISTINCTS: Final = tuple(m for m in MEASURES if m.kind == "distinct")
_PEOPLE: Final = frozenset(m.name for m in DISTINCTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a metric reads: some counts of a window added up, or the people of one measure.

    Over several `days` they are the different people of the UTC days that end with the window, which is a day then.
    `by` a finer grain it is one of the finer windows within: the greatest, the one that 95 % do not exceed, or what
    each would have if all had the same. Those in which nothing happened, or which have not come, are 0.
    """

    measures: tuple[str, ...]
    days: int = 1
    by: Grain | None = None
    pick: Literal["peak", "p95", "mean"] = "peak"

    @property
    def counts_people(self) -> bool:
        """Whether it is an estimate, wherever it was not counted from the archive."""
        return not _PEOPLE.isdisjoint(self.measures)

    def __str__(self) -> str:
        added = self.measures[0] if len(self.measures) == 1 else f"({' + '.join(self.measures)})"
        if self.by is not None:
            return f"{self.pick} of {added} by {self.by.name}"
        return f"{added} in {self.days} days" if self.days > 1 else added


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One published number: `of`, divided by `per` where there is one. A window with nothing to divide by has none."""

    name: str
    label: str
    """What it is called where people see it."""
    meaning: str
    unit: str
    of: Part
    per: Part | None = None
    scopes: tuple[str, ...] = ("tenant", "channel")
    grains: tuple[str, ...] = tuple(grain.name for grain in GRAINS)
    tiles: tuple[str, ...] = ()
    """The grains of which the dashboard shows the current window."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """What it is made of."""
        return (self.of,) if self.per is None else (self.of, self.per)

    @property
    def measures(self) -> tuple[str, ...]:
        """The measures it is made of, each once."""
        return tuple(dict.fromkeys(name for part in self.parts for name in part.measures))

    @property
    def measure(self) -> str | None:
        """The one measure it shows as it is; None where it is made of several, or of several windows."""
        return self.of.measures[0] if self.per is None and len(self.measures) == 1 and self.is_of_window else None

    @property
    def is_of_window(self) -> bool:
        """Whether it is made of its own window alone."""
        return all(part.days == 1 and part.by is None for part in self.parts)

    @property
    def days(self) -> int:
        """How many days that end with a window it reads."""
        return max(part.days for part in self.parts)

    @property
    def formula(self) -> str:
        """What it is made of, in words."""
        return str(self.of) if self.per is None else f"{self.of} / {self.per}"

    @property
    def error(self) -> float | None:
        """The relative standard error, as of independent sketches; None for a metric that counts."""
        sketches = sum(part.counts_people for part in self.parts)
        return SKETCH_ERROR * sketches**0.5 if sketches else None

    @property
    def approximate(self) -> bool:
        """Whether it is an estimate."""
        return self.error is not None


def _measure(name: str) -> Part:
    return Part(measures=(name,))


_TODAY: Final = _measure("active")
_WEEK: Final = Part(measures=("active",), days=7)
_MONTH: Final = Part(measures=("active",), days=30)
_DAYS: Final = (DAY.name,)

METRICS: Final = {
    metric.name: metric
    for metric in (
        Metric(
            name="messages_sent",
            label="Messages",
            meaning="messages sent by people",
            unit="messages",
            of=_measure("sent"),
            tiles=("1d",),
        ),
        Metric(
            name="messages_edited",
            label="Edits",
            meaning="edits made, at the time of the edit",
            unit="edits",
            of=_measure("edited"),
        ),
        Metric(
            name="messages_deleted",
            label="Deletes",
            meaning="deletes made, at the time of the delete",
            unit="deletes",
            of=_measure("deleted"),
        ),
        Metric(
            name="messages_held",
            label="Held",
            meaning="messages held back for review",
            unit="messages",
            of=_measure("held"),
        ),
        Metric(
            name="messages_blocked",
            label="Blocked",
            meaning="messages blocked by a rule",
            unit="messages",
            of=_measure("blocked"),
        ),
        Metric(
            name="reactions_added",
            label="Reactions",
            meaning="reactions added",
            unit="reactions",
            of=_measure("reactions"),
            tiles=("1d",),
        ),
        Metric(
            name="contributors",
            label="Contributors",
            meaning="distinct people who sent at least one message",
            unit="people",
            of=_measure("contributors"),
            tiles=("1d",),
        ),
        Metric(
            name="active_users",
            label="Active",
            meaning="distinct people who sent, edited, reacted, read or joined",
            unit="people",
            of=_measure("active"),
            tiles=("1d", "1h"),
        ),
        Metric(
            name="responders",
            label="Responders",
            meaning="distinct people who reacted or replied to a message",
            unit="people",
            of=_measure("responders"),
        ),
        Metric(
            name="messages_per_sender",
            label="Messages per sender",
            meaning="messages sent, divided by the people who sent them",
            unit="messages",
            of=_measure("sent"),
            per=_measure("contributors"),
            tiles=("1d",),
        ),
        Metric(
            name="reaction_rate",
            label="Reactions per message",
            meaning="reactions added, divided by the messages sent",
            unit="ratio",
            of=_measure("reactions"),
            per=_measure("sent"),
            tiles=("1d",),
        ),
        Metric(
            name="flagged_rate",
            label="Flagged",
            meaning="held or blocked, as a share of the messages and edits that people tried to send",
            unit="share",
            of=Part(measures=("held", "blocked")),
            per=Part(measures=("sent", "edited", "held", "blocked")),
            tiles=("1d",),
        ),
        Metric(
            name="peak_messages_per_minute",
            label="Peak per minute",
            meaning="messages sent in the hour's busiest minute",
            unit="messages",
            of=Part(measures=("sent",), by=MINUTE),
            grains=(HOUR.name,),
        ),
        Metric(
            name="p95_messages_per_minute",
            label="95 % of minutes",
            meaning="messages sent in a minute that 57 of the hour's 60 do not exceed",
            unit="messages",
            of=Part(measures=("sent",), by=MINUTE, pick="p95"),
            grains=(HOUR.name,),
        ),
        Metric(
            name="peak_hour_factor",
            label="Peak factor",
            meaning="messages in the busiest hour of the UTC day, by the average over its 24: 1 is flat",
            unit="ratio",
            of=Part(measures=("sent",), by=HOUR),
            per=Part(measures=("sent",), by=HOUR, pick="mean"),
            grains=_DAYS,
        ),
        Metric(
            name="dau",
            label="DAU",
            meaning="people active on the day",
            unit="people",
            of=_TODAY,
            grains=_DAYS,
        ),
        Metric(
            name="wau",
            label="WAU",
            meaning=f"people active in the {_WEEK.days} days that end with the day",
            unit="people",
            of=_WEEK,
            grains=_DAYS,
            tiles=_DAYS,
        ),
        Metric(
            name="mau",
            label="MAU",
            meaning=f"people active in the {_MONTH.days} days that end with the day",
            unit="people",
            of=_MONTH,
            grains=_DAYS,
            tiles=_DAYS,
        ),
        Metric(
            name="stickiness",
            label="Stickiness",
            meaning="DAU / MAU: how many of a month's people came on the day",
            unit="share",
            of=_TODAY,
            per=_MONTH,
            grains=_DAYS,
            tiles=_DAYS,
        ),
    )
}

TENANT_SCOPE: Final = "tenant"


def channel_scope(channel_id: str) -> str:
    """The scope of one channel's windows."""
    return f"channel:{channel_id}"


def user_scope(user_id: str) -> str:
    """The scope of one user's windows."""
    return f"user:{user_id}"
