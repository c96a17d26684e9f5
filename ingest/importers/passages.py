"""What every format hands to the sender: passages, which are what one line or one message of a source came to."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import msgspec

from infra.contracts import codec
from infra.contracts.events import MAX_EVENT_BYTES, Event, Invalid, check_type


class Position(msgspec.Struct, frozen=True):
    """Everything before byte `offset`, the end of line `line`, is stored or reported. Of an export, lines are files."""

    offset: int = 0
    line: int = 0


BEGINNING: Final = Position()


@dataclass(frozen=True, slots=True)
class Record:
    """An event ready to send. Those of one `lane_of` must keep their order."""

    id: str
    type: str
    raw: bytes
    lane_of: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """One line or message: its events, what is wrong with it, and the kinds of what is left out on purpose.

    `path` and `line`, which counts from 1, are for people; line 0 is the whole file. An import goes on from `start`
    while something of the passage is not settled, and from `end` once all is. One with nothing in it only moves on.
    """

    path: Path
    line: int
    start: Position
    end: Position
    records: tuple[Record, ...] = ()
    problems: tuple[Invalid, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def blank(self) -> bool:
        """Whether there is nothing in it."""
        return not (self.records or self.problems or self.left_out)


class Source(Protocol):
    """A file, or whatever else is imported as one. Read again, it gives the same passages with the same ids."""

    @property
    def path(self) -> Path:
        """Where it is."""
        ...

    @property
    def size(self) -> int:
        """Bytes in all: the offset of its end."""
        ...

    def probe(self, offset: int) -> str:
        """A hash of what stands before the offset, or of enough of it to tell another source."""
        ...

    def read(self, since: Position) -> Iterator[Passage]:
        """The passages that end after the position."""
        ...


def record(event: Event) -> Record:
    """The event, held to the contract. Raises `Invalid`."""
    return record_of(codec.encode(event))


def record_of(raw: bytes) -> Record:
    """The event in these bytes, held to the contract. Raises `Invalid`."""
    event = codec.decode(raw, limit=MAX_EVENT_BYTES)
    check_type(event.type)
    return Record(event.id, event.type, raw, zlib.crc32((event.channel_id or event.author).encode()))
