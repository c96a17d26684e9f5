"""The rule of response times, by hand: each test is a conversation and who waited how long in it."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from analytics.responses import DIRECT_PATIENCE, GROUP_PATIENCE, Conversation, End, Said, Wait

NINE = datetime(2026, 3, 14, 9, tzinfo=UTC)
Told = list[tuple[str, str, str | None, float | None]]


def at(minute: float) -> datetime:
    return NINE + timedelta(minutes=minute)


def waits(*lines: str, patience: timedelta = GROUP_PATIENCE, until: float = 0) -> Told:
    """Each line: minute, author, id, and `> id` for a reply; or minute, `delete`, id. Returns what is known at last."""
    conversation, found = Conversation(patience), list[Wait]()
    minute = 0.0
    for line in lines:
        words = line.split()
        minute = float(words[0])
        if words[1] == "delete":
            found += conversation.delete(words[2], at(minute))
        else:
            found += conversation.say(Said(words[2], words[1], at(minute), words[4] if len(words) > 3 else None))
    found += conversation.close(at(max(minute, until)))
    return [(w.opened.id, w.end.value, w.answer and w.answer.id, w.seconds) for w in found]


def test_follow_ups_do_not_move_a_wait() -> None:
    assert waits("0 ann q1", "2 ann q2", "3 ann q3", "5 bob a1")[0] == ("q1", "answered", "a1", 300.0)


def test_an_answer_is_itself_something_to_be_answered() -> None:
    assert waits("0 ann q", "1 bob a", "4 ann thanks") == [
        ("q", "answered", "a", 60.0),
        ("a", "answered", "thanks", 180.0),
        ("thanks", "open", None, None),
    ]


def test_a_question_asked_again_after_an_answer_waits_anew() -> None:
    assert waits("0 ann q", "1 bob a", "2 ann q2", "9 bob a2")[2] == ("q2", "answered", "a2", 420.0)


def test_a_message_elsewhere_answers_what_it_names_and_asks_nothing() -> None:
    conversation = Conversation(GROUP_PATIENCE)
    assert not [*conversation.say(Said("q1", "ann", at(0))), *conversation.say(Said("q2", "bob", at(0), "elsewhere"))]
    assert not list(conversation.answer(Said("own", "ann", at(1), "q1")))
    (wait,) = conversation.answer(Said("a1", "cem", at(2), "q1"))
    assert (wait.opened.id, wait.seconds) == ("q1", 120.0)
    assert [wait.opened.id for wait in conversation.close(at(3))] == ["q2"]


def test_a_reply_closes_what_it_names_alone() -> None:
    told = waits("0 ann q1", "1 bob q2 > elsewhere", "2 cem a1 > q1", "3 dan a2 > q2")
    assert told[:2] == [("q1", "answered", "a1", 120.0), ("q2", "answered", "a2", 120.0)]


def test_a_reply_to_a_follow_up_answers_from_the_first() -> None:
    assert waits("0 ann q1", "2 ann q2", "5 bob a > q2")[0] == ("q1", "answered", "a", 300.0)


def test_a_reply_to_something_else_or_to_oneself_closes_nothing() -> None:
    told = waits("0 ann q1", "1 bob b > long-ago", "2 ann q2 > q1")
    assert {(opened, end) for opened, end, _, _ in told} == {("q1", "open"), ("b", "open")}


def test_one_message_answers_everybody_who_waits() -> None:
    told = waits("0 ann q1", "1 bob q2 > elsewhere", "3 cem a")
    assert told[:2] == [("q1", "answered", "a", 180.0), ("q2", "answered", "a", 120.0)]


def test_a_question_taken_back_cancels_its_wait() -> None:
    assert waits("0 ann q", "1 delete q", "5 bob hello") == [("hello", "open", None, None)]


def test_what_is_left_of_a_question_still_waits() -> None:
    assert waits("0 ann q1", "2 ann q2", "3 delete q1", "5 bob a")[0] == ("q2", "answered", "a", 180.0)


def test_a_question_deleted_after_its_answer_was_answered() -> None:
    assert waits("0 ann q", "1 bob a", "2 delete q")[0] == ("q", "answered", "a", 60.0)


def test_a_wait_is_unanswered_after_eight_hours_and_the_next_message_opens_another() -> None:
    assert waits("0 ann q1", "480 bob a") == [("q1", "answered", "a", 28_800.0), ("a", "open", None, None)]
    assert waits("0 ann q1", "480.1 bob a")[0] == ("q1", "unanswered", None, None)
    assert waits("0 ann q1", "300 ann q2", "481 ann q3", "482 bob a")[:2] == [
        ("q1", "unanswered", None, None),
        ("q3", "answered", "a", 60.0),
    ]


def test_between_two_there_is_a_day() -> None:
    assert waits("0 ann q", "600 bob a", patience=DIRECT_PATIENCE)[0] == ("q", "answered", "a", 36_000.0)


def test_what_nobody_answered_yet_is_open() -> None:
    assert waits("0 ann q", until=479) == [("q", "open", None, None)]
    assert waits("0 ann q", until=481) == [("q", "unanswered", None, None)]


LINES = st.lists(
    st.tuples(st.integers(0, 90), st.sampled_from("abc"), st.one_of(st.none(), st.integers(0, 20))), max_size=20
)


@given(LINES)
def test_nobody_answers_themselves_nor_opens_two_waits_at_once(
    lines: list[tuple[int, str, int | None]],
) -> None:
    conversation, found, moment = Conversation(GROUP_PATIENCE), list[Wait](), NINE
    for number, (gap, author, reply) in enumerate(lines):
        moment += timedelta(minutes=gap)
        found += conversation.say(Said(str(number), author, moment, None if reply is None else str(reply)))
    found += conversation.close(moment)
    assert len({wait.opened.id for wait in found}) == len(found)
    for wait in found:
        assert (wait.answer is not None) == (wait.end is End.ANSWERED)
        if wait.answer is not None:
            assert wait.answer.author != wait.opened.author
            assert 0 <= (wait.seconds or 0) <= GROUP_PATIENCE.total_seconds()
