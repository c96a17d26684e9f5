"""Segment's wire form: the calls of its clients, unmodified, become events.

A track named for one of our types is that event, with the chat fields among its properties; any other is
`track.<name>`. The other calls keep their name as type. The form is described at
segment.com/docs/connections/sources/catalog/libraries/server/http-api and .../spec/common.
"""

import re
import unicodedata
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any, Final

import msgspec

from infra.contracts import codec
from infra.contracts.events import KNOWN_TYPES, Event, Invalid, Time
from ingest.bodies import UNREADABLE, Batch, parse_batch, read_context
from ingest.errors import Refused
from ingest.forms import Form, Raw

#: The calls there are, each with a path of its own.
CALLS: Final = ("track", "identify", "page", "screen", "group", "alias")
#: Properties of a track named for one of our types that are fields of the event.
CHAT_FIELDS: Final = ("channel_id", "message_id", "thread_id", "reply_to", "text", "reaction", "is_bot")
#: What the sender calls a field of the event.
NAMES: Final = MappingProxyType(
    {
        "id": "messageId",
        "user_id": "userId",
        "anonymous_id": "anonymousId",
        "time": "timestamp",
        **{name: f"properties.{name}" for name in CHAT_FIELDS},
    }
)
_MARK: Final = b'"messageId"'
_MAX_NAME: Final = 90
_MAX_CACHED: Final = 200
_PROSE: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+")
_TYPES: Final = {event_type.replace(".", "_"): event_type for event_type in KNOWN_TYPES}
_CAMEL: Final = {
    name: re.sub("_(.)", lambda letter: letter[1].upper(), name) for name in (*CHAT_FIELDS, "user_agent", "session_id")
}


class _Call(msgspec.Struct, rename="camel", gc=False):
    """One call. What is not named here, `integrations` and `writeKey` among it, is for Segment and is left out."""

    type: str | None = None
    message_id: str | None = None
    user_id: str | int | None = None
    anonymous_id: str | int | None = None
    timestamp: str | None = None
    original_timestamp: str | None = None
    event: str | None = None
    properties: dict[str, Any] | None = None
    traits: dict[str, Any] | None = None
    context: dict[str, Any] | None = None
    name: Any = None
    category: Any = None
    group_id: Any = None
    previous_id: Any = None


class _Batch(msgspec.Struct, rename="camel"):
    batch: list[msgspec.Raw]
    sent_at: Time | None = None
    context: msgspec.Raw = msgspec.Raw(b"null")


class _Sent(msgspec.Struct, rename="camel"):
    sent_at: Time | None = None


class _Marked(msgspec.Struct, rename="camel"):
    message_id: Any = msgspec.UNSET


_call = msgspec.json.Decoder(_Call)
_batch = msgspec.json.Decoder(_Batch)
_sent = msgspec.json.Decoder(_Sent)
_marked = msgspec.json.Decoder(_Marked)


def parse_either(body: bytes) -> Batch:
    """A batch in Segment's form if one of its items has a `messageId`, else in ours."""
    # A property may be called so, too; only a body that holds the word is looked at twice.
    if _MARK in body and any(map(_is_marked, _items(body))):
        return parse_calls(body)
    return parse_batch(body)


def parse_calls(body: bytes) -> Batch:
    """`{"batch": [...], "sentAt": ..., "context": {...}}`, each item with its `type`."""
    try:
        parsed = _batch.decode(body)
        context = read_context(parsed.context)
    except UNREADABLE as error:
        raise Refused(400, f"not a batch: {error}") from None
    return Batch(items=parsed.batch, form=_FORMS[None], sent_at=parsed.sent_at, context=context)


def parse_call(kind: str, body: bytes) -> Batch:
    """The body of a path that is named for one kind of call."""
    try:
        sent_at = _sent.decode(body).sent_at
    except UNREADABLE as error:
        raise Refused(400, f"not a {kind} call: {error}") from None
    return Batch(items=[body], form=_FORMS[kind], sent_at=sent_at)


def decode(kind: str | None, raw: Raw, *, limit: int) -> Event:
    """The event of one call; `kind` is that of the path, if it has one. Raises `Invalid`."""
    if len(raw) > limit:
        raise Invalid("too_large", None, f"the call is longer than {limit} bytes")
    if codec.too_deep(bytes(raw)):
        raise Invalid("too_deep", None, "the call nests too deep")
    return codec.convert(_fields(kind, raw))


def salvage(kind: str | None, raw: Raw) -> dict[str, Any]:
    """The fields of a call that `decode` refused, or the call itself as `properties.original`."""
    try:
        if not codec.too_deep(bytes(raw)):
            return _fields(kind, raw)
    except Invalid:
        pass  # what is wrong with it is known already
    original: str | msgspec.Raw = msgspec.Raw(bytes(raw))
    try:
        bytes(raw).decode()
    except UnicodeDecodeError:
        original = bytes(raw).decode("utf-8", "backslashreplace")
    found: dict[str, Any] = {"properties": {"original": original}}
    message_id = _mark_of(raw)
    return {"id": message_id, **found} if isinstance(message_id, str) else found


def _fields(kind: str | None, raw: Raw) -> dict[str, Any]:
    try:
        call = _call.decode(raw)
    except msgspec.ValidationError as error:
        raise codec.explain(str(error)) from None
    except UNREADABLE as error:
        raise Invalid("invalid_field", None, f"not JSON: {error}") from None
    kind = kind or call.type
    if kind not in CALLS:
        raise Invalid("invalid_field" if kind else "missing_field", "type", f"type is one of {', '.join(CALLS)}")
    properties = dict(call.properties or call.traits or {})
    fields: dict[str, Any] = {
        "id": call.message_id,
        "type": kind,
        "time": call.original_timestamp or call.timestamp,
        "user_id": None if call.user_id is None else str(call.user_id),
        "anonymous_id": None if call.anonymous_id is None else str(call.anonymous_id),
        "context": _snake(call.context, "user_agent", "session_id") if call.context else None,
    }
    named = {"name": call.name, "category": call.category, "group_id": call.group_id, "previous_id": call.previous_id}
    if kind == "track":
        if not call.event:
            raise Invalid("missing_field", "event", "a track needs the name of its event")
        fields["type"], known = _type_of(call.event[:_MAX_CACHED])
        if known:
            properties = _snake(properties, *CHAT_FIELDS)
            fields |= {name: properties.pop(name) for name in CHAT_FIELDS if name in properties}
        else:
            named["event"] = call.event
    for name, value in named.items():
        if value is not None:
            properties.setdefault(name, value)
    fields["properties"] = properties or None
    return {name: value for name, value in fields.items() if value is not None}


@lru_cache(maxsize=4_096)  # an application has a few names, and every call has one
def _type_of(name: str) -> tuple[str, bool]:
    """The type of a track with this name, and whether it is one of ours."""
    folded = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    snake = "_".join(filter(None, _PROSE.split(folded))).lower()
    known = _TYPES.get(snake)
    return (known, True) if known else (f"track.{snake[:_MAX_NAME].strip('_') or 'unnamed'}", False)


def _snake(found: dict[str, Any], *names: str) -> dict[str, Any]:
    """The same with these keys in our spelling where they stand in Segment's."""
    found = dict(found)
    for name in names:
        if _CAMEL[name] in found and name not in found:
            found[name] = found.pop(_CAMEL[name])
    return found


def _items(body: bytes) -> list[msgspec.Raw]:
    try:
        return _batch.decode(body).batch
    except UNREADABLE:
        return []  # whatever it is, the reader of our own form says what is wrong


def _is_marked(item: Raw) -> bool:
    return _mark_of(item) is not msgspec.UNSET


def _mark_of(item: Raw) -> Any:
    try:
        return _marked.decode(item).message_id
    except UNREADABLE:
        return msgspec.UNSET


_FORMS: Final = {
    kind: Form(source="segment", decode=partial(decode, kind), names=NAMES, salvage=partial(salvage, kind))
    for kind in (None, *CALLS)
}
