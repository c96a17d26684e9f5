"""The teller's loop: reads, counts what the watermark has passed, stores what changed, and keeps a snapshot.

What it stores is absolute and follows from the log alone. After a crash it goes on from its last snapshot, comes to
the same values, and stores nothing until it is as far as what is stored, so no number ever goes back.
"""

import threading
from datetime import datetime, timedelta
from typing import Final

import structlog
from confluent_kafka import KafkaException, Message

from analytics.interactions.acts import Unreadable, read
from analytics.interactions.books import Books
from analytics.interactions.lanes import ahead
from analytics.interactions.reader import Reader
from analytics.interactions.settings import InteractionsSettings
from analytics.interactions.snapshot import SnapshotFile
from analytics.interactions.store import Store
from infra.contracts.events import from_ms
from infra.contracts.topics import EVENTS
from infra.contracts.windows import MINUTE, WATERMARK_DELAY
from infra.runtime.clock import Clock
from infra.runtime.health import Check, Progress
from infra.runtime.settings import Kafka
from infra.runtime.telemetry import INTERACTIONS_EVENTS, INTERACTIONS_KEPT, INTERACTIONS_LAG

log = structlog.get_logger("hubbub.interactions")

_READ_SECONDS: Final = 0.2
_LOOK_SECONDS: Final = 5.0
#: What a start without a snapshot reads before it counts: nobody waits longer, and no session lasts longer.
_WARM_UP: Final = timedelta(hours=24)


class Teller:
    """One process's loop. `run` returns once told to stop, or when Kafka's client is beyond repair."""

    def __init__(
        self,
        *,
        reader: Reader,
        store: Store,
        file: SnapshotFile,
        settings: InteractionsSettings,
        kafka: Kafka,
        clock: Clock,
    ) -> None:
        self._reader = reader
        self._store = store
        self._file = file
        self._settings = settings
        self._topic = kafka.topic(EVENTS.name)
        self._clock = clock
        self.books = Books({})
        self._hold_until: datetime | None = None
        self._ends: dict[int, int] = {}
        self._stored_at = self._saved_at = clock.monotonic()
        self._looked_at: float | None = None
        self._answers = True
        self._unreadable = 0
        self._disk: str | None = None
        self.progress = Progress(settings.stall_seconds)

    @property
    def lag(self) -> int | None:
        """Records that the last look at the log showed and that are not read yet."""
        if not self._ends:
            return None
        return sum(max(0, end - self.books.lanes[partition].offset) for partition, end in self._ends.items())

    def check_kafka(self) -> Check:
        """Holds while Kafka answers, and its client is not beyond repair."""
        return Check(self._answers and self._reader.fatal is None, self._reader.fatal or "")

    def check_disk(self) -> Check:
        """Holds while snapshots can be written."""
        return Check(self._disk is None, self._disk or "")

    def run(self, stopping: threading.Event) -> None:
        """Read, count and store until told to stop; then keep a last snapshot."""
        self.start()
        while not stopping.is_set() and self._reader.fatal is None:
            self.step()
        if self._reader.fatal is None and self._hold_until is None:
            self.store()
            self.save()

    def start(self) -> None:
        """Go on from the last snapshot, or begin as far back as it takes. Raises `Unreachable`."""
        self._hold_until = self._store.watermark()
        bounds = self._reader.bounds()
        snapshot = self._file.load()
        if snapshot is not None and not _fits({p: lane.offset for p, lane in snapshot.lanes.items()}, bounds):
            log.warning("snapshot.out_of_reach", offsets={p: lane.offset for p, lane in snapshot.lanes.items()})
            snapshot = None
        if snapshot is not None:
            self.books = Books.restore(snapshot)
        else:
            moment = self._clock.now() - timedelta(hours=self._settings.first_hours)
            starts = self._reader.since(moment)
            # A log that is there from its first record on has nothing before it that could matter.
            whole = all(offset == 0 for offset in starts.values())
            self.books = Books(starts, None if whole else MINUTE.start(moment + _WARM_UP))
        self._reader.assign({partition: lane.offset for partition, lane in self.books.lanes.items()})
        log.info(
            "interactions.started",
            resumed=snapshot is not None,
            since=self.books.since and self.books.since.isoformat(),
            watermark=self.books.watermark and self.books.watermark.isoformat(),
        )

    def step(self) -> None:
        """Read what has come, and do what is due."""
        for message in self._reader.read(_READ_SECONDS):
            self._take(message)
        self.books.settle()
        self._pace()
        now = self._clock.monotonic()
        if self._hold_until is not None:
            self.progress.beat()  # catching up after a stop is progress, too
            if self.books.watermark is not None and self.books.watermark >= self._hold_until:
                self._hold_until = None
        if self._hold_until is None and now - self._stored_at >= self._settings.store_seconds:
            self._stored_at = now
            self.store()
            # Only behind what is stored, so that a board that was emptied is not forgotten.
            if now - self._saved_at >= self._settings.snapshot_seconds:
                self._saved_at = now
                self.save()
        if self._looked_at is None or now - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = now
            self._look()

    def store(self) -> None:
        """Store what changed, then how far it has come. Raises `Stopping`."""
        books, now = self.books, self._clock.now()
        self._store.write(books.windows.changed, now)
        self._store.show(books.boards(), now)
        if books.watermark is not None:
            offsets = {self._topic: {partition: lane.offset for partition, lane in books.lanes.items()}}
            self._store.write_progress(books.watermark, offsets, books.since, books.late, books.copies, now)
            INTERACTIONS_LAG.set(max(0.0, (now - books.watermark - WATERMARK_DELAY).total_seconds()))
        books.windows.stored(books.watermark)
        books.shown()
        for kind, number in books.sizes.items():
            INTERACTIONS_KEPT.labels(kind).set(number)
        for kind, number in (("late", books.late), ("copies", books.copies), ("forgotten", books.forgotten)):
            INTERACTIONS_EVENTS.labels(kind).set(number)
        self.progress.beat()

    def save(self) -> None:
        """Keep a snapshot. A disk that does not take it is logged and tried again."""
        began = self._clock.monotonic()
        try:
            size = self._file.save(self.books.snapshot())
        except OSError as error:
            self._disk = str(error)
            log.error("snapshot.not_written", error=str(error))
        else:
            self._disk = None
            seconds = round(self._clock.monotonic() - began, 3)
            log.debug("snapshot.written", bytes=size, seconds=seconds, **self.books.sizes)

    def _take(self, message: Message) -> None:
        partition, offset = message.partition() or 0, message.offset() or 0
        try:
            found = read(message.value(), partition, from_ms(message.timestamp()[1]))
        except Unreadable as error:  # ours to explain: the router writes what it has read itself
            self._unreadable += 1
            if self._unreadable == 1:
                log.warning("record.unreadable", partition=partition, offset=offset, error=str(error))
            self.books.skip(partition, offset)
        else:
            self.books.take(partition, offset, found)

    def _pace(self) -> None:
        """Where too much waits for the watermark, let the partitions that hold it back come first."""
        limit = self._settings.buffer_acts
        if self.books.buffered <= limit:
            self._reader.pause(frozenset())
            return
        self._reader.pause(frozenset(ahead(self.books.lanes)))

    def _look(self) -> None:
        try:
            self._ends = self._reader.ends()
            self._answers = True
        except KafkaException as error:
            self._answers = False
            log.warning("kafka.unavailable", error=error.args[0].name())


def _fits(offsets: dict[int, int], bounds: dict[int, tuple[int, int]]) -> bool:
    """Whether the log can be read on from these offsets."""
    return offsets.keys() == bounds.keys() and all(
        low <= offsets[partition] <= end for partition, (low, end) in bounds.items()
    )
