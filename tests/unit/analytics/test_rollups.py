"""Merging: any split of events into minutes gives the same longer windows, in any order, however often."""

from collections.abc import Iterable
from random import Random

import datasketches
from hypothesis import given
from hypothesis import strategies as st

from analytics.rollups import (
    ABSENT,
    EMPTY,
    Stored,
    Values,
    counted,
    estimate,
    from_columns,
    join,
    merge,
    revise,
    to_columns,
    unite,
)
from infra.contracts.metrics import COUNTS, DISTINCTS, SKETCH_LG_K
from infra.contracts.tables import MEASURE_COLUMNS

PEOPLE = st.integers(0, 400)


def sketch(people: Iterable[int]) -> bytes:
    made = datasketches.hll_sketch(SKETCH_LG_K, datasketches.tgt_hll_type.HLL_8)
    for person in people:
        made.update(f"user-{person}")
    return bytes(made.serialize_compact())


def window(people: list[int]) -> Values:
    """A window in which each of these wrote once."""
    return counted([len(people)] * len(COUNTS), [sketch(people)] * len(DISTINCTS))


@given(st.lists(st.lists(PEOPLE, max_size=60), min_size=1, max_size=15), st.randoms())
def test_any_split_into_minutes_merges_to_the_same(minutes: list[list[int]], random: Random) -> None:
    everything = [person for minute in minutes for person in minute]
    whole = merge([window(minute) for minute in minutes])
    random.shuffle(minutes)
    halves = (minutes[: len(minutes) // 2], minutes[len(minutes) // 2 :])
    again = merge([merge([window(m) for m in half]) if half else EMPTY for half in halves])
    assert whole.counts == again.counts == (len(everything),) * len(COUNTS)
    for one, other in zip(whole.sketches, again.sketches, strict=True):
        assert estimate(one) == estimate(other)
        assert abs(estimate(one) - len(set(everything))) <= max(1, 0.05 * len(set(everything)))


@given(st.lists(PEOPLE, max_size=300), st.lists(PEOPLE, max_size=300))
def test_a_window_only_grows(stored: list[int], now: list[int]) -> None:
    joined = join(window(stored), window(now))
    assert joined.counts == (max(len(stored), len(now)),) * len(COUNTS)
    assert join(joined, window(stored)) == joined
    assert join(joined, window(now)) == joined


@given(st.lists(PEOPLE, min_size=1, max_size=400))
def test_the_same_people_in_another_order_are_no_change(people: list[int]) -> None:
    stored = revise(ABSENT, window(people))
    assert stored.revision == 1
    assert revise(stored, window(people[::-1])) is stored


def test_a_new_person_is_a_change_even_when_no_count_moves() -> None:
    stored = Stored(Values((5,) * len(COUNTS), (sketch([1, 2]),) * len(DISTINCTS)), 7)
    revised = revise(stored, Values((5,) * len(COUNTS), (sketch([1, 2, 3]),) * len(DISTINCTS)))
    assert revised.revision == 8
    assert [estimate(s) for s in revised.values.sketches] == [3] * len(DISTINCTS)


def test_a_sketch_of_nobody_is_none() -> None:
    assert counted([0] * len(COUNTS), [sketch([])] * len(DISTINCTS)) == EMPTY
    assert counted([0] * len(COUNTS), [None] * len(DISTINCTS)) == EMPTY
    assert unite([None, None]) is None
    assert estimate(None) == 0


def test_united_sketches_have_the_same_bytes_in_any_order() -> None:
    parts = [sketch(range(n, n + 90)) for n in range(0, 400, 40)]
    assert unite(parts) == unite(parts[::-1])


@given(st.lists(PEOPLE, max_size=40))
def test_columns_there_and_back(people: list[int]) -> None:
    values = window(people)
    columns = to_columns(values)
    assert len(columns) == len(MEASURE_COLUMNS)
    assert from_columns(columns) == values


def test_columns_never_written_are_nothing() -> None:
    assert from_columns([None] * len(MEASURE_COLUMNS)) == EMPTY
