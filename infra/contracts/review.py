"""Review of what rules stop: the decision of a moderator as it travels through the log, and where a held event stands.

A decision is made once, whoever repeats it: its id follows from what is decided about what. Hiding wins over showing in
whatever order they are decided, so a message that was rejected or blocked stays hidden.
"""

import base64
import binascii
import uuid
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from infra.contracts.codec import MAX_ENVELOPE_BYTES
from infra.contracts.events import ChannelId, Id, Invalid, Time, check
from infra.contracts.records import Held

#: A decision is at most its held event with the verdict, and a few hundred characters about who decided and why.
MAX_BYTES: Final = MAX_ENVELOPE_BYTES + 8 * 1024
_NAMESPACE: Final = uuid.UUID("9e8f6a52-6c1d-4f0e-8d0b-2f5c0f1f7d3a")

Moderator = Annotated[str, Meta(min_length=1, max_length=200)]
Reason = Annotated[str, Meta(min_length=1, max_length=1_000)]


class Verb(StrEnum):
    """What a moderator can decide: the first two about what a rule stopped, the last about what was shown."""

    RELEASE = "release"
    REJECT = "reject"
    BLOCK = "block"


class Decision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One decision. `held` is what was released or rejected, whole; a block names its message alone.

    `decided_by` is the key's name and the start of its hash, `moderator` whoever used it, as their tool says.
    """

    id: Id
    tenant: Annotated[str, Meta(max_length=100)]
    verb: Verb
    decided_at: Time
    decided_by: str
    channel_id: ChannelId | None = None
    message_id: Id
    held: Held | None = None
    moderator: Moderator | None = None
    reason: Reason | None = None

    @property
    def key(self) -> bytes:
        """The Kafka key of the channel it is about, which is that of its messages."""
        author = self.held.event.author if self.held is not None else ""
        return f"{self.tenant}:{self.channel_id or author}".encode()


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A decision as the audit trail keeps it: without the text it is about."""

    id: str
    verb: Verb
    decided_at: datetime
    decided_by: str
    channel_id: str | None = None
    message_id: str
    held_event_id: str | None = None
    user_id: str | None = None
    rule: str | None = None
    moderator: str | None = None
    reason: str | None = None


def decision_id(tenant: str, verb: Verb, channel_id: str | None, target: str) -> str:
    """The id of this decision about this held event or message: a UUIDv5, the same however often it is made."""
    return str(uuid.uuid5(_NAMESPACE, "\0".join((tenant, verb, channel_id or "", target))))


def hidden_by(held: Held) -> str:
    """What rejecting this hides: itself. It may name another's message as its own, which must not go with it."""
    return held.event.id


def entry_of(decision: Decision) -> Entry:
    """The decision's line in the audit trail."""
    held = decision.held
    return Entry(
        id=decision.id,
        verb=decision.verb,
        decided_at=decision.decided_at,
        decided_by=decision.decided_by,
        channel_id=decision.channel_id,
        message_id=decision.message_id,
        held_event_id=None if held is None else held.event.id,
        user_id=None if held is None else held.event.author,
        rule=None if held is None else f"{held.verdict.rule}@{held.verdict.version}",
        moderator=decision.moderator,
        reason=decision.reason,
    )


_decision: Final = msgspec.json.Decoder(Decision)


def decode(raw: bytes | memoryview | msgspec.Raw) -> Decision:
    """The decision in these bytes. Raises `Invalid` for one that does not fit what it is about."""
    if len(raw) > MAX_BYTES:
        raise Invalid("too_large", None, f"the decision is longer than {MAX_BYTES} bytes")
    try:
        decision = _decision.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid("invalid_field", None, f"not a decision: {error}") from None
    held = decision.held
    if (held is None) is not (decision.verb is Verb.BLOCK):
        raise Invalid("invalid_field", "held", "a release and a reject name what is held, a block does not")
    if held is None:
        if decision.channel_id is None:
            raise Invalid("missing_field", "channel_id", "a block needs the channel_id of its message")
    else:
        check(held.event)
        if held.event.tenant != decision.tenant or held.event.channel_id != decision.channel_id:
            raise Invalid("invalid_field", "held", "the decision is about another tenant or channel than it says")
        if held.event.received_at is None:
            raise Invalid("missing_field", "held", "what is held was never received")
    return decision


class HeldId(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a held event stands: in Cassandra by day and event, in the topic `held` by partition and offset.

    Clients get it encoded and need not understand it. The position is -1 of what was stored without one.
    """

    day: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    event_id: Id
    partition: Annotated[int, Meta(ge=-1, le=2**31 - 1)] = -1
    offset: Annotated[int, Meta(ge=-1, le=2**63 - 1)] = -1

    @property
    def position(self) -> str:
        """Partition and offset as one column holds them."""
        return f"{self.partition}/{self.offset}"

    @classmethod
    def of(cls, day: str, event_id: str, position: str | None) -> "HeldId":
        """The id of a row, from its `position`."""
        partition, _, offset = (position or "-1/-1").partition("/")
        return cls(day, event_id, int(partition), int(offset))

    def encode(self) -> str:
        """Letters, digits, hyphens and underscores, for an address."""
        return base64.urlsafe_b64encode(msgspec.msgpack.encode(self)).rstrip(b"=").decode()

    @classmethod
    def decode(cls, text: str) -> "HeldId":
        """Raises ValueError for anything `encode` did not write."""
        try:
            raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), b"-_", validate=True)
            return msgspec.msgpack.decode(raw, type=cls)
        except (binascii.Error, msgspec.MsgspecError, UnicodeError) as error:
            raise ValueError("not the id of a held event") from error
