"""What rules that count remember: a function of the last stretch of the log, wherever reading began."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.contracts.rules import Flood, Repetition, Rule
from streams.router.steps.folding import fold
from streams.router.steps.judging import Judge
from streams.router.steps.memory import COPY_SECONDS, Memory
from tests.unit.streams.judged import judge_by, judged, message

START = 1_790_000_000_000


def flood(messages: int, seconds: int, **fields: Any) -> Flood:
    known = {"id": "flood", "version": 1, "action": "hold", "reason": "r"}
    return Flood(**{**known, "messages": messages, "seconds": seconds, **fields})


def repetition(times: int, seconds: int, **fields: Any) -> Repetition:
    known = {"id": "again", "version": 1, "action": "hold", "reason": "r"}
    return Repetition(**{**known, "times": times, "seconds": seconds, **fields})


class Channel:
    """A judge and the memory it needs; `say` answers whether the message was held."""

    def __init__(self, *rules: Rule, limit: int = 100_000) -> None:
        self.judge: Judge = judge_by(*rules)
        self.memory = Memory(self.judge.reach, limit)
        self._number = 0

    def say(self, text: str = "hello", at: float = 0, tenant: str = "acme", **fields: Any) -> bool:
        self._number += 1
        fields = {"id": f"e-{self._number}", **fields}
        recall = self.memory.note(tenant, message(text, **fields), fold(text).text, START + round(at * 1000))
        return judged(text, self.judge, recall, **fields) is not None


def test_one_user_may_say_so_much_in_a_channel() -> None:
    channel = Channel(flood(3, 10))
    assert [channel.say(at=at) for at in (0, 1, 2, 3, 9.999)] == [False, False, False, True, True]
    assert not channel.say(at=9.999, user_id="eve")
    assert not channel.say(at=9.999, channel_id="other")
    assert not channel.say(at=9.999, tenant="other")
    assert [channel.say(at=at) for at in (21, 22)] == [False, False]


def test_a_channel_may_be_flooded_by_many() -> None:
    channel = Channel(flood(3, 10, by="channel"))
    assert [channel.say(user_id=f"u-{n}") for n in range(5)] == [False] * 3 + [True] * 2


def test_the_same_text_again_and_again() -> None:
    channel = Channel(repetition(3, 60, min_length=4))
    assert [channel.say(text) for text in ("Buy now", "buy  NOW!!", "b\u200buy, now")] == [False, False, True]
    assert [channel.say("ok") for _ in range(5)] == [False] * 5
    assert not channel.say("buy now", user_id="eve")
    assert not channel.say("buy now", at=70)
    everybody = Channel(repetition(3, 60, by="channel"))
    assert [everybody.say("raid!", user_id=f"u-{n}") for n in range(3)] == [False, False, True]


def test_signs_alone_are_a_text_too() -> None:
    channel = Channel(repetition(2, 60))
    assert [channel.say(text) for text in ("👍", "🎉", "👍")] == [False, False, True]


def test_a_copy_counts_once_and_is_judged_as_the_first_was() -> None:
    channel = Channel(flood(3, 10), repetition(3, 60))
    first = [channel.say(f"text {n}", at=0, id=f"m-{n}") for n in range(5)]
    assert first == [False, False, False, True, True]
    assert [channel.say(f"text {n}", at=1, id=f"m-{n}") for n in range(5)] == first
    assert [channel.say("same", at=20, id="same") for _ in range(5)] == [False] * 5
    assert channel.say("text 9", at=20) is False


def test_a_clock_that_goes_back_counts_as_standing_still() -> None:
    channel = Channel(flood(2, 10))
    assert [channel.say(at=at) for at in (5, 4, 3)] == [False, False, True]


def test_memory_is_bounded_by_time_and_by_number() -> None:
    channel = Channel(flood(1_000, 10), repetition(1_000, 10), limit=500)
    for number in range(3_000):
        channel.say(f"text {number}", at=number / 1000)
    assert len(channel.memory) == 500
    channel.say(at=3 + 10 + 2 * COPY_SECONDS + 1)
    assert len(channel.memory) == 1
    assert len(channel.memory._times) == 3  # the copy's key and one for each counter


said = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 1, 400, 2_000, 9_000, 31_000, 59_000]),  # ms since the one before
        st.sampled_from(["buy now", "BUY NOW!", "hello", "x"]),
        st.sampled_from(["ada", "eve"]),
        st.integers(0, 8),  # few ids, so that copies come
    ),
    min_size=1,
    max_size=60,
)


@settings(deadline=None, max_examples=200)
@given(said, st.data())
def test_verdicts_are_the_same_wherever_reading_begins(
    log: list[tuple[int, str, str, int]], data: st.DataObject
) -> None:
    rules = (
        flood(3, 10),
        flood(5, 5, id="all", by="channel"),
        repetition(2, 30),
        repetition(3, 60, id="x", by="channel"),
    )
    limit = data.draw(st.sampled_from([100_000, 7]))
    times, at = [], 0
    for gap, *_ in log:
        at += gap
        times.append(at)

    def verdicts(first: int, route_from: int) -> list[bool]:
        channel = Channel(*rules, limit=limit)
        found = []
        for place in range(first, len(log)):
            _, text, user, number = log[place]
            held = channel.say(text, at=times[place] / 1000, user_id=user, id=f"m-{number}")
            if place >= route_from:
                found.append(held)
        return found

    whole = verdicts(0, 0)
    again = data.draw(st.integers(0, len(log) - 1))
    horizon = Channel(*rules).judge.reach.horizon_seconds * 1000
    first = next(place for place, time in enumerate(times) if time >= times[again] - horizon)
    assert verdicts(first, again) == whole[again:]


@pytest.mark.parametrize("same", [True, False], ids=["one id", "one text"])
def test_time_is_linear_in_a_flood(same: bool) -> None:
    import time

    def seconds(number: int) -> float:
        best = 1e9
        for _ in range(3):
            channel = Channel(flood(10, 600), repetition(10, 600), flood(1_000, 600, id="all", by="channel"))
            began = time.process_time()
            for n in range(number):
                channel.say("spam", at=n / 1000, id="same" if same else f"m-{n}")
            best = min(best, time.process_time() - began)
        return best

    assert seconds(4_000) / seconds(500) < 24
