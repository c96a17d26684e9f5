"""What a report is: its name and meaning, what it reads, how it is counted, and what it shows.

Each report is declared beside its query, and listed in `analytics.reports.registry`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

from pyspark.sql import DataFrame

from analytics.reports.spans import Grain, Span, starting
from infra.contracts.archive import ArchiveTable
from infra.contracts.reports import Cell, Column, Kind

#: Tables by name, the span, and the moment before which everything is archived → rows (tenant, section, key, and each
#: column).
Query = Callable[[Mapping[str, DataFrame], Span, datetime], DataFrame]
_UTC: Final = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A list of the report, made from the rows that the query gives this `section`. See `reports.Section`.

    Ordered by the columns in `order`, the largest first, then by key; a series is ordered by its steps, a heat map by
    its periods. Lists of the same section are in the same order.
    """

    name: str
    section: str
    title: str
    kind: Kind
    key: str
    columns: tuple[str, ...]
    order: tuple[str, ...] = ()
    most: int = 0
    """Rows at most; a series has all its steps."""
    periods: int = 0
    """Rows are so many periods up to and with this one, in place of the steps of this one."""


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
    reviewed: bool = False
    """Whether the query also reads the audit trail, and a later decision about what a rule stopped makes it again."""
    corrects: bool = False
    """Whether its rows are windows, to be stored where readers see something else. See `windows.Corrections`."""
    grain: Grain = "day"
    before: timedelta | None = timedelta(0)
    after: timedelta = timedelta(0)
    """How much before and after a period is read to know it; without `before`, all there is."""
    settle: timedelta = timedelta(hours=1)
    """How long corrections of a period that was just counted are gathered before it is counted again by itself."""
    rule: str = ""
    """What its reader has to know of how it is counted."""
    silent: Mapping[str, Cell] = field(default_factory=dict)
    """Figures of a tenant that the rows say nothing about, where those are not 0."""
    example: str = ""
    """A small case worked out."""

    def spans(self, first: date, last: date, zone: ZoneInfo) -> list[Span]:
        """The periods that these days, both included, lie in, for a tenant in this zone."""
        zone = _UTC if self.calendar == "UTC" else zone
        return [
            Span(day=day, zone=zone, count=count, grain=self.grain, before=self.before, after=self.after)
            for day, count in starting(self.grain, first, last)
        ]
