import random

from confluent_kafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from streams.history.confirmed import Confirmed

PARTITION = ("events", 3)


@given(gaps=st.lists(st.integers(1, 4), min_size=1, max_size=60), order=st.randoms(use_true_random=False))
def test_the_position_never_passes_a_record_that_is_not_done(gaps: list[int], order: random.Random) -> None:
    confirmed = Confirmed()
    confirmed.assign(PARTITION)
    offsets = [100 + sum(gaps[: n + 1]) for n in range(len(gaps))]
    entries = [entry for offset in offsets if (entry := confirmed.read(PARTITION, offset))]
    open_offsets = set(offsets)
    for entry in order.sample(entries, len(entries)):
        entry.done = True
        open_offsets.remove(entry.offset)
        position = confirmed.position(PARTITION)
        below = [offset for offset in offsets if offset < min(open_offsets, default=10**9)]
        assert position == (below[-1] + 1 if below else None)
    assert confirmed.positions() == {PARTITION: offsets[-1] + 1}


def test_nothing_counts_before_it_is_assigned_or_after_it_is_revoked() -> None:
    confirmed = Confirmed()
    assert confirmed.read(PARTITION, 1) is None
    confirmed.assign(PARTITION)
    entry = confirmed.read(PARTITION, 1)
    assert entry is not None
    confirmed.revoke(PARTITION)
    entry.done = True
    assert confirmed.positions() == {}
    assert confirmed.committable({PARTITION: 2}) == []


def test_an_assignment_starts_afresh() -> None:
    confirmed = Confirmed()
    confirmed.assign(PARTITION)
    lost = confirmed.read(PARTITION, 7)
    confirmed.assign(PARTITION)
    again = confirmed.read(PARTITION, 7)
    assert lost is not None
    assert again is not None
    lost.done = True
    assert confirmed.position(PARTITION) is None
    again.done = True
    assert confirmed.position(PARTITION) == 8


def test_a_position_is_committed_once_and_again_if_that_failed() -> None:
    confirmed = Confirmed()
    confirmed.assign(PARTITION)
    entry = confirmed.read(PARTITION, 41)
    assert entry is not None
    entry.done = True
    positions = confirmed.positions()
    (offset,) = confirmed.committable(positions)
    assert (offset.topic, offset.partition, offset.offset) == ("events", 3, 42)
    assert len(confirmed.committable(positions)) == 1
    confirmed.committed([TopicPartition("events", 3, 42)])
    assert confirmed.committable(positions) == []
