"""The committable offset against a model: whatever is skipped, repeated or settled late, it never passes a hole."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streams.router.frontier import Frontier, Place

TP = ("ingest", 0)


def test_starts_at_the_committed_offset_and_moves_in_contiguous_steps() -> None:
    frontier = Frontier()
    frontier.assign(TP, 10)
    reading, generation = frontier.reading(TP), frontier.generation(TP)
    for offset in (10, 11, 12):
        assert frontier.take(TP, reading, offset, offset) is Place.NEXT
    frontier.settle(TP, generation, 12, 13)
    frontier.settle(TP, generation, 11, 12)
    assert frontier.committable(TP) == 10
    frontier.settle(TP, generation, 10, 11)
    assert frontier.committable(TP) == 13


def test_a_hole_is_reported_and_read_again() -> None:
    frontier = Frontier()
    frontier.assign(TP, 0)
    reading = frontier.reading(TP)
    assert frontier.take(TP, reading, 0, 0) is Place.NEXT
    assert frontier.take(TP, reading, 2, 2) is Place.HOLE
    assert frontier.reread(TP) == 1
    assert frontier.take(TP, reading, 3, 3) is Place.STALE  # read before the seek
    assert frontier.take(TP, frontier.reading(TP), 1, 1) is Place.NEXT


def test_offsets_the_log_does_not_have_are_passed_over() -> None:
    frontier = Frontier()
    frontier.assign(TP, 0)
    assert frontier.take(TP, frontier.reading(TP), 0, 4) is Place.NEXT
    assert frontier.next_offset(TP) == 5
    frontier.settle(TP, frontier.generation(TP), 0, 5)
    assert frontier.committable(TP) == 5


def test_another_assignments_acknowledgement_does_not_count() -> None:
    frontier = Frontier()
    frontier.assign(TP, 0)
    old = frontier.generation(TP)
    assert frontier.take(TP, frontier.reading(TP), 0, 0) is Place.NEXT
    frontier.revoke(TP)
    frontier.settle(TP, old, 0, 1)
    assert frontier.committable(TP) is None
    frontier.assign(TP, 0)
    frontier.settle(TP, old, 0, 1)
    assert frontier.committable(TP) == 0
    assert frontier.take(TP, old, 0, 0) is Place.STALE


class FrontierMachine(RuleBasedStateMachine):
    """A log of twenty records with gaps, a reader that may skip, a worker that settles in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.frontier = Frontier()
        self.log = [0, 1, 2, 5, 6, 7, 8, 9, 13, 14, 15, 16, 17, 18, 19]
        self.committed = 0
        self.delivered: set[int] = set()
        self.queue: list[tuple[int, int, int]] = []  # reading, previous, offset: on the way to the worker
        self.under_way: list[tuple[int, int, int]] = []  # generation, first, end
        self.assign()

    def assign(self) -> None:
        self.frontier.assign(TP, self.committed)
        self.position = self.committed

    @rule()
    def read(self) -> None:
        offset = next((o for o in self.log if o >= self.position), None)
        if offset is not None:
            self.queue.append((self.frontier.reading(TP), self.position, offset))
            self.position = offset + 1

    @precondition(lambda self: self.queue)
    @rule(data=st.data())
    def skip(self, data: st.DataObject) -> None:
        self.queue.pop(data.draw(st.integers(0, len(self.queue) - 1)))

    @precondition(lambda self: self.queue)
    @rule()
    def take(self) -> None:
        reading, previous, offset = self.queue.pop(0)
        place = self.frontier.take(TP, reading, previous, offset)
        if place is Place.NEXT:
            self.under_way.append((self.frontier.generation(TP), previous, offset + 1))
        elif place is Place.HOLE:
            self.position = self.frontier.reread(TP) or 0

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        generation, first, end = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        self.delivered.add(end - 1)
        self.frontier.settle(TP, generation, first, end)

    @rule()
    def commit(self) -> None:
        self.committed = self.frontier.committable(TP) or 0

    @rule()
    def rebalance(self) -> None:
        self.frontier.revoke(TP)
        self.assign()

    @invariant()
    def nothing_undelivered_is_committable(self) -> None:
        done = self.frontier.committable(TP) or 0
        assert {offset for offset in self.log if offset < done} <= self.delivered

    def teardown(self) -> None:
        """Left alone, everything is delivered in the end."""
        self.rebalance()
        self.queue.clear()
        for _ in self.log:
            self.read()
            if self.queue:
                self.take()
        while self.under_way:
            generation, first, end = self.under_way.pop()
            self.frontier.settle(TP, generation, first, end)
        assert self.frontier.committable(TP) == max(self.committed, 20)


TestFrontier = FrontierMachine.TestCase
TestFrontier.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
