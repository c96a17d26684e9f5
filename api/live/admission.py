"""Who may open a live stream now: bounds on open streams and on new ones per second, with a spread-out retry."""

import asyncio
from collections.abc import Callable

from infra.runtime.clock import Clock


class Full(Exception):
    """Not now; `retry_after` seconds from now, different for everybody so that a herd does not come back at once."""

    def __init__(self, detail: str, retry_after: int) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after


class Admission:
    """Counts the open streams. `jitter` gives numbers in [0, 1)."""

    def __init__(
        self, clock: Clock, jitter: Callable[[], float], *, connections: int, of_tenant: int, per_second: float
    ) -> None:
        self._clock = clock
        self._jitter = jitter
        self._connections = connections
        self._of_tenant = of_tenant
        self._per_second = per_second
        self._tokens = self._burst = max(1.0, 2 * per_second)
        self._filled = clock.monotonic()
        self._open: dict[str, int] = {}
        self.total = 0
        self._left = asyncio.Event()

    def knock(self) -> None:
        """One more connection asks. Raises `Full` when too many do, whoever they are."""
        now = self._clock.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._filled) * self._per_second)
        self._filled = now
        if self.total >= self._connections:
            raise self._full("too many live streams are open")
        if self._tokens < 1:
            raise self._full("too many live streams are being opened")
        self._tokens -= 1

    def enter(self, tenant: str) -> None:
        """A stream of this tenant opens; `leave` must follow. Raises `Full`."""
        if self._open.get(tenant, 0) >= self._of_tenant:
            raise self._full("this tenant has too many live streams open")
        self._open[tenant] = self._open.get(tenant, 0) + 1
        self.total += 1

    def leave(self, tenant: str) -> None:
        """A stream of this tenant is gone."""
        self.total -= 1
        self._open[tenant] -= 1
        if not self._open[tenant]:
            del self._open[tenant]
        self._left.set()

    async def empty(self, seconds: float) -> bool:
        """Wait until no stream is open, at most so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                while self.total:
                    self._left.clear()
                    await self._left.wait()
        except TimeoutError:
            return False
        return True

    def _full(self, detail: str) -> Full:
        return Full(detail, 1 + int(self._jitter() * 10))
