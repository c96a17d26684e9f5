"""Which offsets may be committed: those whose records are done, contiguously from the first one read.

Records of a partition are read in the order of their offsets, so an offset missing from the log leaves no hole here.
"""

from collections import deque
from typing import Final

from confluent_kafka import TopicPartition

Partition = tuple[str, int]


class Entry:
    """One record that was read; its owner sets `done` once everything it asked for is confirmed."""

    __slots__ = ("done", "offset")

    def __init__(self, offset: int) -> None:
        self.offset: Final = offset
        self.done = False


class Confirmed:
    """The records read of every assigned partition and how far they are done without a gap."""

    def __init__(self) -> None:
        self._open: dict[Partition, deque[Entry]] = {}
        self._next: dict[Partition, int] = {}
        self._committed: dict[Partition, int] = {}

    @property
    def partitions(self) -> list[Partition]:
        """The assigned partitions."""
        return list(self._open)

    def assign(self, partition: Partition) -> None:
        """Start afresh: whatever an earlier assignment left unconfirmed will be read again."""
        self.revoke(partition)
        self._open[partition] = deque()

    def revoke(self, partition: Partition) -> None:
        """Forget the partition. Entries of it that are still open count for nothing any more."""
        for memory in (self._open, self._next, self._committed):
            memory.pop(partition, None)

    def read(self, partition: Partition, offset: int) -> Entry | None:
        """A record was read. None when its partition is no longer assigned."""
        entries = self._open.get(partition)
        if entries is None:
            return None
        entry = Entry(offset)
        entries.append(entry)
        return entry

    def position(self, partition: Partition) -> int | None:
        """The offset after the last one done without a gap; None while there is none."""
        entries = self._open.get(partition)
        while entries and entries[0].done:
            self._next[partition] = entries.popleft().offset + 1
        return self._next.get(partition)

    def positions(self) -> dict[Partition, int]:
        """Every position that is there."""
        found = {partition: self.position(partition) for partition in self._open}
        return {partition: offset for partition, offset in found.items() if offset is not None}

    def committable(self, positions: dict[Partition, int]) -> list[TopicPartition]:
        """Those of these positions that are not known to be committed, for partitions still assigned."""
        return [
            TopicPartition(*partition, offset)
            for partition, offset in positions.items()
            if partition in self._open and self._committed.get(partition) != offset
        ]

    def committed(self, offsets: list[TopicPartition]) -> None:
        """The broker stored these offsets."""
        for stored in offsets:
            if stored.error is None and (stored.topic, stored.partition) in self._open:
                self._committed[stored.topic, stored.partition] = stored.offset
