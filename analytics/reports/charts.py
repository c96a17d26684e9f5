"""The geometry of a page's charts, in percent of the space there is: it fits a phone as it does a wall."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: Tops of a scale, of which the smallest that holds the highest bar is taken.
_NICE = (1, 2, 4, 5, 6, 8, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar. `note` says in words what it shows."""

    x: float
    width: float
    y: float
    height: float
    note: str
    peak: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Bars side by side. `ticks` are the labels below, at the middle of their bars; `scale` is the top and its half."""

    bars: Sequence[Bar]
    ticks: Sequence[tuple[float, str]]
    scale: tuple[float, float]
    total: float


def chart(values: Sequence[float], labels: Sequence[str], every: int) -> Chart:
    """Bars of these values, the highest marked, every so many labelled. An empty one where there are no values."""
    top = nice(max(values, default=0))
    step = 100 / max(1, len(values))
    highest = max(values, default=0)
    return Chart(
        bars=[
            Bar(
                x=round(n * step + step * 0.14, 3),
                width=round(step * 0.72, 3),
                y=round(100 - 100 * value / top, 3),
                height=round(100 * value / top, 3),
                note=labels[n],
                peak=value == highest,
            )
            for n, value in enumerate(values)
            if value
        ],
        ticks=[(round((n + 0.5) * step, 3), label) for n, label in enumerate(labels) if n % every == 0],
        scale=(top, top / 2),
        total=sum(values),
    )


def nice(value: float) -> float:
    """The top of a scale that holds this value: a round number with a round half."""
    if value <= 2:
        return 2
    power = 10.0 ** math.floor(math.log10(value))
    return next(n * power for n in _NICE if n * power >= value and (n * power) % 2 == 0)
