"""JSON lines, one envelope each: a line without an id gets the same one at every import."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from infra.contracts import codec
from infra.contracts.events import MAX_EVENT_BYTES, Invalid, Time, to_ms, truncate_ms
from ingest.client.ids import TAIL_BITS, uuid7
from ingest.importers import lines
from ingest.importers.lines import Line, read_lines
from ingest.importers.passages import Passage, Position, Record, record_of

_HASH_BITS: Final = 10


class JsonlFile:
    """A file of envelopes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def size(self) -> int:
        """Its size now: it may grow."""
        return self.path.stat().st_size

    def probe(self, offset: int) -> str:
        return lines.probe(self.path, offset)

    def read(self, since: Position) -> Iterator[Passage]:
        for line in read_lines(self.path, since):
            records: tuple[Record, ...] = ()
            problems: tuple[Invalid, ...] = ()
            try:
                found = parse(line)
                records = () if found is None else (found,)
            except Invalid as invalid:
                problems = (invalid,)
            yield Passage(
                path=self.path,
                line=line.number,
                start=line.before,
                end=line.after,
                records=records,
                problems=problems,
            )


class _Head(msgspec.Struct):
    id: str | msgspec.UnsetType | None = msgspec.UNSET
    time: Time | msgspec.UnsetType = msgspec.UNSET


_head = msgspec.json.Decoder(_Head)


def parse(line: Line) -> Record | None:
    """The event of a line, held to the contract; None for an empty line. Raises `Invalid`."""
    raw = line.content.strip()
    if not raw:
        return None
    head = _read_head(raw)
    if head.id is msgspec.UNSET:
        raw = b'{"id":"%s",%s' % (_id(line.number, raw, head).encode(), raw[1:])
    return record_of(raw)


def _read_head(raw: bytes) -> _Head:
    try:
        return _head.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        # The codec words it, for the id too; if it finds nothing wrong there is an id and a time.
        event = codec.decode(raw, limit=MAX_EVENT_BYTES)
        return _Head(id=event.id, time=event.time)


def _id(number: int, raw: bytes, head: _Head) -> str:
    """A UUIDv7 of the line's time, its number, so that one millisecond keeps the file's order, and its content.

    Nothing of the file around it takes part, so a file that has grown or moved gives its old lines their old ids.
    """
    if head.time is msgspec.UNSET:
        raise Invalid("missing_field", "time", "time is required")
    digest = int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "big")
    counter = number << _HASH_BITS | (digest >> TAIL_BITS) & ((1 << _HASH_BITS) - 1)
    try:
        return uuid7(to_ms(truncate_ms(head.time)), counter, digest & ((1 << TAIL_BITS) - 1))
    except ValueError:
        raise Invalid("bad_time", "time", "time lies before 1970") from None
