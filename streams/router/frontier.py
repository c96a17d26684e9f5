"""The committable offset of every assigned partition: it moves in contiguous steps, by explicit acknowledgement only.

Records form a chain. Each names the offset at which the reader stood before it, which is its own unless the log itself
has no record in between (a transaction marker, a compacted or expired record). A record that does not continue the
chain is never taken, so nothing that was skipped on the way can be committed past.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from itertools import count

#: Topic and partition, as any client's named tuple of the two compares.
TP = tuple[str, int]


class Place(Enum):
    """Where a record stands relative to the chain."""

    NEXT = "next"
    #: Read before a seek or an assignment that has happened since, or taken already. Drop it.
    STALE = "stale"
    #: Records between the last taken and this one never arrived. Drop it and seek back to `next_offset`.
    HOLE = "hole"


@dataclass(slots=True)
class Position:
    """One assigned partition. `generation` names the assignment, `reading` the last seek within it."""

    generation: int
    reading: int
    next: int
    done: int
    #: Settled stretches that do not touch `done` yet: first offset to the offset after their last.
    settled: dict[int, int] = field(default_factory=dict)


class Frontier:
    """Positions by partition. Used from one thread."""

    def __init__(self) -> None:
        self._positions: dict[TP, Position] = {}
        self._numbers = count(1)

    def assign(self, tp: TP, start: int) -> None:
        """Begin at `start`, the committed offset or the start of the log. Whatever was under way no longer counts."""
        number = next(self._numbers)
        self._positions[tp] = Position(number, number, start, start)

    def revoke(self, tp: TP) -> None:
        """Forget the partition; acknowledgements of its records are ignored from now on."""
        self._positions.pop(tp, None)

    def reread(self, tp: TP) -> int | None:
        """Note that the reader seeks back; the offset to read next, or None when the partition is not ours."""
        position = self._positions.get(tp)
        if position is None:
            return None
        position.reading = next(self._numbers)
        return position.next

    def reading(self, tp: TP) -> int:
        """Names what is read from now on, until the next seek or assignment; 0 when the partition is not ours."""
        position = self._positions.get(tp)
        return 0 if position is None else position.reading

    def generation(self, tp: TP) -> int:
        """Names the assignment; 0 when the partition is not ours."""
        position = self._positions.get(tp)
        return 0 if position is None else position.generation

    def take(self, tp: TP, reading: int, previous: int, offset: int) -> Place:
        """Whether to process this record: only if it continues the chain, which then ends after it."""
        position = self._positions.get(tp)
        if position is None or reading != position.reading or offset < position.next:
            return Place.STALE
        if previous != position.next:
            return Place.HOLE
        position.next = offset + 1
        return Place.NEXT

    def settle(self, tp: TP, generation: int, first: int, end: int) -> None:
        """Everything from `first` up to `end`, exclusive, is delivered. Another assignment's word does not count."""
        position = self._positions.get(tp)
        if position is None or position.generation != generation:
            return
        position.settled[first] = end
        while (reached := position.settled.pop(position.done, None)) is not None:
            position.done = reached

    def committable(self, tp: TP) -> int | None:
        """The offset to commit: everything before it is delivered."""
        position = self._positions.get(tp)
        return None if position is None else position.done

    def next_offset(self, tp: TP) -> int | None:
        """The offset that must be taken next."""
        position = self._positions.get(tp)
        return None if position is None else position.next

    def __iter__(self) -> Iterator[TP]:
        return iter(tuple(self._positions))
