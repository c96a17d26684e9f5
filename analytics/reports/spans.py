"""The calendar day a report is about: as moments, as hours, and as the archive's days it touches."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One calendar day in a time zone: 23 or 25 hours where the clocks change."""

    day: date
    zone: ZoneInfo

    @property
    def start(self) -> datetime:
        return self._midnight(self.day)

    @property
    def end(self) -> datetime:
        return self._midnight(self.day + timedelta(days=1))

    @property
    def utc_days(self) -> tuple[date, date]:
        """The first and the last UTC day that it touches."""
        return self.start.date(), (self.end - timedelta(microseconds=1)).date()

    def hours(self) -> list[datetime]:
        """The start of each hour since midnight, in the zone."""
        count = -((self.start - self.end) // _HOUR)
        return [(self.start + n * _HOUR).astimezone(self.zone) for n in range(count)]

    def contains(self, moment: datetime) -> bool:
        """Whether the moment lies in it."""
        return self.start <= moment < self.end

    def _midnight(self, day: date) -> datetime:
        # Where midnight is skipped this is the moment of the change, which is when that day begins.
        return datetime.combine(day, time.min, self.zone).astimezone(UTC)


def days(first: date, last: date) -> Iterator[date]:
    """Each day from the first to the last, both included."""
    for n in range((last - first).days + 1):
        yield first + timedelta(days=n)
