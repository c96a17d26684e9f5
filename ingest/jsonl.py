"""Lines of a JSONL file to events ready to send: a line without an id gets the same one at every import."""

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from infra.contracts import codec
from infra.contracts.events import MAX_EVENT_BYTES, Invalid, Time, check_type, to_ms, truncate_ms
from ingest.client.ids import TAIL_BITS, uuid7

_MAX_LINE: Final = MAX_EVENT_BYTES + 1_024
_BOM: Final = b"\xef\xbb\xbf"
_HASH_BITS: Final = 10


class _Head(msgspec.Struct):
    id: str | msgspec.UnsetType | None = msgspec.UNSET
    time: Time | msgspec.UnsetType = msgspec.UNSET


_head = msgspec.json.Decoder(_Head)


@dataclass(frozen=True, slots=True)
class Line:
    """One line as it stands in its file: `number` counts from 1; `raw` is stripped, and None when far too long."""

    number: int
    start: int
    end: int
    raw: bytes | None


@dataclass(frozen=True, slots=True)
class Record:
    """An event ready to send. Those of one `lane_of` must keep their order."""

    id: str
    raw: bytes
    lane_of: int


def read_lines(path: Path, offset: int = 0, number: int = 0) -> Iterator[Line]:
    """The lines from a byte offset, the end of line `number`, on."""
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
            yield Line(number, start, offset, None if too_long else raw.strip())


def parse(line: Line) -> Record:
    """The event of a line, held to the contract. Raises `Invalid`."""
    raw = line.raw
    if raw is None:
        raise Invalid("too_large", None, f"the event is longer than {MAX_EVENT_BYTES} bytes")
    head = _read_head(raw)
    if head.id is msgspec.UNSET:
        raw = b'{"id":"%s",%s' % (_id(line.number, raw, head).encode(), raw[1:])
    event = codec.decode(raw, limit=MAX_EVENT_BYTES)
    check_type(event.type)
    return Record(event.id, raw, zlib.crc32((event.channel_id or event.author).encode()))


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
