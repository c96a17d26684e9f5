"""Trending: what makes a channel's score, worked out by hand, and what keeps it off the list."""

from datetime import timedelta
from typing import Any

import datasketches
import pytest

from api.numbers.trending import LOOK_BACK, Trend, burst_quarters
from infra.contracts.metrics import SKETCH_LG_K, channel_scope
from infra.contracts.windows import QUARTER
from tests.unit.api.conftest import NOW, Client
from tests.unit.api.memory import MemoryDatabase

END = QUARTER.end(QUARTER.start(NOW))
WEEK = timedelta(days=7)


def trend(**fields: float | None) -> Trend:
    counted = {"posters": 4, "responders": 2, "reactions": 9, "messages": 20}
    return Trend(**{**counted, "hours": 0.25, "baseline": None, "elapsed": 1.0, **fields})  # type: ignore[arg-type]


def test_a_score_is_interest_by_age_times_how_unusual_it_is() -> None:
    assert trend().score == pytest.approx(16 / 2.25**1.5)
    assert trend(hours=7.0).score == pytest.approx(16 / 27)
    assert trend(baseline=10).score == pytest.approx(2 * trend().score)
    assert trend(baseline=10, elapsed=0.8).factor == 2.5  # half an hour is not compared with a whole one
    assert trend(baseline=1).factor == 4.0
    assert trend(baseline=200).factor == 0.1
    assert trend(posters=2).score == 0.0


@pytest.mark.parametrize(
    ("sent", "lasted"),
    [
        ([10, 10, 10, 10, 2, 9], 4),  # the fifth has less than half of the mean
        ([0, 12, 12, 12, 12, 12, 0], 6),  # the current one has just begun
        ([8, 0, 0, 0, 50], 1),
        ([5] * LOOK_BACK, LOOK_BACK),
        ([1, 0], 1),
    ],
)
def test_a_burst_goes_back_as_long_as_quarters_are_like_the_last(sent: list[int], lasted: int) -> None:
    assert burst_quarters(sent) == lasted


def sketch(people: int) -> bytes:
    made = datasketches.hll_sketch(SKETCH_LG_K, datasketches.tgt_hll_type.HLL_8)
    for n in range(people):
        made.update(f"u{n}")
    return bytes(made.serialize_compact())


def put(
    database: MemoryDatabase,
    channel: str,
    quarter: int,
    sent: int,
    people: int,
    *,
    reactions: int = 0,
    responders: int = 0,
    week_ago: bool = False,
) -> None:
    """A channel's window so many quarters before the end."""
    start = END - quarter * QUARTER.width - (WEEK if week_ago else timedelta(0))
    key = ("acme", channel_scope(channel), QUARTER.name, QUARTER.period_of(start), "stream")
    row: dict[str, Any] = {"sent": sent, "reactions": reactions}
    for name, number in (("contributors", people), ("responders", responders)):
        row |= {name: number, f"{name}_sketch": sketch(number)}
    database.windows.setdefault(key, {})[start] = row
    if not week_ago:
        database.members.setdefault(("acme", "channel", QUARTER.name, start), []).append((channel, sent, 0, people))


async def test_the_unusual_comes_before_the_busy(client: Client, database: MemoryDatabase) -> None:
    for quarter in range(1, 30):
        put(database, "always", quarter, sent=50, people=8)
    for quarter in (1, 2, 3, 4):
        put(database, "always", quarter, sent=50, people=8, week_ago=True)
        put(database, "usual", quarter, sent=10, people=5, week_ago=True)
        put(database, "usual", quarter, sent=10, people=5)
    # Of the two who react to the first message one reacts to the second as well.
    put(database, "sudden", 1, sent=1, people=1, reactions=2, responders=2)
    put(database, "sudden", 2, sent=14, people=6, reactions=7, responders=1)
    put(database, "sudden", 2, sent=2, people=2, week_ago=True)
    put(database, "two", 1, sent=90, people=2)
    reply = await client("read").get("/v1/trending")
    assert reply.status_code == 200, reply.text
    body = reply.json()
    assert [entry["id"] for entry in body["ranking"]] == ["sudden", "usual", "always"]
    first = body["ranking"][0]
    # 45 minutes and the 30 seconds of the current quarter; both of its quarters are the burst.
    elapsed = 0.75 + 30 / 3600
    hours = 0.5 - 0.25 + 30 / 3600
    score = (6 + 2 + 0.5 * 15) / (hours + 2) ** 1.5 * 4
    assert first == {
        "rank": 1, "id": "sudden", "score": round(score, 3), "factor": 4.0, "posters": 6, "responders": 2,
        "reactions": 9, "messages": 15, "hours": round(hours, 2), "baseline": 2, "elapsed": round(elapsed, 2),
    }  # fmt: skip
    assert body["complete"] is False
    assert (await client("read").get("/v1/trending?limit=1")).json()["ranking"] == [first]
    assert (await client("stranger").get("/v1/trending")).json()["ranking"] == []
    assert (await client("writer").get("/v1/trending")).status_code == 403
