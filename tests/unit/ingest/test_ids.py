import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.contracts.events import from_ms
from infra.contracts.placement import time_of_id
from ingest.client.ids import MonotonicIds, uuid7

pytestmark = pytest.mark.unit

_MS = st.integers(0, (1 << 47) - 1)
_COUNTER = st.integers(0, (1 << 42) - 1)
_TAIL = st.integers(0, (1 << 32) - 1)


@given(_MS, _COUNTER, _TAIL)
def test_an_id_is_a_uuid_of_version_7_that_carries_its_moment(ms: int, counter: int, tail: int) -> None:
    made = uuid.UUID(uuid7(ms, counter, tail))
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert int(made) >> 80 == ms
    assert made.int & 0xFFFFFFFF == tail


@given(st.tuples(_MS, _COUNTER, _TAIL), st.tuples(_MS, _COUNTER, _TAIL))
def test_ids_sort_as_their_parts_do(one: tuple[int, int, int], other: tuple[int, int, int]) -> None:
    assert (uuid7(*one) < uuid7(*other)) == (one < other)


def test_the_moment_is_found_by_the_contract() -> None:
    assert time_of_id(uuid7(1_700_000_000_123, 5, 6)) == from_ms(1_700_000_000_123)


@pytest.mark.parametrize("parts", [(1 << 48, 0, 0), (0, 1 << 42, 0), (0, 0, 1 << 32), (-1, 0, 0)])
def test_parts_that_do_not_fit_are_refused(parts: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        uuid7(*parts)


@given(st.lists(st.integers(1_000, 1_010), min_size=2, max_size=50))
def test_ids_of_now_grow_though_the_clock_steps_back(moments: list[int]) -> None:
    ids = MonotonicIds()
    made = [ids.now(ms) for ms in moments]
    assert made == sorted(set(made))


def test_ids_of_one_past_moment_keep_the_order_they_were_made_in() -> None:
    ids = MonotonicIds()
    made = []
    for _ in range(100):
        made.append(ids.at(5_000))
        ids.now(9_000_000)
    assert made == sorted(set(made))
    assert {time_of_id(one) for one in made} == {from_ms(5_000)}


def test_threads_never_get_the_same_id() -> None:
    ids = MonotonicIds()
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: ids.now(1), range(2_000)))
    assert len(set(made)) == 2_000
