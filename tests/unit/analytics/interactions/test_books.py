"""What is counted follows from the log alone: however it is read, wherever it was interrupted, whatever came twice."""

import copy
from random import Random

import msgspec
import pytest

from analytics.interactions.books import Books, Snapshot
from analytics.interactions.windows import Key, Window
from infra.contracts.events import Event
from infra.contracts.interactions import Board
from tests.unit.analytics.interactions.told import (
    Log,
    at,
    community,
    counted,
    event,
    fed,
    logged,
    recounted,
)

HOURS = 60.0


def boards(books: Books) -> dict[str, list[str]]:
    """Scope → who waits there, by message, the longest first."""
    found = {scope: [wait.message_id for wait in board.longest] for _, scope, board in books.boards()}
    books.shown()
    return found


def beaten(events: list[Event], *minutes: float) -> Log:
    """The events, then heartbeats of these minutes."""
    log = logged(events)
    for minute in minutes:
        for partition, values in logged([], until=minute).items():
            log[partition] += values
    return log


def through_disk(books: Books) -> Books:
    raw = msgspec.msgpack.encode(books.snapshot())
    return Books.restore(msgspec.msgpack.decode(raw, type=Snapshot))


@pytest.mark.parametrize("seed", range(8))
def test_windows_are_those_of_a_plain_recount(seed: int) -> None:
    log = logged(community(seed, 1_500, 28 * HOURS))
    counts, left_out = recounted(log)
    assert left_out["late"] > 5
    assert left_out["copies"] > 5
    for mixed in (None, Random(seed)):
        books = fed(log, rng=mixed)
        assert counted(books) == counts
        assert {"late": books.late, "copies": books.copies} == left_out
        assert books.forgotten == 0


@pytest.mark.parametrize("seed", range(8))
def test_a_snapshot_taken_anywhere_leads_to_the_same_windows(seed: int) -> None:
    log = logged(community(seed, 800, 20 * HOURS))
    whole = fed(log)
    rng = Random(seed)
    cut = {partition: values[: rng.randint(0, len(values))] for partition, values in log.items()}
    resumed = through_disk(fed(cut, rng=rng))
    assert counted(fed(log, resumed, rng)) == counted(whole)
    ours, theirs = ({tuple(device): stay for *device, stay in books.snapshot().stays} for books in (resumed, whole))
    assert ours == theirs
    assert (resumed.late, resumed.copies, resumed.watermark) == (whole.late, whole.copies, whole.watermark)
    mine, same = ({(tenant, scope): board for tenant, scope, board in books.boards()} for books in (resumed, whole))
    assert mine == same


@pytest.mark.parametrize("seed", range(4))
def test_a_window_grows_until_it_is_final_and_never_after(seed: int) -> None:
    log = logged(community(seed, 600, 14 * HOURS))
    books, rng = Books(dict.fromkeys(log, 0)), Random(seed)
    stored: dict[Key, Window] = {}
    for share in range(1, 41):
        passed = books.watermark
        fed({partition: values[: len(values) * share // 40] for partition, values in log.items()}, books, rng)
        for key, window in books.windows.changed:
            assert passed is None or key.end > passed
            before = stored.get(key, Window())
            assert window.revision > before.revision
            assert all(new >= old for new, old in zip(window.counts, before.counts, strict=True))
            stored[key] = copy.deepcopy(window)
        books.windows.stored(books.watermark)
    counts, _ = recounted(log)
    assert {tuple(key): window.answered for key, window in stored.items()} == {
        key: counted["answered"] for key, counted in counts.items()
    }
    assert len(books.windows) < len(stored) / 10


def test_nothing_is_counted_before_the_watermark_and_everything_is_shown_at_once() -> None:
    question, answer = event(0, "q"), event(1.5, "a", user_id="bob")
    books = fed(logged([question]))
    assert boards(books) == {"channel:general": ["q"], "tenant": ["q"]}
    fed(logged([question, answer]), books)
    assert boards(books) == {"channel:general": ["a"], "tenant": ["a"]}
    assert counted(books) == {}
    fed(beaten([question, answer], 4), books)
    assert {key.scope for key, window in books.windows.changed if window.answered} == {"tenant", "channel:general"}


def test_an_answer_that_is_read_before_its_question_is_an_answer() -> None:
    question, answer = event(0, "q"), event(1, "a", user_id="bob")
    books = fed(logged([answer, question]))
    assert boards(books)["tenant"] == ["a"]
    books = fed(logged([answer, question], until=9))
    tenant = next(window for key, window in books.windows.changed if (key.scope, key.grain) == ("tenant", "1d"))
    assert (tenant.answered, sum(tenant.responses.values()), tenant.sessions) == (1, 1, 2)


def test_a_question_is_answered_in_the_thread_it_began() -> None:
    books = fed(beaten([event(0, "q", user_id="ann"), event(1, "a", user_id="bob", thread_id="q")], 9))
    assert boards(books) == {"tenant": ["a"], "channel:general": ["a"]}
    assert counted(books)["acme", "tenant", "15m", at(0)]["answered"] == 1


def test_a_question_that_nobody_answers_is_shown_until_it_is_given_up() -> None:
    log = [event(0, "q")]
    books = fed(logged(log, until=481))
    assert boards(books)["tenant"] == ["q"]
    fed(beaten(log, 481, 484), books)
    assert boards(books) == {"channel:general": [], "tenant": []}
    found = {key.start: window.unanswered for key, window in books.windows.changed if key.grain == "1h"}
    assert found[at(480)] == 1
    books.settle()
    assert boards(books) == {}


def test_a_question_taken_back_is_shown_no_more() -> None:
    question, regret = event(0, "q"), event(1, "d", "message.deleted", message_id="q")
    assert boards(fed(logged([question, regret])))["tenant"] == []
    block = event(1, "d", "message.blocked", message_id="q", user_id="mod")
    assert boards(fed(logged([question, block])))["tenant"] == []


def test_a_direct_conversation_is_patient() -> None:
    log = [event(0, "q", properties={"channel_type": "direct"})]
    books = fed(beaten(log, 60, 24 * 60))
    assert boards(books)["tenant"] == ["q"]
    books = fed(beaten(log, 60, 24 * 60 + 4))
    assert boards(books)["tenant"] == []


def test_a_board_has_the_longest_waits_and_the_newest_and_says_how_many_there_are() -> None:
    books = fed(logged([event(n % 7 / 10, f"q{n}", channel_id=f"c{n}") for n in range(250)]))
    found: dict[str, Board] = {scope: board for _, scope, board in books.boards()}
    board = found["tenant"]
    everyone = sorted((at(n % 7 / 10), f"q{n}") for n in range(250))
    assert board.total == 250
    assert [(wait.since, wait.message_id) for wait in board.longest] == everyone[:100]
    assert [(wait.since, wait.message_id) for wait in board.newest] == everyone[:149:-1]


def test_windows_that_began_before_everything_was_known_are_not_counted() -> None:
    log = logged([event(0, "q"), event(20, "a", user_id="bob")], until=60)
    books = Books(dict.fromkeys(log, 0), since=at(15))
    fed(log, books)
    assert {(key.grain, key.start) for key, _ in books.windows.changed} == {("15m", at(15))}


def test_more_than_a_hundred_who_wait_at_once_are_forgotten_from_the_oldest_on() -> None:
    crowd = [event(n / 100, f"q{n}", user_id=f"u{n}", reply_to="elsewhere") for n in range(103)]
    books = fed(logged(crowd, until=9))
    assert books.forgotten == 3
    assert boards(books)["tenant"][0] == "q3"
