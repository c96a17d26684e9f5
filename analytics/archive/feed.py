"""One table and the partitions that feed it: what was read and is not committed yet, and how far both have come.

Whatever happens to one partition, all of the table's are read again from where the table stands: what was read and not
committed is dropped, never mixed with what somebody else may have written.
"""

from collections.abc import Mapping
from typing import Final

import structlog
from arro3.core import RecordBatch
from confluent_kafka import Message

from analytics.archive.rows import Row, Unreadable, arrow_batch, read_row
from analytics.archive.table import Move, Outrun, Table, Unwritable
from infra.runtime.archive import Partition
from infra.runtime.kafka import Headers
from infra.runtime.telemetry import ARCHIVE_SECONDS, ARCHIVE_UNREADABLE, ARCHIVED

log = structlog.get_logger("hubbub.archive")

#: Rows are Python values until there are so many, or so many bytes of them; as Arrow they take a third.
_CHUNK_ROWS: Final = 1_000
_CHUNK_BYTES: Final = 4 * 1024 * 1024
#: What a row takes beside its own bytes.
_ROW_OVERHEAD: Final = 200
#: Heartbeats alone move the table's offsets so often: far within the time after which a topic forgets.
_IDLE_SECONDS: Final = 3600.0


class Feed:
    """What one table is fed with. `partitions` are those assigned and the next offset to read, where it is known."""

    def __init__(self, table: Table, prefix: str, now: float) -> None:
        self.table = table
        self.name: Final = table.contract.name
        self._prefix = prefix
        self.partitions: dict[Partition, int | None] = {}
        self._bases: dict[Partition, int | None] = {}
        self._rows: list[Row] = []
        self._chunk_bytes = 0
        self._batches: list[RecordBatch] = []
        self.days: set[int] = set()
        self.bytes = 0
        #: Since when a row waits.
        self.since: float | None = None
        #: When offsets were last committed, in monotonic seconds.
        self._moved_at = now
        #: What was read was dropped: every partition has to be sought to where the table stands.
        self.astray = False
        #: Why the last commit failed.
        self.failing: str | None = None

    @property
    def rows(self) -> int:
        """Rows that wait."""
        return len(self._rows) + sum(batch.num_rows for batch in self._batches)

    @property
    def archived(self) -> dict[Partition, int]:
        """How far each partition is archived: where no row waits, everything that was read is."""
        known = self.partitions if self.since is None else self._bases
        return {partition: offset for partition, offset in known.items() if offset is not None}

    def assign(self, partition: Partition) -> int | None:
        """Take a partition in. Returns where to read from, None for its beginning."""
        base = self.table.position(partition)
        self.partitions[partition] = self._bases[partition] = base
        return base

    def revoke(self, partition: Partition) -> None:
        """Let a partition go, and with it what was read."""
        self.partitions.pop(partition, None)
        self._bases.pop(partition, None)
        self.drop()

    def drop(self) -> None:
        """Forget what waits: it is read again."""
        waited = self.rows
        self._clear()
        self.partitions = dict(self._bases)
        self.failing = None
        self.astray = bool(self.partitions)
        if waited:
            log.info("archive.dropped", table=self.name, rows=waited)

    def stand(self) -> Mapping[Partition, int | None]:
        """Begin again where the table stands, which is returned by partition. Raises `Unwritable`."""
        self.table.refresh()
        for partition in self.partitions:
            self.assign(partition)
        return self.partitions

    def take(self, message: Message, now: float) -> None:
        """Take in one record, once."""
        partition, offset = (message.topic() or "", message.partition() or 0), message.offset() or 0
        if self.astray or partition not in self.partitions or offset < (self.partitions[partition] or 0):
            return  # fetched before its partition was taken away or sought
        value = message.value()
        found: Headers = message.headers() or []  # type: ignore[assignment] # typed wider than the list it is
        try:
            row = read_row(self.table.contract, value, found)
        except Unreadable as error:
            self._leave_out(partition, offset, str(error))
            row = None
        self.partitions[partition] = offset + 1
        if row is None:
            return
        size = len(value or b"") + _ROW_OVERHEAD
        self._rows.append(row)
        self._chunk_bytes += size
        self.bytes += size
        self.days.add(row[0])
        if self.since is None:
            self.since = now
        if len(self._rows) >= _CHUNK_ROWS or self._chunk_bytes >= _CHUNK_BYTES:
            self._pack()

    def commit(self, now: float) -> None:
        """Commit what waits. If not, the feed is `failing`, to be tried again, or `astray`, to be read again."""
        moves = {
            partition: Move(self._bases[partition], position)
            for partition, position in self.partitions.items()
            if position is not None and position != self._bases[partition]
        }
        if self.since is None and (not moves or now - self._moved_at < _IDLE_SECONDS):
            return
        self._pack()
        rows = self.rows
        try:
            with ARCHIVE_SECONDS.time():
                self.table.append(self._batches, moves)
        except Outrun as outrun:
            log.warning("archive.outrun", table=self.name, found=str(outrun))
            self.drop()
            return
        except Unwritable as error:
            self.failing = str(error)[:500]
            log.warning("archive.unwritable", table=self.name, error=self.failing)
            return
        self.failing = None
        self._moved_at = now
        self._bases |= {partition: move.next for partition, move in moves.items()}
        self._clear()
        ARCHIVED.labels(self.name).inc(rows)

    def _pack(self) -> None:
        """Turn rows into Arrow."""
        if self._rows:
            self._batches.append(arrow_batch(self.table.contract, self._rows))
        self._rows, self._chunk_bytes = [], 0

    def _clear(self) -> None:
        self._rows, self._batches, self._chunk_bytes = [], [], 0
        self.days, self.bytes, self.since = set(), 0, None

    def _leave_out(self, partition: Partition, offset: int, reason: str) -> None:
        """Ours to explain: the router writes what it has read itself. History buries the same record."""
        topic = partition[0].removeprefix(self._prefix)
        ARCHIVE_UNREADABLE.labels(topic).inc()
        log.error("record.unreadable", topic=topic, partition=partition[1], offset=offset, reason=reason)
