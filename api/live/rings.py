"""The newest records of each partition, kept in memory within bounds: what a reader that was briefly away missed."""

from collections import deque

from api.live.records import Record


class Ring:
    """One partition's records from `start` on: every event at or after that offset is here, replays left out."""

    def __init__(self, start: int, *, events: int, size: int) -> None:
        self.start = start
        self._max_events = events
        self._max_bytes = size
        self._records: deque[Record] = deque()
        self._bytes = 0

    def append(self, record: Record) -> None:
        """Add the newest record and let go of the oldest beyond the bounds."""
        records = self._records
        records.append(record)
        self._bytes += record.size
        while len(records) > self._max_events or self._bytes > self._max_bytes:
            oldest = records.popleft()
            self._bytes -= oldest.size
            self.start = oldest.offset + 1

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
