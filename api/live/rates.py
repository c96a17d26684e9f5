"""Events per second of each tenant: the mean of the last ten whole seconds, now and over the last minutes."""

from infra.runtime.clock import Clock

SECONDS = 10
#: How many seconds of rates can be shown to one who comes now.
HISTORY = 180


class Rates:
    """Counts by second, as far back as the history needs."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seconds: dict[int, dict[str, int]] = {}
        self._since = int(clock.monotonic())

    def count(self, tenant: str) -> None:
        """One event now."""
        second = int(self._clock.monotonic())
        counts = self._seconds.get(second)
        if counts is None:
            counts = self._seconds[second] = {}
            for old in [s for s in self._seconds if s < second - SECONDS - HISTORY]:
                del self._seconds[old]
        counts[tenant] = counts.get(tenant, 0) + 1

    def per_second(self, tenant: str, ago: int = 0) -> float:
        """The mean over ten whole seconds, those that ended so many seconds ago."""
        end = int(self._clock.monotonic()) - ago
        return sum(self._seconds.get(s, {}).get(tenant, 0) for s in range(end - SECONDS, end)) / SECONDS

    def history(self, tenant: str) -> list[float]:
        """The rate at each of the last seconds since counting began, oldest first."""
        known = min(HISTORY, int(self._clock.monotonic()) - self._since)
        return [self.per_second(tenant, ago) for ago in range(known - 1, -1, -1)]
