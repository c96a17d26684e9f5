"""Contenders that do the same work by turns, and how one's figures stand to another's, with how sure that is.

Each round runs every contender once, beginning with another one each time; the first round warms up and does not
count. A ratio is that of the medians. Its interval is a percentile bootstrap over rounds, drawn as pairs, so that what
a machine did in a round happens to both (Efron and Tibshirani, An Introduction to the Bootstrap, ch. 13).
"""

import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

#: What one run measured, by name: `per_second`, `per_cpu_second`, `p99_ms`, ...
Figures = Mapping[str, float]
ROUNDS: Final = 7
_DRAWS: Final = 2_000
_TAIL: Final = 0.025


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """Who does the work. `run` does it once, checks that nothing was lost or doubled, and says what it took."""

    name: str
    kind: Literal["limit", "peer", "ours"]
    run: Callable[[], Figures]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What a figure of `of` has to be: against the same figure of another contender, or by itself.

    Met when the interval contains it or is better. One of `least` and `most` is set.
    """

    figure: str
    of: str
    against: str | None = None
    least: float | None = None
    most: float | None = None

    def is_met(self, ratio: "Ratio") -> bool:
        """Whether this ratio, or this figure, is good enough."""
        if self.least is not None:
            return ratio.high >= self.least
        assert self.most is not None
        return ratio.low <= self.most


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """One piece of work, who does it, and the bars. Each run of a contender takes its own events."""

    title: str
    contenders: tuple[Contender, ...]
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Ratio:
    """A quotient of medians, or one median, and the 95 % interval around it."""

    value: float
    low: float
    high: float


#: The figures of every round that counts, by contender.
Results = dict[str, list[Figures]]


def hold(contest: Contest, rounds: int, advance: Callable[[], object]) -> Results:
    """Hold the contest; `advance` is called after each run."""
    results: Results = {contender.name: [] for contender in contest.contenders}
    count = len(contest.contenders)
    for number in range(rounds + 1):
        for place in range(count):
            contender = contest.contenders[(number + place) % count]
            figures = contender.run()
            if number:
                results[contender.name].append(figures)
            advance()
    return results


def median(runs: Sequence[Figures], figure: str) -> float:
    """The median of one figure."""
    return statistics.median(run[figure] for run in runs)


def judge(bar: Bar, results: Results, *, seed: int = 0) -> Ratio:
    """Where the figure stands that the bar is about."""
    ours = [run[bar.figure] for run in results[bar.of]]
    theirs = [1.0] * len(ours) if bar.against is None else [run[bar.figure] for run in results[bar.against]]
    return ratio(ours, theirs, seed=seed)


def ratio(ours: Sequence[float], theirs: Sequence[float], *, seed: int = 0) -> Ratio:
    """How the medians stand to each other. Both are by round, in the same order."""
    draw = random.Random(seed)
    pairs = list(zip(ours, theirs, strict=True))
    drawn = sorted(_quotient(draw.choices(pairs, k=len(pairs))) for _ in range(_DRAWS))
    return Ratio(_quotient(pairs), drawn[int(_TAIL * _DRAWS)], drawn[int((1 - _TAIL) * _DRAWS) - 1])


def _quotient(pairs: Sequence[tuple[float, float]]) -> float:
    return statistics.median(one for one, _ in pairs) / statistics.median(other for _, other in pairs)
