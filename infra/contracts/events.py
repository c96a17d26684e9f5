"""The envelope: one chat event as it travels through Kafka and is stored, and the rules that hold for every one.

The public definition is `Envelope (one event)` in docs/contract.md.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

MAX_EVENT_BYTES: Final = 32 * 1024
MAX_TEXT_BYTES: Final = 8 * 1024
MAX_DEPTH: Final = 32
MAX_BATCH_BYTES: Final = 500 * 1024
MAX_BATCH_EVENTS: Final = 2_500
MAX_FUTURE: Final = timedelta(hours=1)

#: Types reserved for Hubbub's own records; a client that sends one is refused.
RESERVED_PREFIX: Final = "hubbub."
HEARTBEAT: Final = "hubbub.heartbeat"

MESSAGE_SENT: Final = "message.sent"
MESSAGE_EDITED: Final = "message.edited"
MESSAGE_DELETED: Final = "message.deleted"
MESSAGE_BLOCKED: Final = "message.blocked"
REACTION_ADDED: Final = "reaction.added"
REACTION_REMOVED: Final = "reaction.removed"
RECEIPT_READ: Final = "receipt.read"
RECEIPT_DELIVERED: Final = "receipt.delivered"
TYPING_STARTED: Final = "typing.started"
CHANNEL_CREATED: Final = "channel.created"
CHANNEL_JOINED: Final = "channel.joined"
CHANNEL_LEFT: Final = "channel.left"
SESSION_STARTED: Final = "session.started"
SESSION_ENDED: Final = "session.ended"

#: Every type with a meaning of its own. Others are accepted, archived and counted.
KNOWN_TYPES: Final = frozenset(
    {
        MESSAGE_SENT,
        MESSAGE_EDITED,
        MESSAGE_DELETED,
        REACTION_ADDED,
        REACTION_REMOVED,
        RECEIPT_READ,
        RECEIPT_DELIVERED,
        TYPING_STARTED,
        CHANNEL_CREATED,
        CHANNEL_JOINED,
        CHANNEL_LEFT,
        SESSION_STARTED,
        SESSION_ENDED,
    }
)
#: Types that name a message other than themselves.
CHANGES: Final = frozenset(
    {
        MESSAGE_EDITED,
        MESSAGE_DELETED,
        MESSAGE_BLOCKED,
        REACTION_ADDED,
        REACTION_REMOVED,
        RECEIPT_READ,
        RECEIPT_DELIVERED,
    }
)
#: Types of real events that only Hubbub makes: what a moderator decided. They are read like any other, and refused
#: where events come in.
OWN_TYPES: Final = frozenset({MESSAGE_BLOCKED})
#: Types that only a key with scope `server` may send: they touch what somebody else wrote.
SERVER_TYPES: Final = frozenset({MESSAGE_EDITED, MESSAGE_DELETED})

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CHANNEL_FAMILIES: Final = ("message.", "reaction.", "receipt.", "typing.", "channel.")
_SIGNAL_FAMILIES: Final = ("typing.", "presence.")
_PLACEHOLDERS: Final = frozenset(
    {"", "null", "none", "nil", "undefined", "anonymous", "nan", "00000000-0000-0000-0000-000000000000"}
)

Id = Annotated[str, Meta(min_length=1, max_length=100)]
ChannelId = Annotated[str, Meta(min_length=1, max_length=200)]
UserId = Annotated[str, Meta(min_length=1, max_length=200)]
_TYPE = r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*"
#: `check` holds it to the pattern, and only where the type is not a known one: matching takes as long as all the rest.
EventType = Annotated[str, Meta(max_length=100, extra_json_schema={"pattern": f"^{_TYPE}$"})]
_is_type: Final = re.compile(_TYPE).fullmatch
Reaction = Annotated[str, Meta(min_length=1, max_length=64)]
Time = Annotated[datetime, Meta(tz=True)]


class Event(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """One chat event. The fields below the line are Hubbub's: what a client puts there is overwritten."""

    # `gc=False`: JSON holds no cycles, and the collector need not walk millions of events.

    id: Id
    type: EventType
    time: Time
    channel_id: ChannelId | None = None
    user_id: UserId | None = None
    anonymous_id: UserId | None = None
    message_id: Id | None = None
    thread_id: Id | None = None
    reply_to: Id | None = None
    text: str | None = None
    reaction: Reaction | None = None
    is_bot: bool | None = None
    properties: dict[str, Any] | None = None
    context: dict[str, Any] | None = None
    # ---
    tenant: Annotated[str, Meta(max_length=100)] | None = None
    received_at: Time | None = None
    source: Annotated[str, Meta(max_length=100)] | None = None
    request_id: Annotated[str, Meta(max_length=100)] | None = None
    client_time: Time | None = None
    historical: bool | None = None
    #: Released by a moderator: it comes later than its time says.
    late: bool | None = None

    @property
    def author(self) -> str:
        """The user id, else the anonymous id; `invalid` refuses an event that has neither."""
        return self.user_id or self.anonymous_id or ""

    @property
    def target(self) -> str:
        """The id of the message this event makes or changes; a sent message is named by its own id unless it says."""
        return self.message_id or self.id

    @property
    def is_reply(self) -> bool:
        """Whether it answers a message: it says which, or stands in a thread that it did not begin."""
        return self.reply_to is not None or self.thread_id not in (None, self.target)

    @property
    def placed_time(self) -> datetime:
        """When it happened exactly as the client wrote it: the only time that may enter a key."""
        return self.client_time or self.time

    @property
    def is_signal(self) -> bool:
        """Typing and presence: worth a second, never stored."""
        return self.type.startswith(_SIGNAL_FAMILIES)


class Invalid(Exception):
    """An event that breaks the contract: the code and field a client is told."""

    def __init__(self, code: str, field: str | None, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.field = field
        self.message = message


def needs_channel(event_type: str) -> bool:
    """Whether events of this type belong to a channel."""
    return event_type.startswith(_CHANNEL_FAMILIES)


def is_placeholder(name: str) -> bool:
    """Whether a name is one of those that clients send for nobody; no event may be by such a user."""
    return name.strip().lower() in _PLACEHOLDERS


def check_type(event_type: str) -> None:
    """Raise `Invalid` for a type that nobody but Hubbub may send."""
    if event_type in OWN_TYPES:
        raise Invalid("forbidden_type", "type", f"{event_type} is made by a moderator's decision alone")


def check(event: Event) -> None:
    """Raise `Invalid` unless the event keeps the rules that no schema expresses."""
    event_type, user, visitor, text = event.type, event.user_id, event.anonymous_id, event.text
    if event_type not in KNOWN_TYPES:
        if event_type.startswith(RESERVED_PREFIX):
            raise Invalid("forbidden_type", "type", "types that begin with 'hubbub.' are reserved")
        if not _is_type(event_type):
            raise Invalid("invalid_field", "type", "type is not dotted lower case, as message.sent is")
    if event.channel_id is None and needs_channel(event_type):
        raise Invalid("missing_field", "channel_id", f"{event_type} needs a channel_id")
    if user is None and visitor is None:
        raise Invalid("missing_field", "user_id", "one of user_id and anonymous_id is required")
    # As `is_placeholder` has it, without the call: that takes a third as long as all the rest.
    if user is not None and user.strip().lower() in _PLACEHOLDERS:
        raise Invalid("bad_user", "user_id", "user_id is a placeholder, not a user")
    if visitor is not None and visitor.strip().lower() in _PLACEHOLDERS:
        raise Invalid("bad_user", "anonymous_id", "anonymous_id is a placeholder, not a user")
    if event_type in CHANGES:
        if event.message_id is None:
            raise Invalid("missing_field", "message_id", f"{event_type} needs the message_id it is about")
        if event.reaction is None and event_type in (REACTION_ADDED, REACTION_REMOVED):
            raise Invalid("missing_field", "reaction", f"{event_type} needs a reaction")
    if text is None:
        if event_type in (MESSAGE_SENT, MESSAGE_EDITED):
            raise Invalid("missing_field", "text", f"{event_type} needs a text")
    elif len(text) * 4 > MAX_TEXT_BYTES and _utf8_len(text) > MAX_TEXT_BYTES:
        raise Invalid("too_large", "text", f"text is longer than {MAX_TEXT_BYTES} bytes")


def merge_context(event: Event, context: Mapping[str, Any] | None) -> None:
    """Put the batch's context under the event's own: what the event says wins."""
    if context:
        event.context = {**context, **event.context} if event.context else dict(context)


def truncate_ms(moment: datetime) -> datetime:
    """The moment in UTC, cut to whole milliseconds."""
    if moment.tzinfo is UTC and moment.microsecond % 1000 == 0:
        return moment  # what most clients send, at a tenth of the cost
    return moment.astimezone(UTC).replace(microsecond=moment.microsecond // 1000 * 1000)


def to_ms(moment: datetime) -> int:
    """Milliseconds since the epoch."""
    return round(moment.timestamp() * 1000)


def from_ms(ms: int) -> datetime:
    """The UTC moment of so many milliseconds since the epoch."""
    return _EPOCH + timedelta(milliseconds=ms)


def _utf8_len(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
