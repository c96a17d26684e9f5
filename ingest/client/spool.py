"""Keeps events on disk until ingest has them: numbered JSONL segments, oldest first, bounded in bytes.

A segment is read only once it is closed and deleted only once everything in it is settled, so a process that dies sends
at its next start what was still here, some of it a second time; the ids make that harmless.
"""

import errno
import fcntl
import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
import structlog

log = structlog.get_logger("hubbub.client.spool")

#: The first segment's number, leaving room below it for events that must go before the oldest.
_FIRST: Final = 500_000_000
_SUFFIX: Final = ".jsonl"


class SpoolBusyError(Exception):
    """Another client holds this directory."""


class _Named(msgspec.Struct):
    id: str


_named = msgspec.json.Decoder(_Named)


@dataclass(slots=True)
class _Segment:
    number: int
    path: Path
    size: int
    events: int
    offset: int = 0
    outstanding: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """One event read back from disk. Hand it to `done` when it is settled."""

    id: str
    raw: bytes
    segment: _Segment


class Spool:
    """A directory of segments held by one client. Not thread safe: the client guards it.

    Appending and reading raise `OSError` as the file system does.
    """

    def __init__(self, directory: Path, *, max_bytes: int, segment_bytes: int = 4 * 1024 * 1024) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes
        self._writer: BinaryIO | None = None
        directory.mkdir(parents=True, exist_ok=True)
        self._lock = (directory / "lock").open("wb")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise SpoolBusyError(f"{directory} is in use by another client") from None
        self._segments = deque(_load(path) for path in sorted(directory.glob(f"*{_SUFFIX}")))
        self._read = deque[_Segment]()
        self._bytes = sum(segment.size for segment in self._segments)

    @property
    def waiting(self) -> int:
        """Events not yet handed out by `take`."""
        return sum(segment.events for segment in self._segments)

    @property
    def outstanding(self) -> int:
        """Events handed out and not yet settled."""
        return sum(segment.outstanding for segment in self._read) + sum(s.outstanding for s in self._segments)

    def append(self, raw: bytes) -> bool:
        """Add an event behind all others; it survives this process once this returns. False when there is no room."""
        if self._bytes + len(raw) + 1 > self._max_bytes:
            return False
        if self._writer is None or self._segments[-1].size >= self._segment_bytes:
            self._rotate()
            number = self._segments[-1].number + 1 if self._segments else self._next_number()
            segment = _Segment(number, self._path(number), 0, 0)
            self._writer = segment.path.open("ab", buffering=0)
            self._segments.append(segment)
        _write_whole(self._writer, raw + b"\n", self._segments[-1].size)
        self._segments[-1].size += len(raw) + 1
        self._segments[-1].events += 1
        self._bytes += len(raw) + 1
        return True

    def prepend(self, raws: Sequence[bytes]) -> bool:
        """Put events before all others, in one new segment. False when there is no room for them all."""
        size = sum(len(raw) + 1 for raw in raws)
        if not raws or self._bytes + size > self._max_bytes:
            return not raws
        oldest = min((s.number for s in (*self._read, *self._segments)), default=_FIRST)
        segment = _Segment(oldest - 1, self._path(oldest - 1), size, len(raws))
        with segment.path.open("wb") as file:
            file.write(b"".join(raw + b"\n" for raw in raws))
            file.flush()
            os.fsync(file.fileno())
        self._segments.appendleft(segment)
        self._bytes += size
        return True

    def take(self, max_events: int, max_bytes: int) -> list[Entry]:
        """The oldest events, at least one if there is any."""
        taken: list[Entry] = []
        size = 0
        while self._segments and len(taken) < max_events and size < max_bytes:
            segment = self._segments[0]
            if self._writer is not None and len(self._segments) == 1:
                self._rotate()
            with segment.path.open("rb") as file:
                file.seek(segment.offset)
                while len(taken) < max_events and (line := file.readline()):
                    if taken and size + len(line) > max_bytes:
                        return taken
                    segment.offset += len(line)
                    entry = _entry(line, segment)
                    if entry is not None:
                        taken.append(entry)
                        segment.events -= 1
                        segment.outstanding += 1
                        size += len(line)
            if segment.offset >= segment.size:
                self._read.append(self._segments.popleft())
                self._drop_settled()
        return taken

    def done(self, entry: Entry) -> None:
        """Forget an event that is settled."""
        entry.segment.outstanding -= 1
        self._drop_settled()

    def close(self) -> None:
        """Bring everything to disk and let the directory go. What is here is sent at the next start."""
        self._rotate()
        self._lock.close()

    def _rotate(self) -> None:
        if self._writer is not None:
            os.fsync(self._writer.fileno())
            self._writer.close()
            self._writer = None

    def _drop_settled(self) -> None:
        for segment in [s for s in self._read if s.outstanding == 0]:
            self._read.remove(segment)
            self._bytes -= segment.size
            segment.path.unlink(missing_ok=True)

    def _next_number(self) -> int:
        return max((segment.number + 1 for segment in self._read), default=_FIRST)

    def _path(self, number: int) -> Path:
        return self._directory / f"{number:012d}{_SUFFIX}"


def _write_whole(file: BinaryIO, line: bytes, size: int) -> None:
    """One line or none of it: what a full disk cut short would swallow the next line too."""
    try:
        if file.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:
        file.truncate(size)
        raise


def _load(path: Path) -> _Segment:
    content = path.read_bytes()
    events = sum(_entry_id(line) is not None for line in content.splitlines(keepends=True))
    return _Segment(int(path.name.removesuffix(_SUFFIX)), path, len(content), events)


def _entry(line: bytes, segment: _Segment) -> Entry | None:
    identifier = _entry_id(line)
    if identifier is None:
        # Only the last line of a machine that lost power can be torn: its send had not been made durable.
        log.warning("spool.torn_line", segment=segment.number, bytes=len(line))
        return None
    return Entry(identifier, line.rstrip(b"\n"), segment)


def _entry_id(line: bytes) -> str | None:
    if not line.endswith(b"\n"):
        return None
    try:
        return _named.decode(line).id
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
