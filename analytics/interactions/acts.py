"""What the interactions need of an event: an `Act`, read from the bytes of a record of `events`."""

from datetime import datetime, timedelta
from typing import Any, Final, Literal

import msgspec

from analytics.responses import Said
from infra.contracts.events import (
    HEARTBEAT,
    MAX_FUTURE,
    MESSAGE_BLOCKED,
    MESSAGE_DELETED,
    MESSAGE_SENT,
    OWN_TYPES,
    RECEIPT_DELIVERED,
)

#: What devices send by themselves, and Hubbub: no sign of a person.
_NOBODYS: Final = OWN_TYPES | {RECEIPT_DELIVERED}
Verb = Literal["", "say", "delete"]
_VERBS: Final[dict[str, Verb]] = {
    MESSAGE_SENT: "say",
    MESSAGE_DELETED: "delete",
    MESSAGE_BLOCKED: "delete",
}


class Act(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One event as the rules read it.

    A moderator's block takes a message back as its author's delete does; what that message answered stays answered
    until the report is made. `device` is None where the event is no sign of a person.
    """

    tenant: str
    id: str
    time: datetime
    partition: int
    author: str = ""
    device: str | None = None
    verb: Verb = ""
    channel_id: str = ""
    thread_id: str | None = None
    message_id: str = ""
    reply_to: str | None = None
    direct: bool = False

    @property
    def order(self) -> tuple[datetime, str, str, int]:
        """By time, then by id; the rest tells apart what shares both."""
        return (self.time, self.id, self.tenant, self.partition)

    @property
    def said(self) -> Said:
        """The message, as conversations know it."""
        return Said(self.message_id, self.author, self.time, self.reply_to)


class Read(msgspec.Struct, frozen=True, gc=False):
    """The time a record moves its partition to, and what was done in it, if that matters here."""

    time: datetime
    act: Act | None


class Unreadable(Exception):
    """Not an event as the router writes it. The message says why."""


class _Properties(msgspec.Struct, gc=False):
    channel_type: Any = None


class _Context(msgspec.Struct, gc=False):
    device: Any = None


class _Envelope(msgspec.Struct, gc=False):
    id: str
    type: str
    time: datetime
    tenant: str
    channel_id: str | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    is_bot: bool | None = None
    message_id: str | None = None
    thread_id: str | None = None
    reply_to: str | None = None
    properties: _Properties | None = None
    context: _Context | None = None


_decoder: Final = msgspec.json.Decoder(_Envelope)


def read(value: bytes | None, partition: int, appended_at: datetime) -> Read:
    """One record. Raises `Unreadable`, also for a time so far ahead that it would push the watermark."""
    try:
        event = _decoder.decode(value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(str(error)) from None
    if event.time.tzinfo is None:
        raise Unreadable("its time has no zone")
    if event.time > appended_at + MAX_FUTURE:
        raise Unreadable(f"its time is more than {MAX_FUTURE // timedelta(hours=1)} h ahead")
    return Read(event.time, None if event.type == HEARTBEAT else _act(event, partition))


def _act(event: _Envelope, partition: int) -> Act | None:
    author = event.user_id if event.user_id is not None else event.anonymous_id
    is_person = not event.is_bot and author is not None and event.type not in _NOBODYS
    verb: Verb = _VERBS.get(event.type, "") if event.channel_id is not None else ""
    if not is_person and verb != "delete":
        return None
    properties = event.properties
    return Act(
        tenant=event.tenant,
        id=event.id,
        time=event.time,
        partition=partition,
        author=author or "",
        device=_device(event) if is_person else None,
        verb=verb,
        channel_id=event.channel_id or "",
        thread_id=event.thread_id,
        message_id=event.message_id or event.id,
        reply_to=event.reply_to,
        direct=properties is not None and properties.channel_type == "direct",
    )


def _device(event: _Envelope) -> str:
    """What `context.device` names, by its `id` if it has one, else the anonymous id."""
    device = event.context.device if event.context is not None else None
    if isinstance(device, dict) and device.get("id") is not None:
        device = device["id"]
    if device is None:
        return event.anonymous_id or ""
    return device if isinstance(device, str) else msgspec.json.encode(device).decode()
