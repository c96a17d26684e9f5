"""The metric registry: every published number, what it means and which measure it is read from.

Meanings follow docs/metrics.md. A measure is a column of `metric_windows`; a metric is what people see of it.
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
)
from infra.contracts.windows import GRAINS

#: HyperLogLog precision of every distinct count: 2^12 buckets, standard error 1.04/sqrt(2^12) = 1.6 %.
SKETCH_LG_K: Final = 12
SKETCH_ERROR: Final = 1.04 / (2**SKETCH_LG_K) ** 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One column of a metric window.

    `count` adds up the events of `types` with that `outcome`; `distinct` sketches their authors. Bots never count;
    what was held or blocked counts only in the measure named for it.
    """

    name: str
    kind: Literal["count", "distinct"]
    types: frozenset[str]
    outcome: Literal["events", "held", "blocked"] = "events"


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
)
COUNTS: Final = tuple(m for m in MEASURES if m.kind == "count")
DISTINCTS: Final = tuple(m for m in MEASURES if m.kind == "distinct")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One published number. `approximate` metrics carry `SKETCH_ERROR` as their relative standard error."""

    name: str
    meaning: str
    unit: str
    measure: str
    approximate: bool = False
    scopes: tuple[str, ...] = ("tenant", "channel")
    grains: tuple[str, ...] = tuple(grain.name for grain in GRAINS)

    @property
    def error(self) -> float | None:
        """The relative standard error; None for a metric that counts."""
        return SKETCH_ERROR if self.approximate else None


METRICS: Final = {
    metric.name: metric
    for metric in (
        Metric(name="messages_sent", meaning="messages sent by people", unit="messages", measure="sent"),
        Metric(name="messages_edited", meaning="edits made, at the time of the edit", unit="edits", measure="edited"),
        Metric(
            name="messages_deleted",
            meaning="deletes made, at the time of the delete",
            unit="deletes",
            measure="deleted",
        ),
        Metric(name="messages_held", meaning="messages held back for review", unit="messages", measure="held"),
        Metric(name="messages_blocked", meaning="messages blocked by a rule", unit="messages", measure="blocked"),
        Metric(name="reactions_added", meaning="reactions added", unit="reactions", measure="reactions"),
        Metric(
            name="contributors",
            meaning="distinct people who sent at least one message",
            unit="people",
            measure="contributors",
            approximate=True,
        ),
        Metric(
            name="active_users",
            meaning="distinct people who sent, edited, reacted, read or joined",
            unit="people",
            measure="active",
            approximate=True,
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
