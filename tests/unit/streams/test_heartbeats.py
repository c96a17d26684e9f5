"""A heartbeat's time never passes an event that still waits."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from infra.contracts import codec
from infra.contracts.events import Event, Invalid
from streams.router.agents import Standing
from streams.router.heartbeats import heartbeat, heartbeat_time

NOW = datetime(2026, 3, 14, 9, 27, tzinfo=UTC)


def standing(partition: int, done: int, end: int, age: float = 0) -> Standing:
    return Standing(tp=("ingest", partition), done=done, end=end, known_at=NOW - timedelta(seconds=age))


def test_done_up_to_when_the_end_was_told() -> None:
    assert heartbeat_time([standing(0, 5, 5, age=3_600)], lambda _: None) == NOW - timedelta(hours=1)


def test_a_partition_behind_holds_everyone_back_to_its_last_record() -> None:
    old = NOW - timedelta(minutes=10)
    standings = [standing(0, 5, 5), standing(1, 3, 9)]
    assert heartbeat_time(standings, {("ingest", 1): old}.get) == old
    assert heartbeat_time(standings, lambda _: None) is None
    assert heartbeat_time([], lambda _: None) is None


def test_a_heartbeat_is_an_event_that_clients_cannot_send() -> None:
    raw = codec.encode(heartbeat(3, NOW))
    with pytest.raises(Invalid, match="reserved"):
        codec.decode(raw)
    assert msgspec.json.decode(raw, type=Event).time == NOW
