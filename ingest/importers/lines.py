"""Lines of a file with their places, so that reading can go on from any of them."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.contracts.events import MAX_EVENT_BYTES, Invalid
from ingest.importers.passages import BEGINNING, Position

_MAX_LINE: Final = MAX_EVENT_BYTES + 1_024
_PROBE: Final = 64 * 1024
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file: `number` counts from 1; `raw` has no line end, and is None when far too long."""

    number: int
    start: int
    end: int
    raw: bytes | None

    @property
    def before(self) -> Position:
        """Where the line begins."""
        return Position(self.start, self.number - 1)

    @property
    def after(self) -> Position:
        """Where the next line begins."""
        return Position(self.end, self.number)

    @property
    def content(self) -> bytes:
        """What it says. Raises `Invalid` when it is too long for any event."""
        if self.raw is None:
            raise Invalid("too_large", None, f"the event is longer than {MAX_EVENT_BYTES} bytes")
        return self.raw


def read_lines(path: Path, since: Position = BEGINNING) -> Iterator[Line]:
    """The lines from a position on."""
    offset, number = since.offset, since.line
    with path.open("rb", buffering=1 << 20) as file:
        file.seek(offset)
        while raw := file.readline(_MAX_LINE):
            number += 1
            start, offset = offset, offset + len(raw)
            too_long = False
            while not raw.endswith(b"\n") and (more := file.readline(_MAX_LINE)):
                too_long = True
                offset += len(more)
                raw = more
            if start == 0:
                raw = raw.removeprefix(_BOM)
            yield Line(number, start, offset, None if too_long else raw.rstrip(b"\r\n"))


def probe(path: Path, offset: int) -> str:
    """A hash of what stands at the beginning and just before the offset; of nothing when the file is shorter."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        if path.stat().st_size >= offset:
            digest.update(file.read(min(_PROBE, offset)))
            file.seek(max(0, offset - _PROBE))
            digest.update(file.read(min(_PROBE, offset)))
    return digest.hexdigest()
