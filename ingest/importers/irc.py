"""IRC logs of one channel: what was said as messages, who came and went as events, each with an id made from the log.

The form is that of irclogs.ubuntu.com: `[hh:mm] <nick> text`, `[hh:mm]  * nick does`, `[hh:mm] -nick:#channel- notice`,
and lines of the client's own, `=== nick [host]  has joined #channel`, which carry no time and belong to the minute
before them. The date is in the file's name; the day moves on whenever the clock falls. Times are read as UTC.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Final

from infra.contracts.events import CHANNEL_JOINED, CHANNEL_LEFT, MESSAGE_SENT, Event, Invalid, is_placeholder, to_ms
from infra.runtime.errors import PreconditionError
from ingest.client.ids import COUNTER_BITS, TAIL_BITS, uuid7
from ingest.importers import lines
from ingest.importers.lines import Line, read_lines
from ingest.importers.passages import Passage, Position, Record, record

#: Nicks that are programs, however they are capitalized.
BOTS: Final = ("ChanServ", "FloodBot1", "FloodBot2", "FloodBot3", "FloodBot4", "ubot3", "ubottu", "ubotu")

#: Of an id's counter so many bits number the lines of a minute; the others are part of the hash.
ORDINAL_BITS: Final = 20
_HASH_BITS: Final = COUNTER_BITS - ORDINAL_BITS

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
_TIMED: Final = re.compile(r"\[([01]\d|2[0-3]):([0-5]\d)\] ?(.*)", re.DOTALL)
#: What is said, with what it is beside a plain message.
_SAID: Final[tuple[tuple[re.Pattern[str], dict[str, Any] | None], ...]] = (
    (re.compile(r"<([^>]+)> ?(.*)", re.DOTALL), None),
    (re.compile(r" ?\* (\S+) ?(.*)", re.DOTALL), {"action": True}),
    (re.compile(r"-([^\s:]+):[#&]\S*- ?(.*)", re.DOTALL), {"notice": True}),
    (re.compile(r"\(([^\s/]+)/[#&]\S*\) ?(.*)", re.DOTALL), None),
)
_UNTIMED: Final = "=== "
_UNTIMED_ACTION: Final = re.compile(r"=== (\S+) +(.+)", re.DOTALL)
_QUIT: Final = " has quit "
_MOVES: Final = ((" has joined ", CHANNEL_JOINED), (" has left ", CHANNEL_LEFT), (_QUIT, CHANNEL_LEFT))
_WHERE: Final = re.compile(r"([#&]\S+)(?: \[(.*)\])?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Moment:
    """A minute, and how many lines of it came before."""

    day: date
    clock: tuple[int, int]
    ordinal: int = 0

    @property
    def time(self) -> datetime:
        """The beginning of the minute, which is all the log says."""
        return datetime.combine(self.day, time(*self.clock), UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class IrcLog:
    """One log. `begin` is the minute of its first line that has one; lines before it belong there too.

    `named` says whether the log itself names its channel.
    """

    path: Path
    channel: str
    begin: Moment
    named: bool = True
    bots: frozenset[str] = frozenset(map(str.casefold, BOTS))
    untimed_actions: bool = False

    @property
    def size(self) -> int:
        """Its size now: it may grow."""
        return self.path.stat().st_size

    def probe(self, offset: int) -> str:
        settings = repr((self.channel, sorted(self.bots), self.untimed_actions))
        return f"{hashlib.blake2b(settings.encode(), digest_size=8).hexdigest()} {lines.probe(self.path, offset)}"

    def read(self, since: Position) -> Iterator[Passage]:
        day, clock, ordinal = self.begin.day, self.begin.clock, 0
        # From the top each time: where a line belongs depends on those before it.
        for line in read_lines(self.path):
            said = decoded(line.raw or b"")
            now = _clock(said) or clock
            if now != clock:
                day += timedelta(days=now < clock)
                clock, ordinal = now, 0
            if line.end > since.offset:
                yield self._passage(line, said, Moment(day, clock, ordinal))
            ordinal += 1

    def _passage(self, line: Line, said: str, moment: Moment) -> Passage:
        records: tuple[Record, ...] = ()
        problems: tuple[Invalid, ...] = ()
        left_out: tuple[str, ...] = ()
        try:
            content = line.content
            if kind := _left_out(said, untimed_actions=self.untimed_actions):
                left_out = (kind,)
            elif content.strip():
                event = _event(said, id_of(moment, self.channel, content), moment.time, self.channel)
                event.is_bot = (event.user_id or "").casefold() in self.bots or None
                records = (record(event),)
        except Invalid as invalid:
            problems = (invalid,)
        return Passage(
            path=self.path,
            line=line.number,
            start=line.before,
            end=line.after,
            records=records,
            problems=problems,
            left_out=left_out,
        )


def open_logs(
    paths: Iterable[Path],
    *,
    channel: str | None = None,
    bots: Iterable[str] = BOTS,
    untimed_actions: bool = False,
) -> list[IrcLog]:
    """The logs, each with its channel: the one given, else the one its joins and leaves name.

    A log that names none is taken to be of the channel of all the others. Raises `PreconditionError` for a name without
    a date, and when a log's channel cannot be told.
    """
    found = [(path, *_survey(path)) for path in paths]
    named = {name for _, names, _ in found for name in names}
    logs = []
    for path, names, begin in found:
        candidates = {channel.lower()} if channel else names or named
        if len(candidates) != 1:
            say = f"names {' and '.join(sorted(names))}" if names else "names no channel"
            raise PreconditionError(f"{path} {say}. Say which it is of with --channel.")
        logs.append(
            IrcLog(
                path=path,
                channel=next(iter(candidates)),
                begin=begin,
                named=bool(names),
                bots=frozenset(map(str.casefold, bots)),
                untimed_actions=untimed_actions,
            )
        )
    return logs


def id_of(moment: Moment, channel: str, content: bytes) -> str:
    """A UUIDv7 of the minute, the line's number in it, so that ids sort as the log does, and a hash.

    The hash is of the channel and the line. Of the file only the date takes part, which its name must say: a log that
    was moved, renamed otherwise or has grown gives its old lines their old ids, and two channels that hear the same
    line in the same minute keep both. Raises `Invalid` for the line after the 1,048,576th of a minute.
    """
    if moment.ordinal >= 1 << ORDINAL_BITS:
        raise Invalid("bad_time", "time", f"the log has more than {1 << ORDINAL_BITS} lines in this minute")
    digest = hashlib.blake2b(channel.encode() + b"\n" + content, digest_size=8).digest()
    number = int.from_bytes(digest, "big") >> (64 - _HASH_BITS - TAIL_BITS)
    counter = moment.ordinal << _HASH_BITS | number >> TAIL_BITS
    return uuid7(to_ms(moment.time), counter, number & ((1 << TAIL_BITS) - 1))


def decoded(raw: bytes) -> str:
    """A line as text: UTF-8, else Windows' Latin, which most clients of old spoke, else any byte as it is."""
    for encoding in ("utf-8", "cp1252"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return raw.decode("latin-1")


def _event(said: str, identifier: str, moment: datetime, channel: str) -> Event:
    """The event of a line that is not left out. Raises `Invalid` when it is of no form known here."""

    def event(kind: str, nick: str, text: str | None, properties: dict[str, Any] | None) -> Event:
        # Some logs have a blank after each "]"; no nick has one.
        user = nick.replace(" ", "")
        # There are people who call themselves null.
        user = f"irc:{user}" if is_placeholder(user) else user
        return Event(
            id=identifier, type=kind, time=moment, channel_id=channel, user_id=user, text=text, properties=properties
        )

    if timed := _TIMED.fullmatch(said):
        for form, properties in _SAID:
            if match := form.fullmatch(timed[3]):
                return event(MESSAGE_SENT, match[1], match[2], properties)
    elif moved := _moved(said):
        return event(moved.type, moved.nick, None, {"reason": moved.reason} if moved.reason else None)
    elif action := _UNTIMED_ACTION.fullmatch(said):
        return event(MESSAGE_SENT, action[1], action[2], {"action": True})
    raise Invalid("invalid_field", None, "not a line of a form known here")


@dataclass(frozen=True, slots=True)
class _Moved:
    type: str
    nick: str
    channel: str | None
    reason: str


def _moved(said: str) -> _Moved | None:
    """Who came or went; None for any other line."""
    if not said.startswith(_UNTIMED):
        return None
    for words, kind in _MOVES:
        who, found, rest = said.removeprefix(_UNTIMED).partition(words)
        # The first character may be a bracket of the nick's own.
        nick, host, _ = who[1:].partition(" [")
        if not (found and host and who.rstrip().endswith("]")):
            continue
        if words == _QUIT:
            return _Moved(kind, who[0] + nick, None, rest.strip(' []"'))
        if where := _WHERE.fullmatch(rest.rstrip()):
            return _Moved(kind, who[0] + nick, where[1].lower(), (where[2] or "").strip('"'))
    return None


def _left_out(said: str, *, untimed_actions: bool) -> str | None:
    """The kind of a line that is counted and left out; None for all others."""
    if not said.startswith(_UNTIMED):
        return None
    if " is now known as " in said:
        return "rename"
    if said.startswith("=== mode/"):
        return "mode"
    if " was kicked off #" in said:
        return "kick"
    if said.startswith(("=== ..[topic/", "=== Topic for ", "=== Topic (")) or " changed the topic of #" in said:
        return "topic"
    if said.startswith(("=== netjoined: ", "=== netsplit: ")):
        return "netsplit"
    if not untimed_actions and _moved(said) is None and _UNTIMED_ACTION.fullmatch(said):
        return "untimed_action"
    return None


def _clock(said: str) -> tuple[int, int] | None:
    timed = _TIMED.fullmatch(said)
    return None if timed is None else (int(timed[1]), int(timed[2]))


def _survey(path: Path) -> tuple[set[str], Moment]:
    """The channels a log names, in small letters as IRC takes them, and the minute of its first line that has one."""
    dated = _DATE.search(path.name)
    try:
        day = date.fromisoformat(dated[0] if dated else "")
    except ValueError:
        raise PreconditionError(f"{path}: the name of a log says its day, as 2004-12-25.txt does.") from None
    if not 1970 <= day.year < datetime.max.year:
        raise PreconditionError(f"{path}: the year {day.year} has no ids.")
    names: set[str] = set()
    clock: tuple[int, int] | None = None
    for line in read_lines(path):
        said = decoded(line.raw or b"")
        clock = clock or _clock(said)
        moved = _moved(said)
        if moved is not None and moved.channel is not None:
            names.add(moved.channel)
    return names, Moment(day, clock or (0, 0))
