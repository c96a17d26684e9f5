"""The calendar day a report is about: as moments, as hours, and as the archive's days it is read from."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One calendar day in a time zone: 23 or 25 hours where the clocks change.

    `before` and `after` are how much beyond it has to be read to know the day.
    """

    day: date
    zone: ZoneInfo
    before: timedelta = timedelta(0)
    after: timedelta = timedelta(0)

    @property
    def start(self) -> datetime:
        return self._midnight(self.day)

    @property
    def end(self) -> datetime:
        return self._midnight(self.day + timedelta(days=1))

    @property
    def since(self) -> datetime:
        """From when on it is read."""
        return self.start - self.before

    @property
    def until(self) -> datetime:
        """Until when it is read, exclusive: before this moment is over, the day can still change."""
        return self.end + self.after

    @property
    def utc_days(self) -> tuple[date, date]:
        """The first and the last UTC day of what is read."""
        return self.since.date(), (self.until - timedelta(microseconds=1)).date()

    def hours(self) -> list[datetime]:
        """The start of each hour since midnight, in the zone."""
        count = -((self.start - self.end) // _HOUR)
        return [(self.start + n * _HOUR).astimezone(self.zone) for n in range(count)]

    def reads(self, moment: datetime) -> bool:
        """Whether what happened at this moment is read."""
        return self.since <= moment < self.until

    def _midnight(self, day: date) -> datetime:
        # Where midnight is skipped this is the moment of the change, which is when that day begins.
        return datetime.combine(day, time.min, self.zone).astimezone(UTC)


def days(first: date, last: date) -> Iterator[date]:
    """Each day from the first to the last, both included."""
    for n in range((last - first).days + 1):
        yield first + timedelta(days=n)
