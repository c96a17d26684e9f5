from hypothesis import given
from hypothesis import strategies as st

from infra.contracts import tables
from streams.history.batches import MAX_BYTES, MAX_ROWS, Batches
from streams.history.rows import Row

rows = st.lists(
    st.builds(
        lambda channel, size: Row(tables.TOUCH_CHANNEL, (), ("acme", f"c{channel}"), size),
        st.integers(0, 12),
        st.sampled_from([200, 400, 5_000, 33_000, 60_000]),
    ),
    max_size=200,
)


def by_replicas(row: Row) -> int:
    return int(str(row.partition[1])[1:]) % 3


def drain(batches: Batches[int]) -> list[list[tuple[Row, int]]]:
    taken = []
    while batch := batches.take():
        taken.append(batch)
    return taken


@given(rows)
def test_every_row_leaves_once_within_the_bounds_and_among_its_replicas(given_rows: list[Row]) -> None:
    batches: Batches[int] = Batches(by_replicas)
    for number, row in enumerate(given_rows):
        batches.add(row, number)
    assert len(batches) == len(given_rows)
    taken = drain(batches)
    assert sorted(number for batch in taken for _, number in batch) == list(range(len(given_rows)))
    for batch in taken:
        assert len(batch) <= MAX_ROWS
        assert len(batch) == 1 or sum(row.size for row, _ in batch) <= MAX_BYTES
        assert len({by_replicas(row) for row, _ in batch}) == 1
    assert len(batches) == 0


@given(rows)
def test_a_partition_keeps_its_order(given_rows: list[Row]) -> None:
    batches: Batches[int] = Batches(by_replicas)
    for number, row in enumerate(given_rows):
        batches.add(row, number)
    left: dict[tuple[str | int, ...], list[int]] = {}
    for batch in drain(batches):
        for row, number in batch:
            left.setdefault(row.partition, []).append(number)
    assert all(numbers == sorted(numbers) for numbers in left.values())


def test_one_partition_goes_first_and_others_fill_what_is_left() -> None:
    batches: Batches[int] = Batches(lambda _: None)
    for number in range(70):
        batches.add(Row(tables.TOUCH_CHANNEL, (), ("acme", "quiet" if number % 7 == 6 else "busy")), number)
    taken = [[str(row.partition[1]) for row, _ in batch] for batch in drain(batches)]
    assert taken == [["busy"] * 30, ["busy"] * 30, ["quiet"] * 10]


def test_ten_thousand_channels_fill_batches_when_they_share_their_replicas() -> None:
    batches: Batches[int] = Batches(lambda _: None)
    for number in range(9_000):
        batches.add(Row(tables.TOUCH_CHANNEL, (), ("acme", f"c{number}")), number)
    assert {len(batch) for batch in drain(batches)} == {MAX_ROWS}


def test_replica_sets_take_turns() -> None:
    batches: Batches[int] = Batches(by_replicas)
    for number in range(120):
        batches.add(Row(tables.TOUCH_CHANNEL, (), ("acme", f"c{number % 2}")), number)
    assert [by_replicas(batch[0][0]) for batch in drain(batches)] == [0, 1, 0, 1]
