"""The newest records of each partition, kept in memory within bounds: what a reader that was briefly away missed."""

from collections import deque

from api.live.records import Record


class Ring:
    """One partition's records from `start` on: every event at or after that offset is here, once.

    The router's replays never come here. An event whose sender was not told in time, and sent it again to an ingest
    that did not know of it, stands in the log twice; the second copy is left out while the first is here.
    """

    def __init__(self, start: int, *, events: int, size: int) -> None:
        self.start = start
        self._max_events = events
        self._max_bytes = size
        self._records: deque[Record] = deque()
        self._held: set[tuple[str, str]] = set()
        self._bytes = 0

    def append(self, record: Record) -> bool:
        """Add the newest record and let go of the oldest beyond the bounds. False for a copy of one that is here."""
        event = record.copy_of
        if event in self._held:
            return False
        self._held.add(event)
        records = self._records
        records.append(record)
        self._bytes += record.size
        while len(records) > self._max_events or self._bytes > self._max_bytes:
            oldest = records.popleft()
            self._bytes -= oldest.size
            self._held.discard(oldest.copy_of)
            self.start = oldest.offset + 1
        return True

    def since(self, offset: int) -> list[Record]:
        """The records at or after the offset, oldest first; its cost is that of what it returns."""
        found = []
        for record in reversed(self._records):
            if record.offset < offset:
                break
            found.append(record)
        found.reverse()
        return found

    def __len__(self) -> int:
        return len(self._records)

    @property
    def size(self) -> int:
        """Bytes held, overhead included."""
        return self._bytes
