"""Records that came past ingest: nobody can move event time, and a message keeps the place its client gave it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from infra.contracts.events import Event, Invalid
from streams.router.steps.stamping import MAX_AHEAD, check_tenant, stamp

APPENDED = datetime(2026, 3, 14, 9, 27, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def event(**fields: Any) -> Event:
    base: dict[str, Any] = {"id": "e", "type": "message.sent", "channel_id": "c", "user_id": "u", "text": "x"}
    return Event(**{**base, "time": APPENDED - SECOND, "tenant": "acme", **fields})


def test_what_ingest_stamped_stays() -> None:
    stamped = event(received_at=APPENDED, request_id="r")
    assert not stamp(stamped, APPENDED, historical=False)
    assert stamped == event(received_at=APPENDED, request_id="r")


def test_a_direct_record_is_received_when_it_was_appended() -> None:
    direct = event()
    assert stamp(direct, APPENDED, historical=False)
    assert (direct.received_at, direct.time, direct.client_time) == (APPENDED, APPENDED - SECOND, None)


def test_a_time_ahead_becomes_the_time_of_receipt_and_the_clients_is_kept() -> None:
    direct = event(time=APPENDED + 60 * SECOND, client_time=APPENDED - 999 * SECOND)
    assert stamp(direct, APPENDED, historical=False)
    assert (direct.time, direct.client_time) == (APPENDED, APPENDED + 60 * SECOND)


def test_a_receipt_in_the_future_is_not_believed() -> None:
    ahead = event(received_at=APPENDED + MAX_AHEAD + SECOND, request_id="r", time=APPENDED + MAX_AHEAD)
    assert stamp(ahead, APPENDED, historical=False)
    assert (ahead.received_at, ahead.time) == (APPENDED, APPENDED)


def test_a_message_stamped_by_a_fast_ingest_keeps_the_place_its_client_gave_it() -> None:
    placed = APPENDED - 30 * SECOND
    ahead = event(received_at=APPENDED + 60 * SECOND, request_id="r", time=APPENDED + 50 * SECOND, client_time=placed)
    assert stamp(ahead, APPENDED, historical=False)
    assert ahead.placed_time == placed


def test_the_lane_says_what_is_historical() -> None:
    live, old = event(historical=True), event(time=APPENDED - timedelta(days=400))
    assert stamp(live, APPENDED, historical=False)
    assert live.historical is None
    assert stamp(old, APPENDED, historical=True)
    assert (old.historical, old.time) == (True, APPENDED - timedelta(days=400))


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"time": APPENDED + timedelta(hours=2)}, "bad_time"),
        ({"id": "01a1b2c3-0000-7000-8000-000000000000"}, "future_id"),
    ],
)
def test_too_far_ahead_is_refused(fields: dict[str, Any], code: str) -> None:
    with pytest.raises(Invalid) as refused:
        stamp(event(**fields), APPENDED, historical=False)
    assert refused.value.code == code


@pytest.mark.parametrize("tenant", [None, "", "a:b", "A", "-a", "a" * 64, "a\n"])
def test_tenants_that_cannot_be(tenant: str | None) -> None:
    with pytest.raises(Invalid):
        check_tenant(tenant)
