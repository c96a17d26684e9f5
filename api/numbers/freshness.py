"""How fresh the numbers are: computed on reading, from what the metrics writer stored and where the log stood.

Update mode emits nothing when a watermark passes, so neither `final` nor `complete` is ever stored (docs/metrics.md).
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from api.history.messages import utc
from api.history.reading import Reads
from infra.contracts import tables
from infra.contracts.windows import WATERMARK_DELAY

#: Topic as named on the cluster → partition → offset.
Offsets = Mapping[str, Mapping[str, int]]

_offsets = msgspec.json.Decoder(dict[str, dict[str, int]])


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The stored progress of the metrics query."""

    watermark: datetime
    offsets: Offsets
    written_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """What every reply with numbers says beside them."""

    as_of: datetime | None = None
    watermark: datetime | None = None
    lag_seconds: float | None = None
    caught_up: bool = False

    def is_final(self, end: datetime) -> bool:
        """Whether the watermark has passed this window's end."""
        return self.watermark is not None and end <= self.watermark

    def is_complete(self, end: datetime) -> bool:
        """Whether everything that belongs before `end` and is in the log has been counted."""
        return self.caught_up or self.is_final(end)

    def fields(self, end: datetime) -> dict[str, Any]:
        """As a reply shows it for a range that ends at `end`."""
        return {
            "as_of": self.as_of,
            "watermark": self.watermark,
            "lag_seconds": self.lag_seconds,
            "complete": self.is_complete(end),
        }


class LogEnds:
    """Where the topics the metrics query reads ended over the last seconds. Times are monotonic seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._seen: deque[tuple[float, Offsets]] = deque()

    def observe(self, moment: float, ends: Offsets) -> None:
        """The log ended here at this moment."""
        self._seen.append((moment, ends))
        # The newest observation that is old enough stays: it is the one compared with.
        while len(self._seen) > 1 and self._seen[1][0] <= moment - self._seconds:
            self._seen.popleft()

    def reached(self, moment: float, offsets: Offsets) -> bool:
        """Whether these offsets take in all that was in the log so many seconds before this moment.

        False when that is not known, as when Kafka has not answered for a while.
        """
        if not self._seen or self._seen[-1][0] < moment - self._seconds:
            return False
        ends = self._seen[0][1]
        return bool(ends) and all(
            offsets.get(topic, {}).get(partition, 0) >= end
            for topic, partitions in ends.items()
            for partition, end in partitions.items()
        )


async def read_progress(database: Reads, query: str = tables.METRICS_QUERY) -> Progress | None:
    """The progress of a query whose windows are published; None before it has stored any."""
    rows = await database.execute(tables.PROGRESS, (query,))
    if not rows or rows[0][1] is None or rows[0][6] is None:
        return None
    _, watermark, offsets, _, _, _, written_at = rows[0]
    return Progress(watermark=utc(watermark), offsets=_offsets.decode(offsets or "{}"), written_at=utc(written_at))


def judge(progress: Progress | None, ends: LogEnds | None, now: datetime, monotonic: float) -> Freshness:
    """How fresh numbers are that were read after this progress was.

    Without `ends` nothing counts before the watermark has passed it, however far the log is read.
    """
    if progress is None:
        return Freshness()
    newest = progress.watermark + WATERMARK_DELAY
    return Freshness(
        as_of=progress.written_at,
        watermark=progress.watermark,
        lag_seconds=round(max(0.0, (now - newest).total_seconds()), 3),
        caught_up=ends is not None and ends.reached(monotonic, progress.offsets),
    )
