"""Slack exports, zipped or unpacked, file by file: people, then channels, then each channel's days in their order."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from infra.contracts import codec
from infra.contracts.events import Event, Invalid
from ingest.importers.passages import BEGINNING, Passage, Position, Record, record
from ingest.importers.slack_events import LeftOut, Workspace
from ingest.importers.slack_export import Entry, Unreadable, digest, open_export
from ingest.importers.slack_shapes import Conversation, Message, User

_PEOPLE: Final = ("users.json", "org_users.json")
_CONVERSATIONS: Final = ("channels.json", "groups.json", "mpims.json", "dms.json")
_LISTS: Final = (*_PEOPLE, *_CONVERSATIONS)
_DAY: Final = re.compile(r"([^/]+)/\d{4}-\d\d-\d\d\.json")

_raws: Final = msgspec.json.Decoder(list[msgspec.Raw])
_user: Final = msgspec.json.Decoder(User)
_conversation: Final = msgspec.json.Decoder(Conversation)
_message: Final = msgspec.json.Decoder(Message)

_Read = Callable[[bytes | msgspec.Raw], Iterator[Event | LeftOut]]


class SlackExport:
    """An export. Raises `PreconditionError` when there is none at the path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._export = open_export(path)
        entries = self._export.entries
        lists = [name for name in _LISTS if name in entries]
        self._order = [entries[name] for name in (*lists, *sorted(entries.keys() - set(lists)))]

    @property
    def size(self) -> int:
        """Bytes of all its files, unpacked."""
        return sum(entry.size for entry in self._order)

    def probe(self, offset: int) -> str:
        end, before = 0, []
        for entry in self._order:
            end += entry.size
            # The lists are part of every day's events.
            if end <= offset or entry.name in _LISTS:
                before.append(entry)
        return digest(before)

    def read(self, since: Position) -> Iterator[Passage]:
        """Every passage of a file but the last ends where the file begins, so an import goes on with whole files."""
        workspace, start = Workspace(), BEGINNING
        with self._export.opened() as content:
            for entry in self._order:
                end = Position(start.offset + entry.size, start.line + 1)
                done = end.offset <= since.offset
                # Who and where has to be known even if it was told before.
                if not done or entry.name in _LISTS:
                    for passage in self._passages(entry, content, _reader(entry.name, workspace), start, end):
                        if not done:
                            yield passage
                start = end

    def _passages(
        self, entry: Entry, content: Callable[[str], bytes], read: _Read | None, start: Position, end: Position
    ) -> Iterator[Passage]:
        path = self.path / entry.name
        problem: Invalid | None = None
        if read is not None:
            try:
                for number, raw in enumerate(_objects(content(entry.name)), 1):
                    yield _passage(path, number, start, raw, read)
            except Unreadable as unreadable:
                problem = Invalid("invalid_field", None, str(unreadable))
            except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                problem = Invalid("invalid_field", None, f"not a JSON array: {error}")
        yield Passage(
            path=path,
            line=0,
            start=start,
            end=end,
            problems=() if problem is None else (problem,),
            left_out=() if read is not None else ("other_file",),
        )


def _objects(content: bytes) -> Sequence[bytes | msgspec.Raw]:
    """The elements of a JSON array. Half an emoji, as where a text was cut off, is read as a question mark."""
    try:
        return _raws.decode(content)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        found = json.loads(content)
        if not isinstance(found, list):
            raise
        return [json.dumps(one, ensure_ascii=False).encode(errors="replace") for one in found]


def _passage(path: Path, number: int, at: Position, raw: bytes | msgspec.Raw, read: _Read) -> Passage:
    """What one object of a file came to."""
    records: list[Record] = []
    problems: list[Invalid] = []
    left_out: list[str] = []
    try:
        for found in read(raw):
            if isinstance(found, LeftOut):
                left_out.append(found.kind)
                continue
            try:
                records.append(record(found))
            except Invalid as invalid:
                problems.append(invalid)
    except Invalid as invalid:
        problems.append(invalid)
    except msgspec.ValidationError as error:
        problems.append(codec.explain(str(error)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        problems.append(Invalid("invalid_field", None, f"not readable: {error}"))
    return Passage(
        path=path,
        line=number,
        start=at,
        end=at,
        records=tuple(records),
        problems=tuple(problems),
        left_out=tuple(left_out),
    )


def _reader(name: str, workspace: Workspace) -> _Read | None:
    """How the objects of a file are read; None for a file that holds nothing to import."""
    if name in _PEOPLE:
        return lambda raw: workspace.person(_user.decode(raw))
    if name in _CONVERSATIONS:
        return lambda raw: workspace.conversation(_conversation.decode(raw))
    if day := _DAY.fullmatch(name):
        return lambda raw: workspace.message(day[1], _message.decode(raw))
    return None
