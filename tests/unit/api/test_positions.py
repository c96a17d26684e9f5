from hypothesis import given
from hypothesis import strategies as st

from api.live.positions import Position, Tokens
from api.live.records import Record
from api.signing import Signer

TOKENS = Tokens(Signer(b"secret"))


def record(offset: int, src: tuple[int, int] | None = None, partition: int = 0) -> Record:
    return Record(
        partition,
        offset,
        None if src is None else 0,
        src or (0, 0),
        "t",
        "c",
        "message.sent",
        f"{partition}-{offset}",
        "m",
        b"{}",
    )


def test_what_was_passed_is_not_passed_again() -> None:
    position = Position(1, [5])
    assert not position.advance(record(4))
    assert position.advance(record(5))
    assert position.offsets == [6]


def test_a_replay_is_known_by_its_src() -> None:
    position = Position(1, [0])
    assert position.advance(record(0, (10, 0)))
    assert position.advance(record(1, (10, 1)))
    assert not position.advance(record(2, (10, 0)))
    assert not position.advance(record(3, (10, 1)))
    assert position.advance(record(4, (11, 0)))
    assert position.offsets == [5]


@given(
    st.lists(st.integers(0, 2**40), min_size=1, max_size=16),
    st.dictionaries(
        st.integers(0, 63) | st.text(min_size=1), st.tuples(st.integers(0, 2**40), st.integers(0, 9999)), max_size=4
    ),
)
def test_a_token_brings_its_position_back(offsets: list[int], seen: dict[int | str, tuple[int, int]]) -> None:
    position = Position(7, offsets, [dict(seen) for _ in offsets])
    back = TOKENS.decode(TOKENS.encode(position), 7, len(offsets))
    assert back is not None
    assert (back.offsets, back.seen) == (position.offsets, position.seen)


@given(st.text())
def test_no_other_text_is_a_token(text: str) -> None:
    assert TOKENS.decode(text, 7, 1) is None


def test_a_token_of_another_topic_or_secret_is_none() -> None:
    token = TOKENS.encode(Position(7, [1]))
    assert TOKENS.decode(token, 8, 1) is None
    assert TOKENS.decode(token, 7, 0) is None
    assert Tokens(Signer(b"other")).decode(token, 7, 1) is None


def test_partitions_added_since_begin_at_zero() -> None:
    back = TOKENS.decode(TOKENS.encode(Position(7, [9])), 7, 3)
    assert back is not None
    assert back.offsets == [9, 0, 0]


@given(st.lists(st.integers(0, 30), max_size=60), st.integers(0, 60))
def test_first_occurrences_survive_any_replay_and_any_break(replays: list[int], cut: int) -> None:
    """The router goes back at will; whoever reads, in one go or across a resume, gets 0, 1, 2... each once."""
    written: list[int] = []
    top = -1
    for back in replays:
        start = max(0, top + 1 - back)
        written += list(range(start, top + 2))
        top += 1
    log = [record(offset, (src, 0)) for offset, src in enumerate(written)]
    reader = Position(1, [0])
    got = [r.src[0] for r in log[:cut] if reader.advance(r)]
    resumed = TOKENS.decode(TOKENS.encode(reader), 1, 1)
    assert resumed is not None
    got += [r.src[0] for r in log if resumed.advance(r)]
    assert got == list(range(top + 1))
