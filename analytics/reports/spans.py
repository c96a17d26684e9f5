"""The calendar period a report is about: as moments, as steps, and as the archive's days it is read from."""

from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

#: A week begins on Monday.
Grain = Literal["day", "week", "month"]

#: Nothing is read from before it. Days before October 1582 are other ones in Spark's and in Python's calendar.
BEGINNING: Final = datetime(1600, 1, 1, tzinfo=UTC)
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One or more calendar days in a time zone, from `day` on: of 23 or 25 hours where the clocks change.

    `before` and `after` are how much beyond them has to be read to know them; without `before`, all there is.
    """

    day: date
    zone: ZoneInfo
    count: int = 1
    grain: Grain = "day"
    before: timedelta | None = timedelta(0)
    after: timedelta = timedelta(0)

    @property
    def start(self) -> datetime:
        return self._midnight(self.day)

    @property
    def end(self) -> datetime:
        return self._midnight(self.day + timedelta(days=self.count))

    @property
    def since(self) -> datetime:
        """From when on it is read."""
        return BEGINNING if self.before is None else self.start - self.before

    @property
    def until(self) -> datetime:
        """Until when it is read, exclusive: before this moment is over, it can still change."""
        return self.end + self.after

    @property
    def utc_days(self) -> tuple[date, date]:
        """The first and the last UTC day of what is read."""
        return self.since.date(), (self.until - timedelta(microseconds=1)).date()

    def steps(self) -> list[datetime]:
        """The start of each step of a series, in the zone: of one day its hours since midnight, of several each day."""
        if self.count > 1:
            return [self._midnight(self.day + timedelta(days=n)).astimezone(self.zone) for n in range(self.count)]
        count = -((self.start - self.end) // _HOUR)
        return [(self.start + n * _HOUR).astimezone(self.zone) for n in range(count)]

    def periods(self, count: int) -> list[datetime]:
        """The start of so many calendar periods, of which this is the last, in the zone."""
        days = [_back(self.grain, self.day, n) for n in reversed(range(count))]
        return [self._midnight(day).astimezone(self.zone) for day in days]

    def reads(self, moment: datetime) -> bool:
        """Whether what happened at this moment is read."""
        return self.since <= moment < self.until

    def _midnight(self, day: date) -> datetime:
        # Where midnight is skipped this is the moment of the change, which is when that day begins.
        return datetime.combine(day, time.min, self.zone).astimezone(UTC)


def starting(grain: Grain, first: date, last: date) -> Iterator[tuple[date, int]]:
    """The calendar periods that these days, both included, lie in: the first day of each, and how many days it has."""
    day = first
    while day <= last:
        if grain == "month":
            start = day.replace(day=1)
            count = monthrange(day.year, day.month)[1]
        else:
            start = day - timedelta(days=day.weekday()) if grain == "week" else day
            count = 7 if grain == "week" else 1
        yield start, count
        day = start + timedelta(days=count)


def _back(grain: Grain, day: date, count: int) -> date:
    """The first day of the period that is so many before the one that begins on this day."""
    if grain == "month":
        months = day.year * 12 + day.month - 1 - count
        return date(months // 12, months % 12 + 1, 1)
    return day - timedelta(days=count * (7 if grain == "week" else 1))


def days(first: date, last: date) -> Iterator[date]:
    """Each day from the first to the last, both included."""
    for n in range((last - first).days + 1):
        yield first + timedelta(days=n)
