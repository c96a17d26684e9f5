import random
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.contracts import codec
from infra.contracts.events import Event, to_ms
from infra.contracts.placement import time_of_id
from infra.runtime.clock import SystemClock
from ingest.client import Backoff, Client, Drop, Outcome
from tests.unit.ingest.fake_ingest import FakeIngest, problem

pytestmark = pytest.mark.unit

Maker = Callable[..., Client]
_NOW = datetime(2025, 3, 1, 12, 0, 0, 123_456, tzinfo=UTC)


class _StoppedWall(SystemClock):
    """Waits pass, the wall clock does not move."""

    def now(self) -> datetime:
        return _NOW


class _Ends:
    """Remembers what a client says became of its events."""

    def __init__(self) -> None:
        self.drops: list[tuple[str, Drop]] = []
        self.outcomes: dict[str, Outcome] = {}
        self._lock = threading.Lock()

    def on_drop(self, event: dict[str, Any], drop: Drop) -> None:
        self.drops.append((event["id"], drop))

    def on_result(self, identifier: str, outcome: Outcome) -> None:
        with self._lock:
            assert identifier not in self.outcomes
            self.outcomes[identifier] = outcome


@pytest.fixture
def ingest() -> FakeIngest:
    return FakeIngest()


@pytest.fixture
def ends() -> _Ends:
    return _Ends()


@pytest.fixture
def client(ingest: FakeIngest, ends: _Ends) -> Iterator[Maker]:
    made: list[Client] = []

    def make(**settings: Any) -> Client:
        defaults: dict[str, Any] = {
            "flush_interval": 0.005,
            "backoff": Backoff(first=0.002, longest=0.01, rng=random.Random(1)),
            "clock": _StoppedWall(),
            "on_drop": ends.on_drop,
            "on_result": ends.on_result,
        }
        made.append(Client("http://ingest", "secret", transport=ingest.transport, **(defaults | settings)))
        return made[-1]

    yield make
    for one in made:
        one.close(0)


def _message(**fields: Any) -> dict[str, Any]:
    return {"type": "message.sent", "channel_id": "c", "user_id": "u", "text": "hi", **fields}


def _ids(ingest: FakeIngest) -> list[str]:
    return [event["id"] for batch in ingest.batches for event in batch["batch"]]


def test_events_arrive_complete_and_in_order(client: Maker, ingest: FakeIngest, ends: _Ends) -> None:
    one = client()
    sent = [one.send(_message(text=f"m{n}")) for n in range(1_200)]
    assert one.flush(5)
    assert _ids(ingest) == sent == sorted(set(sent))
    assert max(len(batch["batch"]) for batch in ingest.batches) <= 500
    assert all(batch["sent_at"] == "2025-03-01T12:00:00.123+00:00" for batch in ingest.batches)
    assert all("historical" not in batch for batch in ingest.batches)
    stored = ingest.stored[sent[0]]
    assert stored["time"] == "2025-03-01T12:00:00.123+00:00"
    assert time_of_id(sent[0]) == _NOW.replace(microsecond=123_000)
    codec.decode(codec.encode(Event(**{**stored, "time": _NOW})))
    assert ends.outcomes == dict.fromkeys(sent, Outcome.STORED)
    assert (one.stats.sent, one.stats.accepted, one.stats.dropped, one.stats.queued) == (1_200, 1_200, 0, 0)


def test_requests_are_gzipped_and_carry_the_key(client: Maker, ingest: FakeIngest) -> None:
    one = client(historical=True)
    one.send(_message())
    assert one.flush(5)
    (request,) = ingest.requests
    assert request.url == "http://ingest/v1/batch"
    assert request.headers["Authorization"] == "Bearer secret"
    assert request.headers["Content-Encoding"] == "gzip"
    assert ingest.batches[0]["historical"] is True


def test_an_id_carries_the_time_the_event_has(client: Maker, ingest: FakeIngest) -> None:
    one = client()
    past = _NOW - timedelta(days=40)
    as_text, as_datetime = one.send(_message(time="2025-01-02T03:04:05.678+01:00")), one.send(_message(time=past))
    given = one.send(Event(id="mine", type="session.started", time=past, user_id="u"))
    unreadable = one.send(_message(time="yesterday"))
    assert one.flush(5)
    moment = time_of_id(as_text)
    assert moment is not None
    assert to_ms(moment) == to_ms(datetime(2025, 1, 2, 2, 4, 5, 678_000, tzinfo=UTC))
    assert time_of_id(as_datetime) == past.replace(microsecond=123_000)
    assert given == "mine"
    assert time_of_id(unreadable) == _NOW.replace(microsecond=123_000)
    assert "channel_id" not in ingest.stored["mine"]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_refused_request_is_sent_again_with_the_same_ids(
    client: Maker, ingest: FakeIngest, ends: _Ends, status: int
) -> None:
    ingest.scripts.extend([lambda _: problem(status)] * 3)
    one = client()
    sent = one.send(_message())
    assert one.flush(5)
    assert _ids(ingest) == [sent] * 4
    assert ends.outcomes == {sent: Outcome.STORED}
    assert (one.stats.retried, one.stats.accepted) == (3, 1)


def test_a_lost_answer_ends_as_a_duplicate_not_a_second_copy(client: Maker, ingest: FakeIngest) -> None:
    def store_but_time_out(request: httpx.Request) -> httpx.Response:
        ingest.store(ingest.batches[-1]["batch"])
        raise httpx.ReadTimeout("late", request=request)

    ingest.scripts.append(store_but_time_out)
    one = client()
    one.send(_message())
    assert one.flush(5)
    assert (one.stats.accepted, one.stats.duplicates, len(ingest.stored)) == (0, 1, 1)


def test_an_answer_that_is_not_ingests_is_not_believed(client: Maker, ingest: FakeIngest) -> None:
    ingest.scripts.append(lambda _: httpx.Response(200, text="<html>welcome to the wifi</html>"))
    ingest.scripts.append(lambda _: httpx.Response(200, json={"accepted": 7, "duplicates": 0}))
    one = client()
    sent = one.send(_message())
    assert one.flush(5)
    assert _ids(ingest) == [sent] * 3
    assert one.stats.accepted == 1


def test_it_waits_as_long_as_it_is_told(client: Maker, ingest: FakeIngest) -> None:
    ingest.scripts.append(lambda _: problem(429, headers={"Retry-After": "1"}))
    one = client()
    one.send(_message())
    assert not one.flush(0.9)
    assert len(ingest.requests) == 1
    assert one.flush(5)


def test_only_what_can_still_succeed_is_sent_again_and_before_what_is_younger(
    client: Maker, ingest: FakeIngest, ends: _Ends
) -> None:
    ingest.refuse["bad"] = ("bad_user", "user_id")
    ingest.scripts.append(lambda _: ingest.store(ingest.batches[-1]["batch"], unavailable=frozenset({1})))
    one = client(batch_events=3, flush_interval=10)
    for name in ("a", "b", "bad", "d", "e"):
        one.send(_message(id=name))
    assert one.flush(5)
    assert [[event["id"] for event in batch["batch"]] for batch in ingest.batches] == [
        ["a", "b", "bad"],
        ["b", "d", "e"],
    ]
    assert [(identifier, drop.code, drop.field) for identifier, drop in ends.drops] == [("bad", "bad_user", "user_id")]
    assert ends.outcomes["bad"] is Outcome.REFUSED
    assert sorted(ingest.stored) == ["a", "b", "d", "e"]
    assert (one.stats.accepted, one.stats.retried, one.stats.dropped) == (4, 1, 1)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 415])
def test_a_request_that_can_never_succeed_drops_its_events(
    client: Maker, ingest: FakeIngest, ends: _Ends, status: int
) -> None:
    ingest.scripts.append(lambda _: problem(status))
    one = client()
    sent = one.send(_message())
    assert one.flush(5)
    assert [(identifier, drop.code) for identifier, drop in ends.drops] == [(sent, f"http_{status}")]


def test_a_batch_too_large_for_the_server_is_halved(client: Maker, ingest: FakeIngest) -> None:
    ingest.scripts.extend([lambda _: problem(413)] * 2)
    one = client(batch_events=8, flush_interval=10)
    sent = [one.send(_message()) for _ in range(8)]
    assert one.flush(5)
    assert [len(batch["batch"]) for batch in ingest.batches] == [8, 4, 2, 2, 2, 2]
    assert list(ingest.stored) == sent


def test_batches_stay_within_their_bytes(client: Maker, ingest: FakeIngest) -> None:
    one = client(batch_bytes=4_000, flush_interval=10)
    for _ in range(50):
        one.send(_message(text="x" * 500))
    assert one.flush(5)
    assert len(ingest.stored) == 50
    assert max(len(batch["batch"]) for batch in ingest.batches) <= 6


def test_a_full_queue_is_told(client: Maker, ingest: FakeIngest, ends: _Ends) -> None:
    ingest.down = True
    one = client(max_queue_events=5, flush_interval=10)
    sent = [one.send(_message()) for _ in range(8)]
    assert [(identifier, drop.code) for identifier, drop in ends.drops] == [(name, "queue_full") for name in sent[5:]]
    assert not one.close(0.05)
    assert len(ends.drops) == 8
    assert {drop.code for _, drop in ends.drops[3:]} == {"closed"}
    assert ends.outcomes[sent[0]] is Outcome.UNKNOWN
    assert one.stats.dropped == 8


def test_an_event_longer_than_the_limit_never_leaves(client: Maker, ingest: FakeIngest, ends: _Ends) -> None:
    one = client()
    one.send(_message(properties={"x": "y" * 40_000}))
    assert one.flush(5)
    assert [drop.code for _, drop in ends.drops] == ["too_large"]
    assert ingest.requests == []


def test_what_does_not_fit_in_memory_goes_to_disk_and_arrives_in_order(
    client: Maker, ingest: FakeIngest, ends: _Ends, tmp_path: Path
) -> None:
    ingest.down = True
    one = client(max_queue_events=5, spool_dir=tmp_path, batch_events=4)
    sent = [one.send(_message()) for _ in range(40)]
    assert one.stats.spooled > 0
    ingest.down = False
    sent += [one.send(_message()) for _ in range(10)]
    assert one.flush(5)
    assert list(ingest.stored) == sent
    assert ends.drops == []
    assert ends.outcomes == dict.fromkeys(sent, Outcome.STORED)
    assert one.stats.spooled == 0
    assert list(tmp_path.glob("*.jsonl")) == []


def test_what_is_left_at_the_end_is_sent_by_the_next_client(
    client: Maker, ingest: FakeIngest, ends: _Ends, tmp_path: Path
) -> None:
    ingest.down = True
    first = client(max_queue_events=5, spool_dir=tmp_path)
    sent = [first.send(_message()) for _ in range(12)]
    assert not first.close(0.05)
    assert ends.drops == []
    with pytest.raises(RuntimeError, match="closed"):
        first.send(_message())
    ingest.down = False
    second = client(spool_dir=tmp_path)
    sent.append(second.send(_message()))
    assert second.flush(5)
    assert list(ingest.stored) == sent


def test_a_full_spool_is_told(client: Maker, ingest: FakeIngest, ends: _Ends, tmp_path: Path) -> None:
    ingest.down = True
    one = client(max_queue_events=2, spool_dir=tmp_path, spool_bytes=500, flush_interval=10)
    for _ in range(10):
        one.send(_message())
    assert {drop.code for _, drop in ends.drops} == {"spool_full"}


def test_a_callback_that_fails_stops_nothing(client: Maker, ingest: FakeIngest) -> None:
    def angry(*_: object) -> None:
        raise ValueError("no")

    one = client(on_drop=angry, on_result=angry)
    ingest.refuse["bad"] = ("bad_time", "time")
    for name in ("bad", "good"):
        one.send(_message(id=name))
    assert one.flush(5)
    assert list(ingest.stored) == ["good"]


def test_many_threads_lose_nothing(client: Maker, ingest: FakeIngest, ends: _Ends) -> None:
    one = client()
    threads = [threading.Thread(target=lambda: [one.send(_message()) for _ in range(200)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert one.flush(5)
    assert len(ingest.stored) == len(ends.outcomes) == 800
