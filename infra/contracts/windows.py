"""Windows: the grains of time that numbers are counted in, in UTC, labelled by start and end."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, order=True)
class Grain:
    """One window length. `period` is how much time one Cassandra partition of it spans."""

    width: timedelta
    name: str
    period: timedelta

    def start(self, moment: datetime) -> datetime:
        """The start of the window this moment falls in."""
        return moment - (moment - _EPOCH) % self.width

    def end(self, start: datetime) -> datetime:
        """The end, exclusive, of the window with this start."""
        return start + self.width

    def period_of(self, start: datetime) -> str:
        """The partition key of the windows around this one: the first day of its period, ISO 8601."""
        return (start - (start - _EPOCH) % self.period).date().isoformat()


MINUTE: Final = Grain(timedelta(minutes=1), "1m", timedelta(days=1))
QUARTER: Final = Grain(timedelta(minutes=15), "15m", timedelta(days=8))
HOUR: Final = Grain(timedelta(hours=1), "1h", timedelta(days=32))
DAY: Final = Grain(timedelta(days=1), "1d", timedelta(days=512))

GRAINS: Final = (MINUTE, QUARTER, HOUR, DAY)
BY_NAME: Final = {grain.name: grain for grain in GRAINS}
#: Which grain each is merged from; minutes come from Spark.
MERGED_FROM: Final = {QUARTER: MINUTE, HOUR: QUARTER, DAY: HOUR}

#: How far behind the newest event time an event may be and still count live.
WATERMARK_DELAY: Final = timedelta(minutes=2)
