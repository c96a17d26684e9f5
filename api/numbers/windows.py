"""Windows as they are read: the numbers of metrics over a range, each with its revision and how it was counted."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

import datasketches

from api.errors import Refused
from api.history.messages import utc
from api.history.reading import Reads
from infra.contracts import tables
from infra.contracts.metrics import METRICS, SKETCH_LG_K, Metric, Part
from infra.contracts.tables import Statement
from infra.contracts.windows import DAY, HOUR, MINUTE, QUARTER, Grain

#: How far back a query without `from` looks.
_SPAN: Final = {
    MINUTE: timedelta(hours=1),
    QUARTER: timedelta(days=1),
    HOUR: timedelta(days=2),
    DAY: timedelta(days=30),
}
#: Where a window was written by both, the first wins.
_SOURCES: Final = ("batch", "stream")
#: The days that any metric reads before a window.
_BEFORE: Final = max(metric.days for metric in METRICS.values()) * DAY.width
#: Decimal places of what was divided.
_PLACES: Final = 6


@dataclass(frozen=True, slots=True)
class Span:
    """Whole windows of one grain, from `start` to `end`, exclusive."""

    grain: Grain
    start: datetime
    end: datetime

    def starts(self) -> Iterator[datetime]:
        """The start of each."""
        return (self.start + n * self.grain.width for n in range((self.end - self.start) // self.grain.width))

    def periods(self) -> Iterator[str]:
        """The partitions these windows lie in."""
        start = self.start
        while start < self.end:
            period = self.grain.period_of(start)
            yield period
            start = datetime.combine(date.fromisoformat(period), time.min, UTC) + self.grain.period


def span_of(grain: Grain, since: datetime | None, until: datetime | None, now: datetime, max_points: int) -> Span:
    """The windows a query asks for. Raises `Refused` 400 where they are none, too many or out of the calendar."""
    try:
        last = now if until is None else until.astimezone(UTC) - timedelta(microseconds=1)
        end = grain.end(grain.start(last))
        start = grain.start(end - _SPAN[grain] if since is None else since.astimezone(UTC))
        points = (end - start) // grain.width
        end + grain.period
        start - _BEFORE
    except OverflowError:
        raise Refused(400, "The range leaves the calendar.") from None
    if points < 1:
        raise Refused(400, "The range is empty: `from` must be before `to`.")
    if points > max_points:
        raise Refused(
            400, f"The range holds {points} windows of {grain.name}; at most {max_points}. Take a coarser grain."
        )
    return Span(grain, start, end)


@dataclass(frozen=True, slots=True)
class Number:
    """A metric in one window."""

    start: datetime
    value: int | float | None
    """None where there is nothing to divide by."""
    revision: int
    """Grows with each change of a window it is made of."""
    updated_at: datetime
    exact: bool
    """Counted from the archive."""


@dataclass(frozen=True, slots=True)
class _Window:
    start: datetime
    measures: Mapping[str, Any]
    revision: int
    updated_at: datetime
    exact: bool


async def read_numbers(
    database: Reads, tenant: str, scope: str, span: Span, metrics: Iterable[Metric]
) -> dict[str, list[Number]]:
    """The numbers of these metrics by their names, in windows of which anything is stored, oldest first."""
    asked = tuple(metrics)
    days = max((metric.days for metric in asked), default=1)
    statement, columns = tables.NUMBERS, tables.NUMBER_COLUMNS
    if days > 1:  # people of several days are united from their sketches
        statement, columns = tables.WINDOWS, tables.MEASURE_COLUMNS
    wide = Span(span.grain, span.start - (days - 1) * span.grain.width, span.end)
    rows = await read_windows(database, tenant, scope, wide, statement)
    windows = {}
    for (moment, *measures, revision, updated_at), source in rows:
        start = utc(moment)
        values = dict(zip(columns, measures, strict=True))
        windows[start] = _Window(start, values, revision or 0, utc(updated_at), source == "batch")
    return {metric.name: list(_numbers(metric, windows, span)) for metric in asked}


async def read_windows(
    database: Reads, tenant: str, scope: str, span: Span, statement: Statement = tables.WINDOWS
) -> list[tuple[tuple[Any, ...], str]]:
    """The rows of the statement in these windows, oldest first, each with its source."""
    wanted = [(period, source) for period in span.periods() for source in _SOURCES]
    found = await asyncio.gather(
        *(
            database.execute(statement, (tenant, scope, span.grain.name, period, source, span.start, span.end))
            for period, source in wanted
        )
    )
    rows: dict[datetime, tuple[tuple[Any, ...], str]] = {}
    for source in reversed(_SOURCES):
        for (_, of_source), partition in zip(wanted, found, strict=True):
            if of_source == source:
                rows.update({row[0]: (row, source) for row in partition})
    return [rows[start] for start in sorted(rows)]


def merged(sketches: Iterable[bytes | None]) -> int:
    """The distinct count of the union of these sketches."""
    union = datasketches.hll_union(SKETCH_LG_K)
    for sketch in sketches:
        if sketch:
            union.update(datasketches.hll_sketch.deserialize(sketch))
    estimate: float = union.get_estimate()
    return round(estimate)


def _numbers(metric: Metric, windows: Mapping[datetime, _Window], span: Span) -> Iterator[Number]:
    width = span.grain.width
    for start in span.starts():
        found = [window for n in range(metric.days) if (window := windows.get(start - n * width))]
        if found:
            yield Number(
                start,
                _value(metric, start, found),
                sum(window.revision for window in found),
                max(window.updated_at for window in found),
                # An estimate of several days is one, however each was counted.
                metric.days == 1 and found[0].exact,
            )


def _value(metric: Metric, start: datetime, found: list[_Window]) -> int | float | None:
    number = _part(metric.of, start, found)
    if metric.per is None:
        return number
    of = _part(metric.per, start, found)
    return round(number / of, _PLACES) if of else None


def _part(part: Part, start: datetime, found: list[_Window]) -> int:
    """What a part comes to in the window with this start; `found` are the windows up to it."""
    if part.days == 1:
        return sum(window.measures[name] or 0 for window in found if window.start == start for name in part.measures)
    (name,) = part.measures
    recent = [window for window in found if window.start > start - part.days * DAY.width]
    # Nobody is lost by uniting, which the estimates alone do not know.
    most = max((window.measures[name] or 0 for window in recent), default=0)
    return max(most, merged(window.measures[f"{name}_sketch"] for window in recent))
