"""From rows of `messages` to what a reader is shown: deleted over edited over created, and never a private field."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog

from infra.runtime.telemetry import UNEXPECTED

log = structlog.get_logger("hubbub.api")


#: Left out of a reply: the very object is the default of the fields that may be missing.
_NOTHING = msgspec.Raw()


def utc(moment: datetime) -> datetime:
    """A moment as the driver gives it (naive, UTC) with its zone."""
    return moment.replace(tzinfo=UTC)


class Row(msgspec.Struct, frozen=True, gc=False):
    """One row of `messages`, in the order of `tables.MESSAGE`. A struct: a page makes fifty of them."""

    sent_at: datetime
    message_id: str
    envelope: str | None
    src: str | None
    rule: str | None
    edit: str | None
    edited_micros: int | None
    deleted_at: datetime | None
    blocked_at: datetime | None = None

    @classmethod
    def of(cls, columns: Sequence[Any]) -> "Row":
        """The row of a driver tuple."""
        return cls(utc(columns[0]), *columns[1:])

    @property
    def blocked(self) -> bool:
        """Whether a moderator took away what was there; of what was never shown nothing is."""
        return self.blocked_at is not None and self.envelope is not None

    @property
    def deleted(self) -> bool:
        return self.deleted_at is not None or self.blocked

    @property
    def visible(self) -> bool:
        """Whether readers may know of it: a change that came before its create shows nothing yet."""
        return self.deleted or bool(self.envelope)


class Message(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A message as readers see it. Context, addresses and request ids stay inside."""

    message_id: str
    sent_at: datetime
    deleted: bool = False
    blocked: bool = False
    id: str | None = None
    time: str | None = None
    received_at: str | None = None
    channel_id: str | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    thread_id: str | None = None
    reply_to: str | None = None
    text: str | None = None
    is_bot: bool | None = None
    late: bool | None = None
    properties: msgspec.Raw = _NOTHING
    edited: bool = False
    edited_at: datetime | None = None
    reactions: dict[str, int] | None = None
    reacted: dict[str, list[str]] | None = None


class _Created(msgspec.Struct):
    id: str
    time: str | None = None
    received_at: str | None = None
    channel_id: str | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    thread_id: str | None = None
    reply_to: str | None = None
    text: str | None = None
    is_bot: bool | None = None
    late: bool | None = None
    properties: msgspec.Raw = _NOTHING


class _Edit(msgspec.Struct):
    text: str


class _Author(msgspec.Struct):
    user_id: str | None = None
    anonymous_id: str | None = None


_created = msgspec.json.Decoder(_Created)
_edit = msgspec.json.Decoder(_Edit)
_author = msgspec.json.Decoder(_Author)


def show(row: Row, *, masked: bool = False) -> Message | None:
    """The message of a visible row; its marker when it is deleted or masked; None when its JSON cannot be read."""
    if row.deleted or masked:
        return Message(message_id=row.message_id, sent_at=row.sent_at, deleted=True, blocked=row.blocked)
    try:
        created = _created.decode(row.envelope or "")
        edit = _edit.decode(row.edit) if row.edit else None
    except msgspec.MsgspecError:
        # One bad row must not cost its channel the page.
        UNEXPECTED.labels("api.row").inc()
        log.error("message.unreadable", message_id=row.message_id, src=row.src)
        return None
    message = Message(
        message_id=row.message_id,
        sent_at=row.sent_at,
        id=created.id,
        time=created.time,
        received_at=created.received_at,
        channel_id=created.channel_id,
        user_id=created.user_id,
        anonymous_id=created.anonymous_id,
        thread_id=created.thread_id,
        reply_to=created.reply_to,
        text=created.text,
        is_bot=created.is_bot,
        late=created.late,
        properties=created.properties,
        reactions={},
    )
    if edit is not None:
        message.text = edit.text
        message.edited = True
        if row.edited_micros is not None:
            message.edited_at = datetime.fromtimestamp(row.edited_micros / 1_000_000, UTC)
    return message


def author_of(row: Row) -> str:
    """Who wrote the message of a visible row that is not deleted."""
    try:
        author = _author.decode(row.envelope or "")
    except msgspec.MsgspecError:
        return ""
    return author.user_id or author.anonymous_id or ""


def count_reactions(rows: Iterable[tuple[str, str, str, bool | None]]) -> dict[str, dict[str, int]]:
    """Rows of `tables.REACTIONS` as message id → reaction → how many."""
    counts = Counter((message_id, reaction) for message_id, reaction, _, active in rows if active)
    found: dict[str, dict[str, int]] = {}
    for (message_id, reaction), count in counts.items():
        found.setdefault(message_id, {})[reaction] = count
    return found
