"""What became of one event, and of every minute."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from api.models.base import Model


class SrcBody(Model):
    """One element of one record of the log."""

    topic: str
    partition: int
    offset: int
    index: int | None = None


class AcceptBody(Model):
    """How the event came in."""

    received_at: datetime | None = None
    source: str | None = None
    request_id: str | None = None
    src: SrcBody | None = None


class RecordBody(Model):
    """Where the event stands in the log."""

    outcome: str
    topic: str
    partition: int
    offset: int
    appended_at: datetime
    code: str | None = None
    """Of a dead letter: why."""


class HistoryBody(Model):
    """The row the event made or changed."""

    channel_id: str
    message_id: str
    sent_at: datetime
    bucket: int
    state: str
    """`created`, `edited`, `deleted` or `waiting` for its create."""


class CountedBody(Model):
    """A minute window the event belongs to."""

    scope: str
    grain: str
    start: datetime
    end: datetime
    metrics: list[str]
    written: bool
    """Whether the window has been written."""
    final: bool


class TraceBody(Model):
    """What became of one event."""

    id: str
    type: str | None = None
    accept: AcceptBody | None = None
    outcome: str | None = None
    verdict: dict[str, Any] | None = None
    records: list[RecordBody]
    history: HistoryBody | None = None
    windows: list[CountedBody]
    looked: list[str]
    seconds: float


class LedgerMinuteBody(Model):
    """A minute of input records by their append time: accepted = events + signals + held + blocked + dlq + duplicates.

    `accepted` is counted in the input itself, `duplicates` is the router's claim, the rest is counted where it stands.
    """

    start: datetime
    end: datetime
    state: str
    """`open`, `balanced`, `late`: a stage has not followed in its time, or `different`: something is not where it
    should be."""
    stage: str | None
    """The first stage that is late or different: `ingest-to-router`, `router-to-topics`, `topics-to-ledger`,
    `topics-to-history` or `topics-to-analytics`."""
    expected: int | None
    """How many elements that stage was to have."""
    found: int | None
    """How many it has."""
    src: str | None
    """An input record that shows it: topic/partition/offset."""
    accepted: int
    events: int
    signals: int
    held: int
    blocked: int
    dlq: int
    duplicates: int


class LedgerBody(Model):
    """The ledger of the newest minutes, oldest first. Nothing was accepted in a minute without entry."""

    minutes: list[LedgerMinuteBody]
    since: Annotated[datetime, Field(alias="from")]
    until: Annotated[datetime, Field(alias="to")]
    """Exclusive: the end of the minute that is now."""
    as_of: datetime | None
    """When the ledger last compared; null before the first time."""
    watermark: datetime | None
    """All that was accepted before this moment has been read."""
    lag_seconds: float | None
    """How far the watermark is behind the clock."""
