"""How long to wait before the next attempt: exponential with full jitter, never less than the server asked for.

The rule is "full jitter" of Amazon's Exponential Backoff And Jitter: uniform between nothing and the growing bound.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Waits in seconds."""

    first: float = 0.2
    longest: float = 30.0
    longest_asked: float = 300.0
    rng: random.Random = field(default_factory=random.Random)

    def delay(self, attempt: int, retry_after: float | None = None) -> float:
        """Seconds to wait after the attempt of this number, the first being 1."""
        bound = min(self.longest, self.first * 2.0 ** min(attempt - 1, 30))
        jitter = self.rng.uniform(0, bound)
        # The jitter comes on top, so that everyone told the same second does not return in the same instant.
        return jitter if retry_after is None else min(retry_after, self.longest_asked) + min(jitter, 1.0)


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds of a Retry-After header, which holds seconds or an HTTP date (RFC 9110 section 10.2.3)."""
    value = headers.get("Retry-After")
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds())
