"""Objects of a Slack export to events, with ids made from channel and time, so that each export gives the same ones.

Users and channels go by their Slack ids, which outlive every renaming; the names that people know are in `properties`.
Text stays as exported: mentions as `<@U123>`, and `&amp;`, `&lt;` and `&gt;` for what Slack's markup uses.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import msgspec

from infra.contracts import events
from infra.contracts.events import Event, Invalid, from_ms
from ingest.client.ids import COUNTER_BITS, TAIL_BITS, uuid7
from ingest.importers.slack_shapes import JOINS, LEAVES, NOTICES, Conversation, Edited, Message, User

_TS: Final = re.compile(r"(\d{1,10})\.(\d{6})")
_MENTION: Final = re.compile(r"<@([A-Z0-9]+)(?:\|[^>]*)?>")
_SLACKBOT: Final = "USLACKBOT"

#: An id's counter: the microseconds within the millisecond, what sort of event it is, and a part of the hash.
_MICROS_BITS: Final = 10
_SORT_BITS: Final = 2
_HASH_BITS: Final = COUNTER_BITS - _MICROS_BITS - _SORT_BITS
_POSTED, _CHANGED, _REACTED = range(3)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that is counted and left out."""

    kind: str


@dataclass(frozen=True, slots=True)
class Moment:
    """A Slack timestamp, to the microsecond; it names a message within its channel."""

    micros: int

    @classmethod
    def of(cls, ts: str, name: str = "ts") -> "Moment":
        """The moment in a field. Raises `Invalid`."""
        found = _TS.fullmatch(ts)
        if found is None:
            raise Invalid("bad_time", name, f"{name} is not a Slack timestamp")
        return cls(int(found[1]) * 1_000_000 + int(found[2]))

    @property
    def time(self) -> datetime:
        """It in UTC, to the millisecond."""
        return from_ms(self.micros // 1000)


def id_of(channel: str, moment: Moment, sort: int = _POSTED, *more: str) -> str:
    """A UUIDv7 of the moment to the microsecond, the sort of event, and a hash that tells channels, edits and reactions
    apart. Nothing else takes part, so a later export of the same workspace names old messages as this one does.
    """
    digest = hashlib.blake2b("\n".join((channel, str(moment.micros), *more)).encode(), digest_size=8).digest()
    number = int.from_bytes(digest, "big") >> (64 - _HASH_BITS - TAIL_BITS)
    ms, micros = divmod(moment.micros, 1000)
    counter = (micros << _SORT_BITS | sort) << _HASH_BITS | number >> TAIL_BITS
    return uuid7(ms, counter, number & ((1 << TAIL_BITS) - 1))


@dataclass(slots=True)
class Workspace:
    """Names and bots by user id, and channel ids by their folders' names: filled by the lists, used by the messages."""

    names: dict[str, str] = field(default_factory=dict)
    bots: set[str] = field(default_factory=lambda: {_SLACKBOT})
    channels: dict[str, str] = field(default_factory=dict)

    def person(self, user: User) -> Iterator[Event | LeftOut]:
        """Note who it is."""
        self.names[user.id] = user.shown
        if user.is_bot:
            self.bots.add(user.id)
        yield from ()

    def conversation(self, found: Conversation) -> Iterator[Event | LeftOut]:
        """Note its folder; the event that it was created, if the export says by whom and when."""
        self.channels[found.name or found.id] = found.id
        if found.created is None or not found.creator:
            return
        moment = Moment(found.created * 1_000_000)
        yield Event(
            id=id_of(found.id, moment, _POSTED, "created"),
            type=events.CHANNEL_CREATED,
            time=moment.time,
            channel_id=found.id,
            user_id=found.creator,
            properties=_given(name=found.name, topic=found.topic.value, purpose=found.purpose.value),
        )

    def message(self, folder: str, message: Message) -> Iterator[Event | LeftOut]:
        """What one message in a channel's folder came to. Raises `Invalid`."""
        channel = self.channels.get(folder, folder)
        moment = Moment.of(message.ts)
        if message.type != "message":
            raise Invalid("invalid_field", "type", "not a message")
        subtype = message.subtype
        if subtype in JOINS or subtype in LEAVES:
            kind = events.CHANNEL_JOINED if subtype in JOINS else events.CHANNEL_LEFT
            yield self._event(kind, channel, moment, message, properties=_given(inviter=message.inviter))
        elif subtype == "message_changed":
            yield self._changed(channel, message)
        elif subtype == "message_deleted":
            yield self._deleted(channel, moment, message)
        elif subtype in NOTICES:
            yield LeftOut(subtype)
        else:
            yield from self._posted(channel, moment, message)

    def _posted(self, channel: str, moment: Moment, message: Message) -> Iterator[Event | LeftOut]:
        sent = self._event(events.MESSAGE_SENT, channel, moment, message, text=_text(message))
        if message.thread_ts is not None and message.thread_ts != message.ts:
            sent.thread_id = sent.reply_to = id_of(channel, Moment.of(message.thread_ts, "thread_ts"))
        mentioned = dict.fromkeys(_MENTION.findall(message.text or ""))
        edited = None if message.edited is None else Moment.of(message.edited.ts, "edited.ts")
        sent.properties = _given(
            user_name=self.names.get(message.user or "", message.username),
            action=message.subtype == "me_message",
            subtype=None if message.subtype in ("me_message", "bot_message") else message.subtype,
            mentions={user: self.names[user] for user in mentioned if user in self.names},
            edited_at=edited and edited.time.isoformat(timespec="milliseconds"),
            files=[msgspec.to_builtins(file) for file in message.files or () if file is not None],
        )
        yield sent
        if message.edited is not None:
            yield self._edit(channel, moment, message, message.edited)
        for reaction in message.reactions:
            for user in reaction.users:
                event = self._event(events.REACTION_ADDED, channel, moment, message, reaction=reaction.name)
                event.id = id_of(channel, moment, _REACTED, reaction.name, user)
                event.message_id, event.user_id = sent.id, user
                event.is_bot = user in self.bots or None
                yield event
            if len(reaction.users) < reaction.count:
                yield LeftOut("reactions_without_user")

    def _changed(self, channel: str, change: Message) -> Event | LeftOut:
        """An entry of the edit log. Slack writes one too when it merely adds a preview or a reply."""
        if change.message is None or change.message.edited is None:
            return LeftOut("message_changed")
        return self._edit(channel, Moment.of(change.message.ts, "message.ts"), change.message, change.message.edited)

    def _edit(self, channel: str, moment: Moment, message: Message, edited: Edited) -> Event:
        """The edit, the same one whether the message or the edit log tells of it."""
        at = Moment.of(edited.ts, "edited.ts")
        event = self._event(events.MESSAGE_EDITED, channel, at, message, text=_text(message))
        event.id = id_of(channel, at, _CHANGED, str(moment.micros))
        event.message_id = id_of(channel, moment)
        if edited.user:
            event.user_id = edited.user
        return event

    def _deleted(self, channel: str, moment: Moment, deletion: Message) -> Event:
        gone = deletion.previous_message or deletion.original
        event = self._event(events.MESSAGE_DELETED, channel, moment, deletion if deletion.author else gone or deletion)
        event.id = id_of(channel, moment, _CHANGED, deletion.deleted_ts or "")
        ts = deletion.deleted_ts or (gone.ts if gone is not None else None)
        event.message_id = None if ts is None else id_of(channel, Moment.of(ts, "deleted_ts"))
        return event

    def _event(self, kind: str, channel: str, moment: Moment, message: Message, **fields: Any) -> Event:
        """An event of its own moment and by the message's author."""
        author = message.author
        is_bot = message.subtype == "bot_message" or bool(message.bot_id) or author in self.bots
        return Event(
            id=id_of(channel, moment),
            type=kind,
            time=moment.time,
            channel_id=channel,
            user_id=author,
            is_bot=is_bot or None,
            **fields,
        )


def _text(message: Message) -> str:
    """What it says; of one that says it in attachments alone, as bots do, what they say."""
    if message.text or not message.attachments:
        return message.text or ""
    return "\n".join(filter(None, (one.fallback or one.text for one in message.attachments)))


def _given(**properties: Any) -> dict[str, Any] | None:
    """Those that say something; None when none does."""
    return {name: value for name, value in properties.items() if value} or None
