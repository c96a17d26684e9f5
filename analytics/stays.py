"""When a session begins and how much of it somebody is engaged: one device of one person, read in the order of time.

The limits are those of docs/metrics.md, and PostHog's and Snowplow's: 30 idle minutes end a session, 24 hours cut it,
and of a gap in it 5 minutes count as engaged.
"""

from datetime import datetime, timedelta
from typing import Final, NamedTuple

import msgspec

IDLE: Final = timedelta(minutes=30)
LONGEST: Final = timedelta(hours=24)
ENGAGED: Final = timedelta(minutes=5)


class Sign(NamedTuple):
    """What one event of a person says: whether a session began with it, and the engaged time before it."""

    began: bool
    engaged: timedelta


_BEGAN: Final = Sign(True, timedelta(0))


class Stay(msgspec.Struct, gc=False):
    """A stretch without an idle gap. `part` counts the sessions it was cut into; the first is 0."""

    began: datetime
    last: datetime
    part: int = 0

    def take(self, moment: datetime) -> Sign:
        """Take in the next event, which is not earlier than the last."""
        gap = moment - self.last
        self.last = moment
        if gap > IDLE:
            self.began, self.part = moment, 0
            return _BEGAN
        part = (moment - self.began) // LONGEST
        if part != self.part:
            self.part = part
            return _BEGAN
        return Sign(False, min(gap, ENGAGED))

    def is_over(self, moment: datetime) -> bool:
        """Whether an event at this moment or later begins another session."""
        return moment - self.last > IDLE
