"""Imports files of events as history: several requests in flight, each channel in the file's order, and resumable.

Every line ends stored or reported with its number. A killed import goes on where ingest had confirmed everything; what
is sent twice has the same id and adds nothing.
"""

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx

from infra.contracts.events import MAX_BATCH_BYTES, MAX_BATCH_EVENTS, Invalid
from infra.runtime.clock import Clock, SystemClock
from ingest.checkpoint import Checkpoint, Position
from ingest.client.backoff import Backoff
from ingest.client.wire import Wire
from ingest.jsonl import Line, Record, parse, read_lines
from ingest.lanes import Delivered, Lanes
from ingest.progress import Advance

FORMATS: Final = ("jsonl",)
_BATCH_BYTES: Final = MAX_BATCH_BYTES - 1_024
_SAVE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LineProblem:
    """Why a line was not stored: it breaks the contract, here or in ingest's eyes. `line` counts from 1."""

    path: Path
    line: int
    code: str
    field: str | None
    message: str


@dataclass(slots=True, kw_only=True)
class ImportSummary:
    """What an import came to. `bytes` and `lines` are those read now; `skipped` counts files imported before."""

    files: int = 0
    skipped: int = 0
    lines: int = 0
    accepted: int = 0
    duplicates: int = 0
    refused: int = 0
    bytes: int = 0
    seconds: float = 0.0

    @property
    def events_per_second(self) -> float:
        """Events stored per second."""
        return (self.accepted + self.duplicates) / self.seconds if self.seconds else 0.0

    @property
    def exit_code(self) -> int:
        """0 when every line is stored, or with a dry run could be; else 1."""
        return 1 if self.refused else 0


def import_files(
    paths: Iterable[Path],
    *,
    url: str,
    key: str,
    state_dir: Path,
    file_format: str = "jsonl",
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
    """Send every line of the files as historical events; `key` needs scope `backfill`.

    With `dry_run` lines are checked, and nothing is sent or remembered; with `force` files are read from their
    beginning, finished or not. `report` is told each bad line, on any thread; `progress` bytes done and in all.
    Raises `PreconditionError` when the key is refused and `Unreachable` after `patience` seconds without an answer;
    what was confirmed by then is remembered.
    """
    if file_format not in FORMATS:
        raise ValueError(f"no such format: {file_format}")
    clock = clock or SystemClock()
    sources = list(paths)
    tally = _Tally(sum(path.stat().st_size for path in sources), report, progress)
    began = clock.monotonic()
    if dry_run:
        for path in sources:
            _check(path, tally)
    else:
        target = f"{url.rstrip('/')} {hashlib.sha256(key.encode()).hexdigest()}"
        checkpoints = [Checkpoint.load(state_dir, path, target) for path in sources]
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

    def read(self, line: Line, before: int) -> None:
        self.summary.lines += line.raw != b""
        self.summary.bytes += line.end - before
        self.passed(line.end - before, shown=self.summary.lines % 1_000 == 0)

    def passed(self, size: int, *, shown: bool = True) -> None:
        self._passed += size
        if shown and self._progress is not None:
            self._progress(self._passed, self._total)


def _check(path: Path, tally: _Tally) -> None:
    """Hold every line to the contract."""
    before = 0
    tally.summary.files += 1
    for line in read_lines(path):
        _parsed(path, line, tally)
        tally.read(line, before)
        before = line.end
    tally.passed(path.stat().st_size - before)


def _parsed(path: Path, line: Line, tally: _Tally) -> Record | None:
    """The event of a line; None for an empty line and for a bad one, which is reported."""
    try:
        return parse(line) if line.raw != b"" else None
    except Invalid as invalid:
        tally.bad(path, line.number, invalid.code, invalid.field, invalid.message)
        return None


@dataclass(eq=False, slots=True)
class _Batch:
    source: "_Source"
    first: Position
    lines: list[int] = field(default_factory=list)
    raws: list[bytes] = field(default_factory=list)
    size: int = 0


@dataclass(eq=False, slots=True)
class _Source:
    """One file: how far it is read, and which batches of it are not settled yet."""

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
    """Reads files on the calling thread and hands batches to the lanes."""

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
        sources: list[_Source] = []
        try:
            for checkpoint in checkpoints:
                if checkpoint.finished and not force:
                    self._tally.summary.skipped += 1
                    self._tally.passed(checkpoint.position.offset)
                    continue
                start = Position() if force else checkpoint.position
                sources.append(_Source(checkpoint, start, self._clock.monotonic()))
                self._send(sources[-1], lanes)
            lanes.drain()
        finally:
            lanes.abandon()
            for source in sources:
                source.save()

    def _send(self, source: _Source, lanes: Lanes[_Batch]) -> None:
        path, before = source.checkpoint.source, source.read.offset
        self._tally.summary.files += 1
        self._tally.passed(before)
        for line in read_lines(path, before, source.read.line):
            record = _parsed(path, line, self._tally)
            if record is not None:
                self._add(source, line, record, lanes)
            with source.lock:
                source.read = Position(line.end, line.number)
            self._tally.read(line, before)
            before = line.end
        # A batch holds lines of one file, so that its position can be told.
        for lane, batch in sorted(self._filling.items()):
            lanes.put(lane, batch)
        self._filling.clear()
        size = path.stat().st_size
        self._tally.passed(size - before)

    def _add(self, source: _Source, line: Line, record: Record, lanes: Lanes[_Batch]) -> None:
        lane = record.lane_of % self._count
        batch = self._filling.get(lane)
        if batch is not None and (
            len(batch.raws) >= self._batch_events or batch.size + len(record.raw) + 1 > _BATCH_BYTES
        ):
            lanes.put(lane, self._filling.pop(lane))
            batch = None
        if batch is None:
            batch = self._filling[lane] = _Batch(source, Position(line.start, line.number - 1))
            with source.lock:
                source.open.add(batch)
        batch.lines.append(line.number)
        batch.raws.append(record.raw)
        batch.size += len(record.raw) + 1

    def _settle(self, batch: _Batch, delivered: Delivered) -> None:
        self._tally.stored(delivered)
        source = batch.source
        for index, drop in sorted(delivered.refused.items()):
            self._tally.bad(source.checkpoint.source, batch.lines[index], drop.code, drop.field, drop.message)
        with source.lock:
            source.open.discard(batch)
        now = self._clock.monotonic()
        if now - source.saved_at >= _SAVE_SECONDS:
            source.saved_at = now
            source.save()
