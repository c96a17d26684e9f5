"""Events per second of each tenant over the last ten seconds, counted in whole seconds."""

from infra.runtime.clock import Clock

SECONDS = 10


class Rates:
    """Counts of the current second and the ten before it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seconds: dict[int, dict[str, int]] = {}

    def count(self, tenant: str) -> None:
        """One event now."""
        second = int(self._clock.monotonic())
        counts = self._seconds.get(second)
        if counts is None:
            counts = self._seconds[second] = {}
            for old in [s for s in self._seconds if s < second - SECONDS]:
                del self._seconds[old]
        counts[tenant] = counts.get(tenant, 0) + 1

    def per_second(self, tenant: str) -> float:
        """The mean over the last ten whole seconds."""
        now = int(self._clock.monotonic())
        return sum(self._seconds.get(s, {}).get(tenant, 0) for s in range(now - SECONDS, now)) / SECONDS
