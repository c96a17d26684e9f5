"""Imports sources of events as history: several requests in flight, each channel in the source's order, and resumable.

Every line ends stored, counted as left out, or reported with its number. A killed import goes on where ingest had
confirmed everything; what is sent twice has the same id and adds nothing.
"""

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx

from infra.contracts.events import MAX_BATCH_BYTES, MAX_BATCH_EVENTS
from infra.runtime.clock import Clock, SystemClock
from ingest.client.backoff import Backoff
from ingest.client.wire import Wire
from ingest.importers.checkpoint import Checkpoint
from ingest.importers.passages import BEGINNING, Passage, Position, Record, Source
from ingest.lanes import Delivered, Lanes
from ingest.progress import Advance

_BATCH_BYTES: Final = MAX_BATCH_BYTES - 1_024
_SAVE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LineProblem:
    """Why a line was not stored: it breaks the contract, here or in ingest's eyes.

    `line` counts from 1, in a Slack export the messages of a day; 0 is the whole file.
    """

    path: Path
    line: int
    code: str
    field: str | None
    message: str


@dataclass(slots=True, kw_only=True)
class ImportSummary:
    """What an import came to. `skipped` counts sources imported before; all but `accepted`, `duplicates` and what
    ingest refused is of what was read now: `events` by type, and what was `left_out` by kind.
    """

    files: int = 0
    skipped: int = 0
    lines: int = 0
    accepted: int = 0
    duplicates: int = 0
    refused: int = 0
    bytes: int = 0
    seconds: float = 0.0
    events: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def events_per_second(self) -> float:
        """Events stored per second."""
        return (self.accepted + self.duplicates) / self.seconds if self.seconds else 0.0

    @property
    def exit_code(self) -> int:
        """0 when every line is stored, or with a dry run could be; else 1."""
        return 1 if self.refused else 0


def import_files(
    sources: Iterable[Source],
    *,
    url: str,
    key: str,
    state_dir: Path,
    dry_run: bool = False,
    force: bool = False,
    in_flight: int = 4,
    batch_events: int = 1_500,
    patience: float = 60.0,
    timeout: float = 30.0,
    report: Callable[[LineProblem], None] | None = None,
    progress: Advance | None = None,
    clock: Clock | None = None,
    backoff: Backoff | None = None,
    transport: httpx.BaseTransport | None = None,
) -> ImportSummary:
    """Send everything in the sources as historical events; `key` needs scope `backfill`.

    With `dry_run` lines are checked, and nothing is sent or remembered; with `force` sources are read from their
    beginning, finished or not. `report` is told each bad line, on any thread; `progress` bytes done and in all.
    Raises `PreconditionError` when the key is refused and `Unreachable` after `patience` seconds without an answer;
    what was confirmed by then is remembered.
    """
    clock = clock or SystemClock()
    sources = list(sources)
    tally = _Tally(sum(source.size for source in sources), report, progress)
    began = clock.monotonic()
    if dry_run:
        for source in sources:
            _check(source, tally)
    else:
        target = f"{url.rstrip('/')} {hashlib.sha256(key.encode()).hexdigest()}"
        checkpoints = [Checkpoint.load(state_dir, source, target) for source in sources]
        with contextlib.closing(
            Wire(url, key, clock=clock, historical=True, timeout=timeout, connections=in_flight, transport=transport)
        ) as wire:
            sender = _Sender(wire, tally, in_flight, min(batch_events, MAX_BATCH_EVENTS), clock)
            sender.run(checkpoints, force=force, patience=patience, backoff=backoff or Backoff())
    tally.summary.seconds = clock.monotonic() - began
    return tally.summary


class _Tally:
    """Counts, reports and shows. Thread safe where lanes call it."""

    def __init__(self, total: int, report: Callable[[LineProblem], None] | None, progress: Advance | None) -> None:
        self.summary = ImportSummary()
        self._total = total
        self._report = report
        self._progress = progress
        self._passed = 0
        self._lock = threading.Lock()

    def bad(self, path: Path, line: int, code: str, field: str | None, message: str) -> None:
        with self._lock:
            self.summary.refused += 1
            if self._report is not None:
                self._report(LineProblem(path=path, line=line, code=code, field=field, message=message))

    def stored(self, delivered: Delivered) -> None:
        with self._lock:
            self.summary.accepted += delivered.accepted
            self.summary.duplicates += delivered.duplicates

    def read(self, passage: Passage, before: int) -> None:
        summary = self.summary
        for problem in passage.problems:
            self.bad(passage.path, passage.line, problem.code, problem.field, problem.message)
        for record in passage.records:
            summary.events[record.type] = summary.events.get(record.type, 0) + 1
        for kind in passage.left_out:
            summary.left_out[kind] = summary.left_out.get(kind, 0) + 1
        summary.lines += not passage.blank
        size = passage.end.offset - before
        summary.bytes += size
        self.passed(size, shown=summary.lines % 1_000 == 0)

    def passed(self, size: int, *, shown: bool = True) -> None:
        self._passed += size
        if shown and self._progress is not None:
            self._progress(self._passed, self._total)


def _check(source: Source, tally: _Tally) -> None:
    """Hold everything to the contract."""
    before = 0
    tally.summary.files += 1
    for passage in source.read(BEGINNING):
        tally.read(passage, before)
        before = passage.end.offset
    tally.passed(source.size - before)


@dataclass(eq=False, slots=True)
class _Batch:
    reading: "_Reading"
    first: Position
    places: list[tuple[Path, int]] = field(default_factory=list)
    raws: list[bytes] = field(default_factory=list)
    size: int = 0


@dataclass(eq=False, slots=True)
class _Reading:
    """One source: how far it is read, and which batches of it are not settled yet."""

    checkpoint: Checkpoint
    read: Position
    saved_at: float
    open: set[_Batch] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def save(self) -> None:
        """Remember the end of the settled part."""
        with self.lock:
            self.checkpoint.save(min((b.first for b in self.open), key=lambda p: p.offset, default=self.read))


class _Sender:
    """Reads sources on the calling thread and hands batches to the lanes."""

    def __init__(self, wire: Wire, tally: _Tally, lanes: int, batch_events: int, clock: Clock) -> None:
        self._wire = wire
        self._tally = tally
        self._count = lanes
        self._batch_events = batch_events
        self._clock = clock
        self._filling: dict[int, _Batch] = {}

    def run(self, checkpoints: Sequence[Checkpoint], *, force: bool, patience: float, backoff: Backoff) -> None:
        """Send what is not confirmed yet, or with `force` everything."""
        lanes = Lanes[_Batch](
            self._wire, self._settle, count=self._count, patience=patience, clock=self._clock, backoff=backoff
        )
        readings: list[_Reading] = []
        try:
            for checkpoint in checkpoints:
                if checkpoint.finished and not force:
                    self._tally.summary.skipped += 1
                    self._tally.passed(checkpoint.position.offset)
                    continue
                start = BEGINNING if force else checkpoint.position
                readings.append(_Reading(checkpoint, start, self._clock.monotonic()))
                self._send(readings[-1], lanes)
            lanes.drain()
        finally:
            lanes.abandon()
            for reading in readings:
                reading.save()

    def _send(self, reading: _Reading, lanes: Lanes[_Batch]) -> None:
        source, before = reading.checkpoint.source, reading.read.offset
        self._tally.summary.files += 1
        self._tally.passed(before)
        for passage in source.read(reading.read):
            for record in passage.records:
                self._add(reading, passage, record, lanes)
            with reading.lock:
                reading.read = passage.end
            self._tally.read(passage, before)
            before = passage.end.offset
        # A batch holds records of one source, so that its position can be told.
        for lane, batch in sorted(self._filling.items()):
            lanes.put(lane, batch)
        self._filling.clear()
        self._tally.passed(source.size - before)

    def _add(self, reading: _Reading, passage: Passage, record: Record, lanes: Lanes[_Batch]) -> None:
        lane = record.lane_of % self._count
        batch = self._filling.get(lane)
        if batch is not None and (
            len(batch.raws) >= self._batch_events or batch.size + len(record.raw) + 1 > _BATCH_BYTES
        ):
            lanes.put(lane, self._filling.pop(lane))
            batch = None
        if batch is None:
            batch = self._filling[lane] = _Batch(reading, passage.start)
            with reading.lock:
                reading.open.add(batch)
        batch.places.append((passage.path, passage.line))
        batch.raws.append(record.raw)
        batch.size += len(record.raw) + 1

    def _settle(self, batch: _Batch, delivered: Delivered) -> None:
        self._tally.stored(delivered)
        reading = batch.reading
        for index, drop in sorted(delivered.refused.items()):
            self._tally.bad(*batch.places[index], drop.code, drop.field, drop.message)
        with reading.lock:
            reading.open.discard(batch)
        now = self._clock.monotonic()
        if now - reading.saved_at >= _SAVE_SECONDS:
            reading.saved_at = now
            reading.save()
