"""Held messages and what moderators decided."""

from datetime import datetime

from pydantic import BaseModel, Field

from api.models.base import Model
from api.models.history import MessageBody


class HeldVerdictBody(BaseModel):
    """Which rule decided, and why."""

    action: str
    rule: str
    version: int
    reason: str
    matches: int = 1
    severity: str = "medium"


class DecisionBody(Model):
    """One decision of a moderator."""

    id: str
    verb: str
    """`release`, `reject` or `block`."""
    decided_at: datetime
    decided_by: str
    """Name of the key and the start of its hash."""
    channel_id: str | None = None
    message_id: str
    held_event_id: str | None = None
    user_id: str | None = None
    rule: str | None = None
    moderator: str | None = None
    reason: str | None = None


class HeldBody(Model):
    """One event that was held or blocked."""

    held_id: str
    type: str
    channel_id: str | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    time: datetime
    received_at: datetime | None = None
    verdict: HeldVerdictBody
    src: str | None = None
    state: str
    """`waiting`, `released` or `rejected`; hiding wins where both were decided."""
    message_id: str
    event_id: str
    text: str | None = None
    """Only with scope `moderate`."""
    decisions: list[DecisionBody] = Field(default_factory=list)
    """Only with scope `moderate`."""


class HeldListBody(Model):
    """What was held or blocked on one UTC day, newest ids first."""

    day: str
    held: list[HeldBody]
    more: bool
    decide_at: str
    """Where ingest takes decisions: `POST {decide_at}/v1/held/{held_id}/release`."""


class RecordOfUserBody(Model):
    """What became of a user's events in the last days; each kind up to `most`, beyond which it is not counted on."""

    user_id: str
    days: int
    held: int
    blocked: int
    """By a rule."""
    released: int
    rejected: int
    taken_down: int
    """By a moderator, after the fact."""
    more: bool


class HeldOneBody(Model):
    """One event that was held or blocked, what was said before it and what else its user did."""

    held: HeldBody
    context: list[MessageBody]
    """Up to ten messages before it in its channel, newest first."""
    record: RecordOfUserBody
    decide_at: str


class DecisionsBody(Model):
    """The audit trail of one UTC day, newest first."""

    day: str
    decisions: list[DecisionBody]
    more: bool
