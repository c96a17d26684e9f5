"""Sessions and response times as they are counted live: what a window of them holds, and what is published of it.

Response times are kept as a histogram with logarithmic buckets, as DDSketch has them (Masson, Rim and Lee, 2019):
counts of buckets add up, so windows merge exactly, and any quantile is known within `BUCKET_ERROR` of its value.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from math import ceil, floor, log
from typing import Final

import msgspec

from infra.contracts.windows import DAY, HOUR, QUARTER

#: The live query whose windows and waits are published; a new version starts from a new snapshot.
INTERACTIONS_QUERY: Final = "interactions-v1"

#: Each bucket ends where the one before does, times this.
_GAMMA: Final = 1.1
_LOG: Final = log(_GAMMA)
#: How far a quantile may be from the response time it stands for, as a share of that: 4.8 %.
BUCKET_ERROR: Final = (_GAMMA - 1) / (_GAMMA + 1)
#: The bucket of everything up to a millisecond, the precision of event times.
LOWEST: Final = ceil(log(0.001) / _LOG)

#: Bucket → how many response times are in it.
Buckets = Mapping[int, int]

GRAINS: Final = (QUARTER, HOUR, DAY)
#: The measures that are counts, as columns of `interaction_windows`; the buckets are `responses`.
COUNTS: Final = ("sessions", "engaged_ms", "answered", "unanswered")


def bucket(seconds: float) -> int:
    """The bucket of a response time: the least whose upper bound, `_GAMMA` to its power in seconds, is not below."""
    return max(LOWEST, ceil(log(seconds) / _LOG)) if seconds > 0 else LOWEST


def quantile(buckets: Buckets, share: float) -> float | None:
    """The response time in seconds below which this share of them lies; None where there is none."""
    rank = floor(share * (sum(buckets.values()) - 1))
    for number in sorted(buckets):
        rank -= buckets[number]
        if rank < 0:
            return float(2 * _GAMMA**number / (_GAMMA + 1))
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """A metric of `interaction_windows`: a count, or with a `share` that quantile of the response times."""

    name: str
    label: str
    """What it is called where people see it."""
    meaning: str
    unit: str
    measure: str
    per: int = 1
    """What the count is divided by."""
    share: float | None = None
    scopes: tuple[str, ...] = ("tenant", "channel")
    grains: tuple[str, ...] = tuple(grain.name for grain in GRAINS)
    tiles: tuple[str, ...] = ()
    """The grains of which the dashboard shows the current window: none, it lags behind the others."""

    @property
    def measures(self) -> tuple[str, ...]:
        """What it is made of."""
        return (self.measure,)

    @property
    def formula(self) -> str:
        """What it is made of, in words."""
        if self.share is not None:
            return f"{self.share:.0%} of {self.measure}"
        return self.measure if self.per == 1 else f"{self.measure} / {self.per}"

    @property
    def error(self) -> float | None:
        """The largest relative error; None for a count."""
        return None if self.share is None else BUCKET_ERROR

    @property
    def approximate(self) -> bool:
        """Whether it is an estimate."""
        return self.share is not None

    def value(self, counts: Mapping[str, int], buckets: Buckets) -> float | None:
        """The number of one window; None where it has none."""
        if self.share is None:
            count = counts[self.measure]
            return (count if self.per == 1 else round(count / self.per, 1)) or None
        seconds = quantile(buckets, self.share)
        return None if seconds is None else float(f"{seconds:.3g}")


def _response_time(share: float) -> Interaction:
    percent = f"{share:.0%}".removesuffix("%")
    return Interaction(
        name=f"response_time_p{percent}",
        label=f"Response time, {percent} %",
        meaning=f"{percent} % of the answers in the window took no longer",
        unit="seconds",
        measure="responses",
        share=share,
    )


INTERACTIONS: Final = {
    metric.name: metric
    for metric in (
        Interaction(
            name="sessions",
            label="Sessions",
            meaning="sessions that began: what one person does on one device until 30 minutes without an event, cut "
            "every 24 hours; the session ids of clients are left to the report",
            unit="sessions",
            measure="sessions",
            scopes=("tenant",),
        ),
        Interaction(
            name="engaged_seconds",
            label="Engaged",
            meaning="time between events of a session, at most 5 minutes of each gap, in the window of its later event",
            unit="seconds",
            measure="engaged_ms",
            per=1000,
            scopes=("tenant",),
        ),
        Interaction(
            name="answered",
            label="Answered",
            meaning="waits that somebody else's message ended, in the window of that message",
            unit="waits",
            measure="answered",
        ),
        Interaction(
            name="unanswered",
            label="Unanswered",
            meaning="waits that were given up after 8 hours, 24 in a direct channel, in the window of that moment",
            unit="waits",
            measure="unanswered",
        ),
        _response_time(0.5),
        _response_time(0.9),
        _response_time(0.95),
    )
}


class Waiting(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Somebody who waits for an answer: the message that opened the wait, where and by whom."""

    channel_id: str
    thread_id: str | None
    message_id: str
    author: str
    since: datetime


class Board(msgspec.Struct, frozen=True, kw_only=True):
    """Who waits in one scope: how many, and of them those who have waited longest, and those who began last.

    Each list is in that order and has at most `BOARD_WAITS`.
    """

    total: int = 0
    longest: list[Waiting] = []
    newest: list[Waiting] = []


#: The most waits in each list of a board.
BOARD_WAITS: Final = 100
