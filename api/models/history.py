"""Channels, messages and what is unread."""

from datetime import datetime
from typing import Any

from api.models.base import Model


class ChannelBody(Model):
    """A channel."""

    channel_id: str
    name: str | None = None
    created_at: datetime | None = None
    last_activity: datetime | None = None


class ChannelsBody(Model):
    """Channels, the most recently active first."""

    channels: list[ChannelBody]
    more: bool
    """Whether there are more than `limit`."""


class MessageBody(Model):
    """A message as it stands now. Of a deleted one only `message_id`, `sent_at` and `deleted` are left."""

    message_id: str
    sent_at: datetime
    deleted: bool = False
    blocked: bool = False
    """A moderator took it away; `deleted` is set as well."""
    id: str | None = None
    time: datetime | None = None
    received_at: datetime | None = None
    channel_id: str | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    thread_id: str | None = None
    reply_to: str | None = None
    text: str | None = None
    is_bot: bool | None = None
    late: bool | None = None
    """A moderator released it, after it had been held."""
    properties: dict[str, Any] | None = None
    edited: bool = False
    edited_at: datetime | None = None
    reactions: dict[str, int] | None = None
    """How many have each reaction standing."""


class OneMessageBody(MessageBody):
    """A message with who reacted."""

    reacted: dict[str, list[str]] | None = None
    """User ids by reaction, the first hundred of each."""


class PageBody(Model):
    """Messages newest first."""

    messages: list[MessageBody]
    next_cursor: str | None
    """Give it as `before` for older messages; null at the beginning of the channel."""
    prev_cursor: str | None
    """Give it as `after` for newer messages; null in an empty channel."""


class UnreadBody(Model):
    """Unread messages of one channel."""

    channel_id: str
    count: int
    more: bool = False
    """There are more than `count`."""


class UnreadsBody(Model):
    """Unread messages of one user, by channel."""

    user_id: str
    channels: list[UnreadBody]
