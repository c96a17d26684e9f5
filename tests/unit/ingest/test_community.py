from collections import Counter
from datetime import UTC, datetime
from itertools import islice, pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.contracts import codec, events
from infra.contracts.placement import time_of_id
from ingest.simulator import speech
from ingest.simulator.community import Community, Planned, Shares, Zipf
from ingest.simulator.rhythm import HOUR_FACTORS, arrivals

pytestmark = pytest.mark.unit

_START = datetime(2025, 6, 1, 9, 30, tzinfo=UTC)
_PLAIN = Shares(late=0, duplicate=0, caught=0, bots=0)


def _community(**changes: Any) -> Community:
    defaults: dict[str, Any] = {
        "users": 100,
        "channels": 10,
        "rate": 100.0,
        "seed": 7,
        "start": _START,
        "duration": 60.0,
    }
    return Community(**(defaults | changes))


def _plan(**changes: Any) -> list[Planned]:
    return list(_community(**changes).plan())


def test_a_seed_plans_the_same_every_time_and_another_seed_something_else() -> None:
    assert _plan() == _plan()
    assert _plan() != _plan(seed=8)


def test_a_later_start_changes_ids_and_times_alone() -> None:
    def told(planned: Planned) -> tuple[object, ...]:
        event = planned.event
        return planned.offset, event.type, event.channel_id, event.user_id, event.text, event.reaction, planned.is_copy

    now, later = _plan(), _plan(start=datetime(2026, 1, 1, tzinfo=UTC))
    assert [told(one) for one in now] == [told(one) for one in later]
    assert not {one.event.id for one in now} & {one.event.id for one in later}


def test_every_event_keeps_the_contract_and_its_id_carries_its_time() -> None:
    for planned in _plan():
        event = codec.decode(codec.encode(planned.event), limit=events.MAX_EVENT_BYTES)
        assert event == planned.event
        assert time_of_id(event.id) == event.time
        assert event.type in events.KNOWN_TYPES
        assert planned.as_server == (event.type in events.SERVER_TYPES)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1_000), st.integers(1, 40), st.integers(1, 8), st.floats(1, 200))
def test_any_community_sends_in_order_within_its_duration_and_every_id_as_often_as_it_says(
    seed: int, users: int, channels: int, rate: float
) -> None:
    plan = _plan(seed=seed, users=users, channels=channels, rate=rate, duration=20.0, shares=Shares(duplicate=0.2))
    assert all(one.offset <= other.offset for one, other in pairwise(plan))
    assert all(0 <= planned.offset <= 20 for planned in plan)
    seen = Counter(planned.event.id for planned in plan)
    assert all(seen[planned.event.id] == planned.sends for planned in plan)


def test_the_rate_is_the_mean() -> None:
    plan = _plan(duration=200.0, shares=_PLAIN)
    assert len(plan) == pytest.approx(20_000, rel=0.03)
    seconds = Counter(int(planned.offset) for planned in plan)
    assert max(seconds.values()) > 200


def test_it_goes_on_without_a_duration() -> None:
    assert len(list(islice(_community(duration=None).plan(), 20_000))) == 20_000


def test_everybody_joins_before_acting_in_a_channel_that_exists() -> None:
    created: set[str] = set()
    joined: set[tuple[str, str]] = set()
    for planned in _plan(shares=_PLAIN):
        event = planned.event
        if event.channel_id is None:
            continue
        if event.type == events.CHANNEL_CREATED:
            assert event.channel_id not in created
            created.add(event.channel_id)
        elif event.type == events.CHANNEL_JOINED:
            assert event.channel_id in created
            joined.add((event.channel_id, event.author))
        else:
            assert (event.channel_id, event.author) in joined


def test_changes_are_about_messages_sent_before_in_that_channel_and_edits_come_from_their_authors() -> None:
    messages: dict[str, events.Event] = {}
    deleted: set[str] = set()
    for planned in _plan(shares=_PLAIN):
        event = planned.event
        if event.type == events.MESSAGE_SENT:
            messages[event.id] = event
            for named in (event.reply_to, event.thread_id):
                assert named is None or named in messages
        elif event.type in events.CHANGES:
            assert event.message_id is not None
            assert messages[event.message_id].channel_id == event.channel_id
            if event.type in events.SERVER_TYPES:
                assert messages[event.message_id].user_id == event.user_id
                assert event.message_id not in deleted
            if event.type == events.MESSAGE_DELETED:
                deleted.add(event.message_id)
    assert deleted


def test_all_kinds_occur_and_messages_lead() -> None:
    kinds = Counter(planned.event.type for planned in _plan(duration=300.0))
    assert kinds.keys() == events.KNOWN_TYPES - {events.CHANNEL_LEFT}
    assert kinds.most_common(1)[0][0] == events.MESSAGE_SENT


def test_shares_are_kept() -> None:
    plan = _plan(duration=300.0, shares=Shares(late=0.05, duplicate=0.1, caught=0.2, bots=0.1))
    firsts = [planned for planned in plan if not planned.is_copy]
    copies = [planned for planned in plan if planned.is_copy]
    late = [one for one in firsts if one.offset - (one.event.time - _START).total_seconds() > 1]
    messages = [planned.event for planned in firsts if planned.event.type == events.MESSAGE_SENT]
    assert len(copies) / len(firsts) == pytest.approx(0.1, abs=0.01)
    assert len(late) / len(firsts) == pytest.approx(0.05, abs=0.01)
    assert sum(event.is_bot is True for event in messages) / len(messages) == pytest.approx(0.1, abs=0.03)
    by_id = {planned.event.id: planned.event for planned in firsts}
    assert all(by_id[copy.event.id] == copy.event for copy in copies)
    assert any(not text.isascii() for text in (event.text or "" for event in messages))


def test_few_channels_and_users_do_most() -> None:
    plan = _plan(duration=200.0, channels=50)
    for counts in (Counter(p.event.channel_id for p in plan), Counter(p.event.user_id for p in plan)):
        top = sum(count for _, count in counts.most_common(len(counts) // 5))
        assert top > 0.45 * len(plan)


def test_zipf_draws_the_first_most() -> None:
    rng = Random(1)
    zipf = Zipf(10)
    drawn = Counter(zipf.draw(rng) for _ in range(10_000))
    assert drawn[0] / drawn[1] == pytest.approx(2, rel=0.15)
    assert drawn.keys() == set(range(10))


def test_a_day_has_its_quiet_and_its_busy_hours() -> None:
    assert sum(HOUR_FACTORS) / 24 == pytest.approx(1)
    hours = Counter[int]()
    for arrival in arrivals(Random(1), 0.5, start_hour=0.0):
        if arrival.offset >= 86_400:
            break
        hours[int(arrival.offset // 3600)] += 1
    assert hours.total() == pytest.approx(43_200, rel=0.03)
    assert hours[20] > 5 * hours[3]


@given(st.integers())
def test_card_numbers_pass_luhn(seed: int) -> None:
    digits = [int(c) for c in reversed(speech.card_number(Random(seed)).replace(" ", ""))]
    assert len(digits) == 16
    assert sum(d if n % 2 == 0 else sum(divmod(2 * d, 10)) for n, d in enumerate(digits)) % 10 == 0


@pytest.mark.parametrize("wrong", [{"users": 0}, {"channels": 0}, {"rate": 0.0}])
def test_a_community_needs_people_channels_and_a_rate(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a community has"):
        _community(**wrong)
