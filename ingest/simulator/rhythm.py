"""When things happen: a Poisson process whose mean is the rate asked for, with bursts and, over hours, daily rhythm."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

#: One burst falls somewhere into each period; its seconds are this many times as busy as the mean.
PERIOD_SECONDS: Final = 20.0
BURST_SECONDS: Final = 1.0
BURST_FACTOR: Final = 3.0
_QUIET_FACTOR: Final = (PERIOD_SECONDS - BURST_SECONDS * BURST_FACTOR) / (PERIOD_SECONDS - BURST_SECONDS)

#: Relative activity by local hour, night to evening peak, the shape public chat logs show; its mean is made 1.
_HOURS: Final = (3, 2, 1.5, 1, 1, 1.5, 2.5, 4, 6, 7, 7.5, 8, 8, 7.5, 7.5, 8, 8.5, 9, 10, 11, 11, 10, 7.5, 5)
HOUR_FACTORS: Final = tuple(24 * hour / sum(_HOURS) for hour in _HOURS)


@dataclass(frozen=True, slots=True)
class Arrival:
    """Something happens `offset` seconds from the start; `burst` numbers the burst it is part of."""

    offset: float
    burst: int | None


def arrivals(rng: Random, rate: float, *, start_hour: float | None = None) -> Iterator[Arrival]:
    """An endless stream of arrivals, `rate` a second on average; over the day when a local `start_hour` is given.

    Exact for a rate that is constant in pieces: each gap uses up an exponential share of what the pieces add up to.
    """
    offset, share = 0.0, rng.expovariate(1.0)
    for end, factor, burst in _pieces(rng, start_hour):
        pace = rate * factor
        while offset + share / pace < end:
            offset += share / pace
            yield Arrival(offset, burst)
            share = rng.expovariate(1.0)
        share -= (end - offset) * pace
        offset = end


def _pieces(rng: Random, start_hour: float | None) -> Iterator[tuple[float, float, int | None]]:
    period = 0
    while True:
        begin = period * PERIOD_SECONDS
        hour = 1.0
        if start_hour is not None:
            hour = HOUR_FACTORS[int(start_hour + begin / 3600) % 24]
        burst = begin + rng.uniform(0, PERIOD_SECONDS - BURST_SECONDS)
        yield burst, _QUIET_FACTOR * hour, None
        yield burst + BURST_SECONDS, BURST_FACTOR * hour, period
        yield begin + PERIOD_SECONDS, _QUIET_FACTOR * hour, None
        period += 1
