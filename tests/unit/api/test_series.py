"""Streams that follow metrics: what changed is sent once to each, and a stream that comes back has missed nothing."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cassandra import OperationTimedOut

from api.auth import Principal
from api.errors import Refused
from api.live import series
from api.live.frames import Notice
from api.live.series import Followed, Metrics, Place, Reading
from api.live.subscribers import Subscriber
from api.numbers.freshness import Freshness
from api.numbers.windows import Number
from infra.contracts.control import Scope
from infra.contracts.events import to_ms
from infra.contracts.metrics import METRICS
from infra.contracts.windows import MINUTE

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
PLACE = Place("acme", "tenant", MINUTE)
SENT, EDITED, RATE = METRICS["messages_sent"], METRICS["messages_edited"], METRICS["reaction_rate"]


class Windows:
    """What Cassandra has, and how often it was asked."""

    def __init__(self) -> None:
        self.numbers: dict[str, dict[datetime, Number]] = {}
        self.asked = 0
        self.fails = False

    def put(
        self,
        minute: int,
        revision: int = 1,
        written: timedelta = timedelta(0),
        *,
        sent: int = 0,
        edited: int = 0,
        rate: float | None = None,
    ) -> None:
        start = NOON + minute * MINUTE.width
        for metric, value in ((SENT, sent), (EDITED, edited), (RATE, rate)):
            number = Number(start, value, revision, start + timedelta(seconds=30) + written, exact=False)
            self.numbers.setdefault(metric.name, {})[start] = number

    async def read(self, place: Place, metrics: Metrics) -> Reading:
        self.asked += 1
        if self.fails:
            raise OperationTimedOut
        freshness = Freshness(watermark=NOON + timedelta(minutes=2))
        end = NOON + timedelta(hours=1)
        numbers = {metric.name: dict(self.numbers.get(metric.name, {})) for metric in metrics}
        return Reading(numbers=numbers, freshness=freshness, start=NOON, end=end)


@pytest.fixture
def windows() -> Windows:
    return Windows()


@pytest.fixture
async def followed(windows: Windows, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Followed]:
    monkeypatch.setattr(series, "_AT_MOST_SECONDS", 0.001)
    followed = Followed(windows.read)
    yield followed
    followed.close()


def subscriber() -> Subscriber[Notice]:
    return Subscriber(Principal(tenant="acme", key_hash="h", scopes=frozenset({Scope.READ})), events=100, size=100_000)


def told(notices: list[Notice]) -> list[tuple[str, dict[str, Any], str | None]]:
    """Name, data and id of each."""
    found = []
    for notice in notices:
        fields = dict(line.split(": ", 1) for line in notice.sse().decode().strip().splitlines())
        found.append((fields["event"], json.loads(fields["data"]), fields.get("id")))
    return found


def points(notices: list[Notice]) -> list[tuple[str, int, float | None]]:
    return [
        (data["metric"], datetime.fromisoformat(data["start"]).minute, data["value"])
        for name, data, _ in told(notices)
        if name == "point"
    ]


async def test_a_new_stream_is_told_every_window_and_how_far_they_are(followed: Followed, windows: Windows) -> None:
    windows.put(1, sent=5)
    windows.put(4, sent=7, edited=2)
    notices, recovered = await followed.open(subscriber(), PLACE, (SENT, EDITED), None)
    assert recovered
    assert points(notices) == [("messages_sent", 1, 5), ("messages_sent", 4, 7), ("messages_edited", 4, 2)]
    first, *_, last = told(notices)
    assert first[1] | {"final": True, "scope": "tenant", "grain": "1m", "revision": 1} == first[1]
    assert first[2] == str(to_ms(NOON + timedelta(seconds=90)))
    assert (last[0], last[1]["watermark"]) == ("progress", "2026-03-14T12:02:00Z")


async def test_what_changed_is_sent_to_each_that_follows_it(followed: Followed, windows: Windows) -> None:
    windows.put(1, sent=5)
    both, edits = subscriber(), subscriber()
    await followed.open(both, PLACE, (SENT, EDITED), None)
    await followed.open(edits, PLACE, (EDITED,), None)
    assert windows.asked == 1
    windows.put(1, revision=2, sent=4)
    windows.put(2, edited=1)
    followed.wake("globex")
    followed.wake("acme")
    assert points(await both.take(10_000, 5)) == [("messages_sent", 1, 4), ("messages_edited", 2, 1)]
    assert points(await edits.take(10_000, 5)) == [("messages_edited", 2, 1)]
    # Corrected to nothing is a point as well; written again with the same numbers is none.
    windows.put(1, revision=3, sent=0)
    windows.put(2, revision=2, edited=1)
    followed.wake("acme")
    assert points(await both.take(10_000, 5)) == [("messages_sent", 1, 0)]
    assert [name for name, *_ in told(await edits.take(10_000, 5))] == ["progress"]


async def test_a_ratio_is_told_where_there_is_something_to_divide_by(followed: Followed, windows: Windows) -> None:
    windows.put(1, sent=5, rate=0.0)
    windows.put(2)
    stream = subscriber()
    notices, _ = await followed.open(stream, PLACE, (RATE,), None)
    assert points(notices) == [("reaction_rate", 1, 0.0)]
    windows.put(1, revision=2, sent=4, rate=0.25)
    windows.put(3, edited=1)
    followed.wake("acme")
    assert points(await stream.take(10_000, 5)) == [("reaction_rate", 1, 0.25)]
    # Corrected to nothing.
    windows.put(1, revision=3)
    followed.wake("acme")
    assert points(await stream.take(10_000, 5)) == [("reaction_rate", 1, None)]


async def test_a_metric_that_nobody_followed_is_read_when_somebody_does(followed: Followed, windows: Windows) -> None:
    windows.put(1, sent=5)
    sent, edits = subscriber(), subscriber()
    await followed.open(sent, PLACE, (SENT,), None)
    windows.put(2, sent=1, edited=7)
    notices, _ = await followed.open(edits, PLACE, (EDITED,), None)
    assert points(notices) == [("messages_edited", 2, 7)]
    # What that read found is told to the others, and once.
    assert points(await sent.take(10_000, 5)) == [("messages_sent", 2, 1)]
    windows.put(3, sent=2, edited=1)
    followed.wake("acme")
    assert points(await sent.take(10_000, 5)) == [("messages_sent", 3, 2)]
    assert points(await edits.take(10_000, 5)) == [("messages_edited", 3, 1)]


async def test_one_that_comes_back_gets_what_was_written_since(followed: Followed, windows: Windows) -> None:
    for minute in range(6):
        windows.put(minute, sent=1 + minute)
    left = NOON + timedelta(minutes=4, seconds=30)
    windows.put(0, revision=2, written=timedelta(minutes=5), sent=0)  # corrected while it was away
    notices, recovered = await followed.open(subscriber(), PLACE, (SENT,), str(to_ms(left)))
    assert recovered
    # Those written up to half a minute before come once more, the newest written last.
    assert points(notices) == [("messages_sent", 4, 5), ("messages_sent", 0, 0), ("messages_sent", 5, 6)]
    _, recovered = await followed.open(subscriber(), PLACE, (SENT,), str(to_ms(NOON - timedelta(seconds=1))))
    assert not recovered
    for token in ("yesterday", "9" * 40):
        with pytest.raises(Refused, match="resume token"):
            await followed.open(subscriber(), PLACE, (SENT,), token)


async def test_a_read_that_fails_is_made_again_and_a_first_one_refuses(followed: Followed, windows: Windows) -> None:
    windows.fails = True
    refused = subscriber()
    with pytest.raises(OperationTimedOut):
        await followed.open(refused, PLACE, (SENT,), None)
    windows.fails = False
    stream = subscriber()
    await followed.open(stream, PLACE, (SENT,), None)
    windows.fails = True
    asked = windows.asked
    followed.wake("acme")
    async with asyncio.timeout(5):
        while windows.asked < asked + 3:
            await asyncio.sleep(0.001)  # another task's state can only be asked for
    windows.put(3, sent=9)
    windows.fails = False
    assert points(await stream.take(10_000, 5)) == [("messages_sent", 3, 9)]


async def test_a_series_that_nobody_follows_is_not_read(followed: Followed, windows: Windows) -> None:
    stream = subscriber()
    await followed.open(stream, PLACE, (SENT,), None)
    followed.leave(stream)
    followed.wake("acme")
    await asyncio.sleep(0.05)  # long enough for fifty reads
    assert windows.asked == 1


async def test_a_revoked_key_ends_its_streams(followed: Followed) -> None:
    stream = subscriber()
    await followed.open(stream, PLACE, (SENT,), None)
    followed.sweep(lambda principal: False)
    assert stream.closed.result() == "revoked"
