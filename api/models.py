"""Shapes of replies and request bodies, as the OpenAPI document shows them. Replies are written with msgspec."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class Model(BaseModel):
    """Fields not named here do not occur."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class ProblemBody(BaseModel):
    """RFC 9457 problem details."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str


class KeyBody(Model):
    """A read key, to be exchanged for a session cookie."""

    key: Annotated[str, Field(min_length=1, max_length=500)]


class SessionBody(Model):
    """The session that a cookie now carries."""

    tenant: str
    scopes: list[str]
    expires_at: datetime


class TokenRequest(Model):
    """What a channel token shall allow."""

    user_id: Annotated[str, Field(min_length=1, max_length=200)]
    channels: Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(min_length=1, max_length=200)]
    ttl: Annotated[int, Field(ge=1)] = 3_600
    """Seconds; a longer time than the server allows is cut, as `expires_at` shows."""


class TokenBody(Model):
    """A channel token, to be given as a bearer."""

    token: str
    expires_at: datetime


class ChannelBody(Model):
    """A channel."""

    channel_id: str
    name: str | None = None
    created_at: datetime | None = None
    last_activity: datetime | None = None


class ChannelsBody(Model):
    """Channels, the most recently active first."""

    channels: list[ChannelBody]
    more: bool
    """Whether there are more than `limit`."""


class MessageBody(Model):
    """A message as it stands now. Of a deleted one only `message_id`, `sent_at` and `deleted` are left."""

    message_id: str
    sent_at: datetime
    deleted: bool = False
    blocked: bool = False
    """A moderator took it away; `deleted` is set as well."""
    id: str | None = None
    time: datetime | None = None
    received_at: datetime | None = None
    channel_id: str | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    thread_id: str | None = None
    reply_to: str | None = None
    text: str | None = None
    is_bot: bool | None = None
    late: bool | None = None
    """A moderator released it, after it had been held."""
    properties: dict[str, Any] | None = None
    edited: bool = False
    edited_at: datetime | None = None
    reactions: dict[str, int] | None = None
    """How many have each reaction standing."""


class OneMessageBody(MessageBody):
    """A message with who reacted."""

    reacted: dict[str, list[str]] | None = None
    """User ids by reaction, the first hundred of each."""


class PageBody(Model):
    """Messages newest first."""

    messages: list[MessageBody]
    next_cursor: str | None
    """Give it as `before` for older messages; null at the beginning of the channel."""
    prev_cursor: str | None
    """Give it as `after` for newer messages; null in an empty channel."""


class UnreadBody(Model):
    """Unread messages of one channel."""

    channel_id: str
    count: int
    more: bool = False
    """There are more than `count`."""


class UnreadsBody(Model):
    """Unread messages of one user, by channel."""

    user_id: str
    channels: list[UnreadBody]


class MetricBody(Model):
    """One entry of the metric registry."""

    name: str
    meaning: str
    unit: str
    scopes: list[str]
    grains: list[str]
    approximate: bool
    error: float | None = None
    """Relative standard error of an approximate metric."""


class MetricsBody(Model):
    """The metric registry."""

    metrics: list[MetricBody]


class PointBody(Model):
    """The number of one window, end exclusive."""

    start: datetime
    end: datetime
    value: int
    final: bool
    """The watermark has passed the window's end: only a correction can change it now."""
    revision: int
    approximate: bool = False
    error: float | None = None
    """Relative standard error of an approximate value."""


class SeriesBody(Model):
    """A metric over time. A window without a point is zero, if `complete`."""

    metric: str
    scope: str
    grain: str
    points: list[PointBody]
    as_of: datetime | None
    """When the numbers were last written; null before the first time."""
    watermark: datetime | None
    lag_seconds: float | None
    """How far the newest event counted is behind the clock."""
    complete: bool
    """Everything that belongs into the range has been counted, up to a few seconds before now."""


class RankBody(Model):
    """One place of a ranking, with what it is made of."""

    rank: int
    id: str
    score: int
    sent: int
    reactions: int
    contributors: int | None = None
    """Distinct senders, approximate; channels only."""


class TopBody(Model):
    """A ranking by messages sent, then reactions."""

    kind: str
    window: str
    start: datetime
    end: datetime
    ranking: list[RankBody]
    as_of: datetime | None
    watermark: datetime | None
    lag_seconds: float | None
    complete: bool


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


class ReportRunBody(Model):
    """A finished report of one day."""

    report: str
    period: str
    """Its day, in the tenant's time zone."""
    as_of: datetime | None
    """Everything accepted before this moment is counted; null when that is not known."""
    complete: bool
    """Nothing is missing but what was accepted in the two minutes before it was made."""
    final: bool
    """What comes for this day now is a correction."""
    revision: int
    """Grows when its numbers change."""
    finished_at: datetime
    running: bool
    """It is being made again, or that was killed."""


class ReportsBody(Model):
    """Finished reports, the newest day first."""

    reports: list[ReportRunBody]
    more: bool


class ReportColumnBody(Model):
    """A number of a report."""

    name: str
    label: str
    meaning: str
    unit: str
    optional: bool = False
    """It is null where there is nothing to say."""


class ReportSectionBody(Model):
    """A list within a report: a row has a cell named `key`, and one for each of `columns`."""

    name: str
    title: str
    kind: str
    """`series`: a row an hour, `ranking`, or `table`."""
    key: str
    columns: list[str]
    rows: list[dict[str, int | float | str | None]]
    omitted: int
    """Rows beyond the list's bound."""


class ReportSourceBody(Model):
    """What a report was counted from: the versions of the archive's tables."""

    versions: dict[str, int]


class ReportBody(Model):
    """A report. It explains itself: `columns` says what each number means."""

    report: str
    title: str
    meaning: str
    tenant: str
    period: str
    start: datetime
    end: datetime
    """Exclusive."""
    timezone: str
    as_of: datetime | None
    complete: bool
    final: bool
    revision: int
    archive: ReportSourceBody
    columns: list[ReportColumnBody]
    headline: list[str]
    figures: dict[str, int | float | str | None]
    sections: list[ReportSectionBody]


_REFUSALS = {
    400: "The request cannot be answered as put",
    401: "No valid key",
    403: "The key may not do this",
    404: "Not found, or not yours",
    406: "In no form that Accept takes",
    413: "Too large",
    422: "Invalid request",
    429: "Too many at once",
    503: "Unavailable, try again",
}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problem replies of a route, for its documentation."""
    schema = ProblemBody.model_json_schema()
    return {
        status: {"description": _REFUSALS[status], "content": {"application/problem+json": {"schema": schema}}}
        for status in statuses
    }
