"""Stops a worker that fails by its own fault, as github.com/getsentry/arroyo does. Poison never stops it."""

from collections import deque
from typing import Final

from infra.runtime.clock import Clock

#: Fewer failures than this are never a trend.
_MIN_FAILURES: Final = 20


class Fuse:
    """Trips once unexpected failures pass `ratio` of all elements within `window` seconds."""

    def __init__(self, clock: Clock, ratio: float, window: float = 60.0) -> None:
        self._clock = clock
        self._ratio = ratio
        self._window = window
        self._counts: deque[tuple[float, int, int]] = deque()
        self._elements = 0
        self._failures = 0

    def count(self, elements: int, failures: int) -> bool:
        """Add what was just routed. Whether the worker must stop."""
        now = self._clock.monotonic()
        self._counts.append((now, elements, failures))
        self._elements += elements
        self._failures += failures
        while self._counts[0][0] < now - self._window:
            _, old_elements, old_failures = self._counts.popleft()
            self._elements -= old_elements
            self._failures -= old_failures
        return self._failures >= _MIN_FAILURES and self._failures > self._ratio * self._elements
