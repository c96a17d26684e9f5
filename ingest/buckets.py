"""Token buckets, and what a refusal for want of a token tells."""

import math
from typing import Final, Protocol

#: Seconds' worth of tokens a full bucket holds.
BURST_SECONDS: Final = 10


class Refusal(Protocol):
    """The limit that kept an event out."""

    @property
    def limit(self) -> str:
        """`tenant`, `user`, `channel` or `slow_mode`."""

    @property
    def rate(self) -> int:
        """What it allows, as `RateLimit-Limit` says it."""

    @property
    def message(self) -> str:
        """In words for the sender."""

    def wait(self, count: int) -> int:
        """Whole seconds until so many refused events may come again, at least one."""


class Bucket:
    """Tokens that grow with time up to ten seconds' worth."""

    __slots__ = ("at", "capacity", "limit", "rate", "tokens")

    def __init__(self, limit: str, rate: int, now: float) -> None:
        self.limit = limit
        self.rate = rate
        self.capacity = self.tokens = float(rate * BURST_SECONDS)
        self.at = now

    def refill(self, now: float) -> None:
        """Add what has grown since the last time."""
        tokens = self.tokens + (now - self.at) * self.rate
        self.tokens = tokens if tokens < self.capacity else self.capacity
        self.at = now

    def is_idle(self, now: float) -> bool:
        """Whether it is full again, so that nothing is lost by forgetting it."""
        return now - self.at >= BURST_SECONDS

    @property
    def message(self) -> str:
        return f"the limit of this {self.limit} is reached: {self.rate}/s"

    def wait(self, count: int) -> int:
        """Seconds until there are so many tokens; a bucket never holds more than its capacity."""
        return max(1, math.ceil((min(count, self.capacity) - self.tokens) / self.rate))
