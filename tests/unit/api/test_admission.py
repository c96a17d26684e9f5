from datetime import UTC, datetime

import pytest

from api.live.admission import Admission, Full
from infra.runtime.clock import ManualClock


def admission(clock: ManualClock, jitter: float = 0.0, **bounds: float) -> Admission:
    given = {"connections": 10, "of_tenant": 5, "per_second": 100.0, **bounds}
    return Admission(
        clock,
        lambda: jitter,
        connections=int(given["connections"]),
        of_tenant=int(given["of_tenant"]),
        per_second=given["per_second"],
    )


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 1, 1, tzinfo=UTC))


def test_a_herd_is_let_in_at_a_bounded_pace(clock: ManualClock) -> None:
    door = admission(clock, per_second=5.0)
    for _ in range(10):
        door.knock()
    with pytest.raises(Full):
        door.knock()
    clock.advance(1)
    for _ in range(5):
        door.knock()
    with pytest.raises(Full):
        door.knock()


def test_the_retry_is_spread_out(clock: ManualClock) -> None:
    for jitter, seconds in ((0.0, 1), (0.5, 6), (0.99, 10)):
        door = admission(clock, jitter, connections=0)
        with pytest.raises(Full) as full:
            door.knock()
        assert full.value.retry_after == seconds


def test_one_tenant_leaves_room_for_the_others(clock: ManualClock) -> None:
    door = admission(clock, of_tenant=2)
    door.enter("a")
    door.enter("a")
    with pytest.raises(Full):
        door.enter("a")
    door.enter("b")
    door.leave("a")
    door.enter("a")
    assert door.total == 3


async def test_waiting_for_the_last_stream_is_bounded(clock: ManualClock) -> None:
    door = admission(clock)
    assert await door.empty(0.01)
    door.enter("a")
    assert not await door.empty(0.01)
    door.leave("a")
    assert await door.empty(0.01)
