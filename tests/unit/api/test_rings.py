import msgspec
from hypothesis import given
from hypothesis import strategies as st

from api.live.records import OVERHEAD, Record
from api.live.rings import Ring


def record(offset: int, size: int = 10) -> Record:
    return Record(0, offset, None, (0, 0), "t", "c", "message.sent", f"e{offset}", "m", b"x" * size)


@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(0, 200)), max_size=50),
    st.integers(1, 20),
    st.integers(1, 20_000),
    st.integers(0, 120),
)
def test_from_its_start_on_a_ring_has_everything_within_its_bounds(
    steps: list[tuple[int, int]], events: int, size: int, since: int
) -> None:
    ring = Ring(0, events=events, size=size)
    offset = -1
    appended = []
    for gap, length in steps:
        offset += gap
        appended.append(record(offset, length))
        ring.append(appended[-1])
        assert len(ring) <= events
        assert ring.size <= size
    assert ring.since(ring.start) == [r for r in appended if r.offset >= ring.start]
    assert ring.since(since) == [r for r in appended if r.offset >= max(since, ring.start)]


def test_the_oldest_goes_first() -> None:
    ring = Ring(0, events=10, size=3 * (10 + OVERHEAD))
    for offset in range(5):
        ring.append(record(offset))
    assert [r.offset for r in ring.since(0)] == [2, 3, 4]
    assert ring.start == 2


def test_a_second_copy_of_an_event_is_left_out_while_the_first_is_here() -> None:
    ring = Ring(0, events=2, size=10_000)
    first, second = record(0), msgspec.structs.replace(record(1), id="e0")
    assert ring.append(first)
    assert not ring.append(second)
    assert ring.append(msgspec.structs.replace(second, tenant="other"))
    ring.append(record(3))
    assert [r.offset for r in ring.since(0)] == [1, 3]
    assert ring.append(msgspec.structs.replace(second, offset=4))
