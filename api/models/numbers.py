"""Metrics, their points and rankings."""

from datetime import datetime

from api.models.base import Model


class MetricBody(Model):
    """One entry of the metric registry."""

    name: str
    label: str
    """What it is called where people see it."""
    meaning: str
    unit: str
    measures: list[str]
    """What it is made of, as the points of the live stream name them."""
    formula: str
    """How."""
    scopes: list[str]
    grains: list[str]
    approximate: bool
    error: float | None = None
    """Relative error of an approximate metric: of people the standard error, of response times the largest."""
    tiles: list[str]
    """The grains of which the dashboard shows the current window."""


class MetricsBody(Model):
    """The metric registry."""

    metrics: list[MetricBody]


class PointBody(Model):
    """The number of one window, end exclusive."""

    start: datetime
    end: datetime
    value: int | float
    final: bool
    """The watermark has passed the window's end: only a correction can change it now."""
    revision: int
    approximate: bool = False
    error: float | None = None
    """Relative error of an approximate value, as in the registry."""


class SeriesBody(Model):
    """A metric over time. If `complete`, a window without a point is zero; of a ratio, it has nothing to divide by."""

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


class TrendBody(Model):
    """A trending channel and what its score is made of."""

    rank: int
    id: str
    score: float
    """(posters + responders + messages / 2) / (hours + 2)^1.5, times factor."""
    factor: float
    """How many times as much as in the same hour a week ago, at most four; 1 without a baseline."""
    posters: int
    """Distinct senders, approximate."""
    responders: int
    """Distinct people who reacted or replied, approximate."""
    reactions: int
    messages: int
    hours: float
    """Since the burst began, at most a day."""
    baseline: int | None
    """Messages in the same hour a week ago; null where nothing was counted then."""
    elapsed: float
    """Hours that the counted quarters have lasted so far."""


class TrendingBody(Model):
    """Channels with an unusual lot going on, in the last three quarter hours and the current one."""

    start: datetime
    end: datetime
    ranking: list[TrendBody]
    as_of: datetime | None
    watermark: datetime | None
    lag_seconds: float | None
    complete: bool


class WaitBody(Model):
    """Somebody who waits for an answer: the message that opened the wait, by whom and where."""

    channel_id: str
    thread_id: str | None
    message_id: str
    author: str
    since: datetime


class WaitingBody(Model):
    """Who waits for an answer now."""

    scope: str
    order: str
    waiting: list[WaitBody]
    total: int
    """How many there are, whether or not they are listed."""
    provisional: bool
    """Always: an event that comes late may still say otherwise, and nothing here is counted yet."""
    as_of: datetime | None
    """When the list was last right; null before the first time."""
