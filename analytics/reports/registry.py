"""Every report, declared once: its name and meaning, what it reads, how it is counted, and what it shows.

Another report of this shape is one entry here, a function from DataFrame to DataFrame, and a test.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

from pyspark.sql import DataFrame

from analytics.reports import activity, churn, daily, facts, leaving, next_channel, outcomes, parity, response_times
from analytics.reports.spans import Grain, Span, starting
from infra.contracts.archive import EVENTS, HELD, ArchiveTable
from infra.contracts.reports import Cell, Column

#: Tables by name, the day, and the moment before which everything is archived → rows (tenant, section, key, and each
#: column).
Query = Callable[[Mapping[str, DataFrame], Span, datetime], DataFrame]
_UTC: Final = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A list of the report, made from the rows that the query gives this `section`. See `reports.Section`.

    Ordered by the columns in `order`, the largest first, then by key; a series is ordered by its steps. Lists of the
    same section are in the same order.
    """

    name: str
    section: str
    title: str
    kind: Literal["series", "ranking", "table"]
    key: str
    columns: tuple[str, ...]
    order: tuple[str, ...] = ()
    most: int = 0
    """Rows at most; a series has all its steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One report of one period: a calendar day, week or month of the tenant, or a UTC day as windows have it."""

    name: str
    title: str
    meaning: str
    calendar: Literal["tenant", "UTC"]
    tables: tuple[ArchiveTable, ...]
    query: Query
    columns: tuple[Column, ...]
    headline: tuple[str, ...]
    """The figures shown first."""
    figures: tuple[str, ...]
    """Columns of the total, in the order they are shown. One whose unit is `start` or `day` is the number of a step."""
    shapes: tuple[Shape, ...]
    streamed: bool = False
    """Whether the query also reads the streamed windows."""
    as_windows: bool = False
    """Whether the measures of a UTC day are also published as its exact windows."""
    grain: Grain = "day"
    before: timedelta = timedelta(0)
    after: timedelta = timedelta(0)
    """How much before and after a period is read to know it."""
    rule: str = ""
    """What its reader has to know of how it is counted."""
    silent: Mapping[str, Cell] = field(default_factory=dict)
    """Figures of a tenant that the rows say nothing about, where those are not 0."""

    def spans(self, first: date, last: date, zone: ZoneInfo) -> list[Span]:
        """The periods that these days, both included, lie in, for a tenant in this zone."""
        zone = _UTC if self.calendar == "UTC" else zone
        return [
            Span(day=day, zone=zone, count=count, before=self.before, after=self.after)
            for day, count in starting(self.grain, first, last)
        ]


_OF_CHANNEL: Final = (
    *("sent", "net", "edited", "deleted", "held", "blocked", "reactions", "joins", "leaves"),
    *("active", "contributors", "present", "messages_per_sender"),
)


_TOP_CHANNELS: Final = Shape(
    name="top_channels",
    section=facts.CHANNEL,
    title="Top channels",
    kind="ranking",
    key="channel",
    columns=("sent", "reactions", "contributors"),
    order=daily.RANKED,
    most=10,
)
_TOP_USERS: Final = Shape(
    name="top_users",
    section=facts.PERSON,
    title="Top people",
    kind="ranking",
    key="user",
    columns=daily.RANKED,
    order=daily.RANKED,
    most=10,
)
_CHANNELS: Final = Shape(
    name="channels",
    section=facts.CHANNEL,
    title="Every channel",
    kind="table",
    key="channel",
    columns=_OF_CHANNEL,
    order=daily.RANKED,
    most=2_000,
)


def _of_days(name: str, title: str, grain: Grain) -> Report:
    """What was done in the days of a week or of a month."""
    return Report(
        name=name,
        title=title,
        meaning=f"What the community did in one calendar {grain}, and how many came how often, from the archive.",
        calendar="tenant",
        tables=(EVENTS, HELD),
        query=activity.activity,
        columns=activity.COLUMNS,
        headline=("sent", "active", "contributors", "mean_dau", "stickiness"),
        figures=activity.FIGURES,
        shapes=(
            Shape(
                name="days",
                section=facts.STEP,
                title="Day by day",
                kind="series",
                key="day",
                columns=("sent", "dau", "wau", "mau"),
            ),
            Shape(
                name="active_days",
                section=activity.ACTIVE_DAYS,
                title="People by the days they came",
                kind="table",
                key="days",
                columns=("people",),
                most=31,
            ),
            _TOP_CHANNELS,
            _TOP_USERS,
            _CHANNELS,
        ),
        grain=grain,
        before=activity.BEFORE,
        rule=activity.RULE,
    )


REPORTS: Final = {
    report.name: report
    for report in (
        Report(
            name="daily",
            title="Daily report",
            meaning="What the community did on one calendar day, counted exactly from the archive.",
            calendar="tenant",
            tables=(EVENTS, HELD),
            query=daily.daily,
            columns=daily.COLUMNS,
            headline=("sent", "active", "contributors", "reactions", "peak_hour"),
            figures=tuple(column.name for column in daily.COLUMNS),
            shapes=(
                Shape(
                    name="hours",
                    section=facts.STEP,
                    title="Through the day",
                    kind="series",
                    key="start",
                    columns=("sent", "reactions", "active"),
                ),
                _TOP_CHANNELS,
                _TOP_USERS,
                _CHANNELS,
            ),
            as_windows=True,
        ),
        _of_days("weekly", "Weekly report", "week"),
        _of_days("monthly", "Monthly report", "month"),
        Report(
            name="response-times",
            title="Response times",
            meaning="How long people waited for an answer that day, who answered, and who still waits.",
            calendar="tenant",
            tables=(EVENTS,),
            query=response_times.response_times,
            columns=response_times.COLUMNS,
            headline=("median", "p90", "answered_percent", "unanswered", "waiting"),
            figures=response_times.FIGURES,
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
                    section=response_times.WAIT,
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
            rule=response_times.RULE,
            before=response_times.BEFORE,
            after=response_times.AFTER,
        ),
        Report(
            name="churn",
            title="Churn risk",
            meaning="How likely each active person is to stay away from now on, and how right such predictions were: "
            "a prediction for those who look after people, not a ground to decide about them.",
            calendar="tenant",
            tables=(EVENTS,),
            query=churn.churn,
            columns=churn.COLUMNS,
            headline=("at_risk", "expected", "people", "auc", "calibration_error"),
            figures=churn.FIGURES,
            shapes=(
                Shape(
                    name="people",
                    section=facts.PERSON,
                    title="Who may leave",
                    kind="table",
                    key="user",
                    columns=("risk", *(f"reason_{n + 1}" for n in range(leaving.REASONS))),
                    order=("risk",),
                    most=2_000,
                ),
                Shape(
                    name="calibration",
                    section=churn.CALIBRATION,
                    title="Calibration on held-out weeks",
                    kind="table",
                    key="band",
                    columns=("predicted", "observed", "outcomes"),
                    most=leaving.BINS,
                ),
                Shape(
                    name="held_out",
                    section=churn.WEEK,
                    title="Held-out weeks",
                    kind="table",
                    key="known_on",
                    columns=("auc", "predicted", "observed", "outcomes"),
                    most=10,
                ),
            ),
            rule=churn.RULE,
            silent=churn.SILENT,
            before=outcomes.BEFORE,
        ),
        Report(
            name="next-channel",
            title="Next channel",
            meaning="For each person the channel they do not write in that goes best with those they write in.",
            calendar="tenant",
            tables=(EVENTS,),
            query=next_channel.next_channel,
            columns=next_channel.COLUMNS,
            headline=next_channel.FIGURES,
            figures=next_channel.FIGURES,
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
            rule=next_channel.RULE,
            before=next_channel.BEFORE,
        ),
        Report(
            name="parity",
            title="Parity",
            meaning="How far the streamed numbers of a UTC day are from an exact count, metric by metric.",
            calendar="UTC",
            tables=(EVENTS, HELD),
            query=parity.parity,
            columns=parity.COLUMNS,
            headline=("off", "compared"),
            figures=("off", "compared"),
            shapes=(
                Shape(
                    name="metrics",
                    section=parity.METRIC,
                    title="Metric by metric",
                    kind="table",
                    key="metric",
                    columns=tuple(c.name for c in parity.COLUMNS if c.name not in ("off", "compared")),
                    order=("exact",),
                    most=100,
                ),
            ),
            streamed=True,
        ),
    )
}
