"""Every report, declared once: its name and meaning, what it reads, how it is counted, and what it shows.

Another report of this shape is one entry here, a function from DataFrame to DataFrame, and a test.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from pyspark.sql import DataFrame

from analytics.reports import daily, facts, parity
from analytics.reports.spans import Span
from infra.contracts.archive import EVENTS, HELD, ArchiveTable
from infra.contracts.reports import Column

#: Tables by name and the day → rows (tenant, section, key, and each column).
Query = Callable[[Mapping[str, DataFrame], Span], DataFrame]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A list of the report, made from the rows that the query gives this `section`. See `reports.Section`.

    Ordered by the columns in `order`, the largest first, then by key; a series is ordered by its hours. Lists of the
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
    """Rows at most; a series has all its hours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One report of one day. Its period is a calendar day of the tenant, or a UTC day as windows have it."""

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
    """Columns of the total, in the order they are shown. One whose unit is `start` is the number of an hour."""
    shapes: tuple[Shape, ...]
    streamed: bool = False
    """Whether the query also reads the streamed windows."""
    as_windows: bool = False
    """Whether the measures of a UTC day are also published as its exact windows."""


_OF_CHANNEL: Final = (
    *("sent", "net", "edited", "deleted", "held", "blocked", "reactions", "joins", "leaves"),
    *("active", "contributors", "present", "messages_per_sender"),
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
                    section=facts.HOUR,
                    title="Through the day",
                    kind="series",
                    key="start",
                    columns=("sent", "reactions", "active"),
                ),
                Shape(
                    name="top_channels",
                    section=facts.CHANNEL,
                    title="Top channels",
                    kind="ranking",
                    key="channel",
                    columns=("sent", "reactions", "contributors"),
                    order=daily.RANKED,
                    most=10,
                ),
                Shape(
                    name="top_users",
                    section=facts.PERSON,
                    title="Top people",
                    kind="ranking",
                    key="user",
                    columns=daily.RANKED,
                    order=daily.RANKED,
                    most=10,
                ),
                Shape(
                    name="channels",
                    section=facts.CHANNEL,
                    title="Every channel",
                    kind="table",
                    key="channel",
                    columns=_OF_CHANNEL,
                    order=daily.RANKED,
                    most=2_000,
                ),
            ),
            as_windows=True,
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
