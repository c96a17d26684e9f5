"""Gathers rows into unlogged batches: one partition's rows first, filled up with others of the same replicas.

A batch of one partition is one mutation for Cassandra. Rows of several partitions cost it one each, but still save
round trips as long as one coordinator holds them all.
"""

from collections import deque
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

from streams.history.rows import Row

MAX_ROWS: Final = 30
#: Under the 50 KiB at which Cassandra refuses a batch by default.
MAX_BYTES: Final = 40 * 1024

Owner = TypeVar("Owner")
_Queue = deque[tuple[Row, Owner]]


class Batches(Generic[Owner]):
    """Rows waiting for a batch, each with the work it belongs to. Replica sets take turns, oldest partition first."""

    def __init__(
        self, replicas: Callable[[Row], Hashable], max_rows: int = MAX_ROWS, max_bytes: int = MAX_BYTES
    ) -> None:
        self._replicas = replicas
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._sets: dict[Hashable, dict[tuple[str | int, ...], _Queue[Owner]]] = {}
        self._rows = 0

    def __len__(self) -> int:
        return self._rows

    def add(self, row: Row, owner: Owner) -> None:
        """Queue one row."""
        partitions = self._sets.setdefault(self._replicas(row), {})
        queue = partitions.get(row.partition)
        if queue is None:
            queue = partitions[row.partition] = deque()
        queue.append((row, owner))
        self._rows += 1

    def take(self) -> list[tuple[Row, Owner]]:
        """The next batch, within both bounds; a row larger than a whole batch comes alone. Empty when none waits."""
        batch: list[tuple[Row, Owner]] = []
        if not self._sets:
            return batch
        replicas = next(iter(self._sets))
        partitions = self._sets.pop(replicas)
        size = 0
        while partitions:
            partition = next(iter(partitions))
            queue = partitions[partition]
            while queue and len(batch) < self._max_rows and (not batch or size + queue[0][0].size <= self._max_bytes):
                batch.append(queue.popleft())
                size += batch[-1][0].size
            if queue:
                break
            del partitions[partition]
        if partitions:
            self._sets[replicas] = partitions
        self._rows -= len(batch)
        return batch
