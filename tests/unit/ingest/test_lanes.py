import random
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec
import pytest

from infra.runtime.clock import SystemClock
from infra.runtime.errors import PreconditionError, Unreachable
from ingest.client.backoff import Backoff
from ingest.client.wire import Wire
from ingest.lanes import Delivered, Lanes
from tests.unit.ingest.fake_ingest import FakeIngest, problem

pytestmark = pytest.mark.unit


@dataclass
class _Parcel:
    lane: int
    numbers: list[int]
    raws: list[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.raws = [msgspec.json.encode({"id": f"{self.lane}-{number}"}) for number in self.numbers]


class _Settled:
    def __init__(self) -> None:
        self.parcels: dict[int, list[int]] = defaultdict(list)
        self.results: list[Delivered] = []

    def __call__(self, parcel: _Parcel, delivered: Delivered) -> None:
        self.parcels[parcel.lane].extend(parcel.numbers)
        self.results.append(delivered)


@pytest.fixture
def ingest() -> FakeIngest:
    return FakeIngest()


@pytest.fixture
def settled() -> _Settled:
    return _Settled()


def _lanes(
    settled: Callable[[_Parcel, Delivered], None], transport: httpx.BaseTransport, **changes: Any
) -> Lanes[_Parcel]:
    clock = SystemClock()
    backoff = Backoff(first=0.001, longest=0.005, rng=random.Random(1))
    settings: dict[str, Any] = {"count": 2, "patience": 5.0, "clock": clock, "backoff": backoff}
    return Lanes(Wire("http://ingest", "key", clock=clock, transport=transport), settled, **(settings | changes))


@pytest.fixture
def lanes(ingest: FakeIngest, settled: _Settled) -> Iterator[Lanes[_Parcel]]:
    lanes = _lanes(settled, ingest.transport)
    yield lanes
    lanes.abandon()


def test_each_lane_keeps_its_order_through_failures(
    lanes: Lanes[_Parcel], ingest: FakeIngest, settled: _Settled
) -> None:
    ingest.scripts.extend([lambda _: problem(503), lambda _: httpx.Response(502, text="no"), lambda _: problem(429)])
    for n in range(20):
        lanes.put(n % 2, _Parcel(n % 2, [2 * n, 2 * n + 1]))
    lanes.drain()
    assert {lane: sorted(numbers) for lane, numbers in settled.parcels.items()} == settled.parcels
    assert sum(result.accepted for result in settled.results) == len(ingest.stored) == 40


def test_only_what_is_left_of_a_parcel_is_sent_again(
    lanes: Lanes[_Parcel], ingest: FakeIngest, settled: _Settled
) -> None:
    ingest.refuse["0-3"] = ("bad_time", "time")
    ingest.scripts.append(lambda _: ingest.store(ingest.batches[-1]["batch"], unavailable=frozenset({1, 3})))
    lanes.put(0, _Parcel(0, [0, 1, 2, 3]))
    lanes.drain()
    assert [[event["id"] for event in batch["batch"]] for batch in ingest.batches] == [
        ["0-0", "0-1", "0-2", "0-3"],
        ["0-1", "0-3"],
    ]
    (result,) = settled.results
    assert result.accepted == 3
    assert {index: drop.code for index, drop in result.refused.items()} == {3: "bad_time"}


@pytest.mark.parametrize(("status", "hint"), [(401, "right key"), (403, "scope backfill"), (404, "address"), (413, "")])
def test_a_refused_request_stops_every_lane(
    lanes: Lanes[_Parcel], ingest: FakeIngest, settled: _Settled, status: int, hint: str
) -> None:
    ingest.scripts.append(lambda _: problem(status))

    def feed() -> None:
        for n in range(100):
            lanes.put(0, _Parcel(0, [n]))

    with pytest.raises(PreconditionError, match=f"HTTP {status}.*{hint}"):
        feed()
    assert len(ingest.requests) < 10
    assert not settled.parcels


def test_silence_is_borne_only_so_long(ingest: FakeIngest, settled: _Settled) -> None:
    ingest.down = True
    lanes = _lanes(settled, ingest.transport, patience=0.02)
    lanes.put(0, _Parcel(0, [1]))
    with pytest.raises(Unreachable, match="http://ingest does not answer"):
        lanes.drain()


def test_being_told_to_wait_is_not_silence(ingest: FakeIngest, settled: _Settled) -> None:
    ingest.scripts.extend([lambda _: problem(429)] * 20)
    lanes = _lanes(settled, ingest.transport, patience=0.0)
    lanes.put(0, _Parcel(0, [1]))
    lanes.drain()
    assert settled.parcels == {0: [1]}


def test_a_settle_that_fails_is_raised_to_the_feeder(ingest: FakeIngest) -> None:
    def broken(parcel: _Parcel, delivered: Delivered) -> None:
        raise ValueError("state cannot be written")

    lanes = _lanes(broken, ingest.transport)
    lanes.put(0, _Parcel(0, [1]))
    with pytest.raises(ValueError, match="cannot be written"):
        lanes.drain()


def test_abandoning_leaves_what_is_queued(ingest: FakeIngest, settled: _Settled) -> None:
    entered, go = threading.Event(), threading.Event()

    def slow(request: httpx.Request) -> httpx.Response:
        entered.set()
        go.wait(5)
        return ingest.handle(request)

    lanes = _lanes(settled, httpx.MockTransport(slow))
    for n in range(3):
        lanes.put(0, _Parcel(0, [n]))
    assert entered.wait(5)
    stopping = threading.Thread(target=lanes.abandon)
    stopping.start()
    while not lanes._stopping.is_set():
        threading.Event().wait(0.001)
    go.set()
    stopping.join()
    assert settled.parcels == {0: [0]}
