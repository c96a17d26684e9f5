"""What stands in the `held`, `verdicts` and `accounting` topics."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Literal

import msgspec

from infra.contracts.events import Event


class Action(StrEnum):
    """What a rule asks for, mildest first."""

    ALLOW = "allow"
    MASK = "mask"
    HOLD = "hold"
    BLOCK = "block"


class Severity(StrEnum):
    """How much a rule's finding matters to who reviews it, mildest first."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Verdict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One decision about one event: which rule, in which version, and why. It never quotes the text.

    What a rule in `shadow` asks for is noted and not done.
    """

    action: Action
    rule: str
    version: int
    reason: str
    matches: int = 1
    severity: Severity = Severity.MEDIUM
    shadow: bool = False


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """An event a rule held or blocked, as received, with the verdict that stopped it."""

    event: Event
    verdict: Verdict


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict and the event it is about, without its text.

    On historical events, and by a rule in shadow, it is recorded and not applied.
    """

    tenant: str
    event_id: str
    channel_id: str | None
    received_at: datetime
    verdict: Verdict
    applied: bool = True


Outcome = Literal["events", "signals", "held", "blocked", "dlq", "duplicates"]
#: Each element of an input record ends in exactly one of these; together they are what was accepted.
OUTCOMES: tuple[Outcome, ...] = ("events", "signals", "held", "blocked", "dlq", "duplicates")


class Accounting(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one input record: elements by tenant and outcome. `appended_at` is the record's own time.

    A dead letter whose tenant cannot be read counts under the empty tenant. `accepted` is the number of elements in
    the record, counted before any of them is judged.
    """

    appended_at: datetime
    accepted: int
    tenants: Mapping[str, Mapping[str, int]]

    @property
    def balanced(self) -> bool:
        """accepted = events + signals + held + blocked + dlq + duplicates."""
        return self.accepted == sum(sum(outcomes.values()) for outcomes in self.tenants.values())


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One window in the `metrics` topic, published each time its values change. `values` is by measure.

    `as_of` is when it was stored; `watermark` the event time up to which windows were final then.
    """

    tenant: str
    scope: str
    grain: str
    start: datetime
    end: datetime
    values: Mapping[str, int]
    revision: int
    as_of: datetime
    watermark: datetime | None
