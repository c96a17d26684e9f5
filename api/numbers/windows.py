"""Windows as they are read: the numbers of metrics over a range, each with its revision and how it was counted."""

import asyncio
import math
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
#: For each point that a query may span, so many other windows may be read or united.
_OTHERS: Final = 10
#: Decimal places of what was divided.
_PLACES: Final = 6
_NOTHING: Final = dict.fromkeys(tables.NUMBER_COLUMNS, 0)


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
            400,
            f"The range holds {points} windows of {grain.name}; at most {max_points}."
            " Take a shorter range or a coarser grain.",
        )
    return Span(grain, start, end)


def most_points(metric: Metric, grain: Grain, max_points: int) -> int:
    """How many windows of a metric one query may span: fewer of one that is made of several others each."""
    each = max(grain.width // part.by.width if part.by is not None else part.days for part in metric.parts)
    return min(max_points, _OTHERS * max_points // each)


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

    def sum(self, part: Part) -> int:
        return sum(self.measures[name] or 0 for name in part.measures)


@dataclass(frozen=True, slots=True)
class _Stored:
    """The windows of one grain by their start, and the finer ones within by grain."""

    windows: Mapping[datetime, _Window]
    finer: Mapping[Grain, Mapping[datetime, _Window]]
    grain: Grain

    def until(self, start: datetime, count: int) -> list[_Window]:
        """So many windows up to and with this one, the newest first, without those of which nothing is stored."""
        starts = (start - n * self.grain.width for n in range(count))
        return [window for at in starts if (window := self.windows.get(at))]

    def within(self, start: datetime, grain: Grain) -> list[_Window]:
        """The finer windows of this one, all of them."""
        starts = Span(grain, start, self.grain.end(start)).starts()
        return [self.finer[grain].get(at) or _Window(at, _NOTHING, 0, at, False) for at in starts]


async def read_numbers(
    database: Reads, tenant: str, scope: str, span: Span, metrics: Iterable[Metric]
) -> dict[str, list[Number]]:
    """The numbers of these metrics by their names, in windows of which anything is stored, oldest first."""
    asked = tuple(metrics)
    days = max((metric.days for metric in asked), default=1)
    wide = Span(span.grain, span.start - (days - 1) * span.grain.width, span.end)
    windows = await _read(database, tenant, scope, wide, sketches=days > 1)
    finer = {
        grain: await _read(database, tenant, scope, Span(grain, span.start, span.end))
        for grain in {part.by for metric in asked for part in metric.parts if part.by is not None}
    }
    stored = _Stored(windows, finer, span.grain)
    return {metric.name: list(_numbers(metric, stored, span)) for metric in asked}


async def _read(
    database: Reads, tenant: str, scope: str, span: Span, *, sketches: bool = False
) -> dict[datetime, _Window]:
    statement, columns = tables.NUMBERS, tables.NUMBER_COLUMNS
    if sketches:  # people of several days are united from theirs
        statement, columns = tables.WINDOWS, tables.MEASURE_COLUMNS
    rows = await read_windows(database, tenant, scope, span, statement)
    windows = {}
    for (moment, *measures, revision, updated_at), source in rows:
        start = utc(moment)
        values = dict(zip(columns, measures, strict=True))
        windows[start] = _Window(start, values, revision or 0, utc(updated_at), source == "batch")
    return windows


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


def _numbers(metric: Metric, stored: _Stored, span: Span) -> Iterator[Number]:
    for start in span.starts():
        found = stored.until(start, metric.days)
        if found:
            yield Number(
                start,
                _value(metric, stored, start),
                sum(window.revision for window in found),
                max(window.updated_at for window in found),
                # An estimate of several days is one, however each was counted.
                metric.days == 1 and found[0].exact,
            )


def _value(metric: Metric, stored: _Stored, start: datetime) -> int | float | None:
    number = _part(metric.of, stored, start)
    if metric.per is None:
        return number
    of = _part(metric.per, stored, start)
    return round(number / of, _PLACES) if of else None


def _part(part: Part, stored: _Stored, start: datetime) -> float:
    """What a part comes to in the window with this start."""
    if part.by is not None:
        return _picked(part, sorted(window.sum(part) for window in stored.within(start, part.by)))
    windows = stored.until(start, part.days)
    if part.days == 1:
        return sum(window.sum(part) for window in windows)
    # Nobody is lost by uniting, which the estimates alone do not know.
    most = max((window.sum(part) for window in windows), default=0)
    return max(most, merged(window.measures[f"{part.measures[0]}_sketch"] for window in windows))


def _picked(part: Part, numbers: list[int]) -> float:
    """One of the finer windows, given in order what each comes to."""
    match part.pick:
        case "peak":
            return numbers[-1]
        case "p95":
            return numbers[math.ceil(0.95 * len(numbers)) - 1]
        case "mean":
            return sum(numbers) / len(numbers)
