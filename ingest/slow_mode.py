"""Slow mode of one channel: begun by what is asked of it, kept until it has been calm."""

import math
from collections import OrderedDict
from typing import Final, NamedTuple

from infra.contracts.control import SlowMode
from ingest.buckets import BURST_SECONDS, Bucket

#: Users remembered for one channel. The one heard longest ago is forgotten first, and may send early.
_MAX_USERS: Final = 100_000


class Pause(NamedTuple):
    """A user has sent a message to a slowed channel and has to wait."""

    seconds: float
    interval: int

    @property
    def limit(self) -> str:
        return "slow_mode"

    @property
    def rate(self) -> int:
        return 1

    @property
    def message(self) -> str:
        return f"the channel is in slow mode: one message of a user in {self.interval} s"

    def wait(self, count: int) -> int:
        """Seconds until the next one; of several only one may come then."""
        return max(1, math.ceil(self.seconds))


class Pace:
    """How much is asked of one channel, and who may speak while it is slow.

    Everything that comes counts, what is refused too: a raid that is refused is still a raid. The channel is asked for
    too much while that bucket is empty; two such moments no further apart than a full bucket lasts mean that more than
    the rate came between them.
    """

    __slots__ = ("_asked", "_first", "_last", "_mode", "_sent", "slow")

    def __init__(self, mode: SlowMode, rate: int, now: float) -> None:
        self._mode = mode
        self._asked = Bucket("channel", rate, now)
        self._first = self._last = -math.inf
        #: When each user sent last while the channel was slow, and which message, oldest first.
        self._sent: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self.slow = False

    def ask(self, now: float) -> bool:
        """Count one arrival. Whether it has begun slow mode."""
        asked = self._asked
        if asked.at != now:
            asked.refill(now)
        if asked.tokens >= 1:
            asked.tokens -= 1
            return False
        if now - self._last > BURST_SECONDS:
            self._first = now
        self._last = now
        if self.slow or now - self._first < self._mode.after:
            return False
        self.slow = True
        return True

    def end_if_calm(self, now: float) -> bool:
        """End slow mode if the channel has been calm. Whether it has ended now."""
        if not self.slow or now - self._last < self._mode.calm:
            return False
        self.slow = False
        self._sent.clear()
        return True

    def is_idle(self, now: float) -> bool:
        """Whether nothing is lost by forgetting it."""
        return not self.slow and now - self._asked.at > BURST_SECONDS

    def pause(self, user: str, message_id: str, now: float) -> Pause | None:
        """What keeps this message out, if something does. The user's last one may always come again: it is a retry."""
        sent_at, last_id = self._sent.get(user, (-math.inf, ""))
        left = sent_at + self._mode.interval - now
        return None if left <= 0 or last_id == message_id else Pause(left, self._mode.interval)

    def spoke(self, user: str, message_id: str, now: float) -> None:
        """The user has sent this message."""
        sent = self._sent
        sent[user] = (now, message_id)
        sent.move_to_end(user)
        oldest_at = next(iter(sent.values()))[0]
        if now - oldest_at >= self._mode.interval or len(sent) > _MAX_USERS:
            sent.popitem(last=False)
