"""The JSON objects of a Slack export by the fields that are read; whatever else they hold is passed over.

Files and lists: slack.com/help/articles/220556107. Messages by subtype: docs.slack.dev/reference/events/message.
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

#: Messages that say something about the channel, not in it. Any other subtype is a message.
NOTICES: Final = frozenset(
    f"{kind}_{what}"
    for kind in ("channel", "group")
    for what in ("topic", "purpose", "name", "archive", "unarchive", "posting_permissions")
) | {
    "bot_add",
    "bot_disable",
    "bot_enable",
    "bot_remove",
    "channel_canvas_updated",
    "channel_convert_to_private",
    "channel_convert_to_public",
    "ekm_access_denied",
    "message_replied",
    "pinned_item",
    "reminder_add",
    "sh_room_created",
    "tombstone",
    "unpinned_item",
}
JOINS: Final = frozenset({"channel_join", "group_join"})
LEAVES: Final = frozenset({"channel_leave", "group_leave"})


class Profile(msgspec.Struct):
    """The names a user has chosen."""

    display_name: str | None = None
    real_name: str | None = None


class User(msgspec.Struct):
    """A member of the workspace."""

    id: str
    name: str | None = None
    is_bot: bool = False
    profile: Profile = msgspec.field(default_factory=Profile)

    @property
    def shown(self) -> str:
        """The name that others see."""
        return self.profile.display_name or self.profile.real_name or self.name or self.id


class Note(msgspec.Struct):
    """What a channel says about itself."""

    value: str = ""


class Conversation(msgspec.Struct):
    """A channel, private channel, group or direct message."""

    id: str
    name: str | None = None
    created: Annotated[int, Meta(ge=0, lt=10**10)] | None = None
    creator: str | None = None
    topic: Note = msgspec.field(default_factory=Note)
    purpose: Note = msgspec.field(default_factory=Note)


class Edited(msgspec.Struct):
    """When a message was last changed, and by whom."""

    ts: str
    user: str | None = None


class Reaction(msgspec.Struct):
    """One emoji on a message. Slack may name fewer users than it counts."""

    name: str
    users: list[str] = []
    count: int = 0


class File(msgspec.Struct, omit_defaults=True):
    """A file by its description: an export has links in place of contents."""

    id: str | None = None
    name: str | None = None
    mimetype: str | None = None
    size: int | None = None
    url_private: str | None = None


class Attachment(msgspec.Struct):
    """What bots say much of what they say in."""

    fallback: str | None = None
    text: str | None = None


class Comment(msgspec.Struct):
    """A comment on a file, in exports of old."""

    user: str | None = None


class Message(msgspec.Struct):
    """One message of any kind. `message` is what one was changed to, `previous_message` or `original` what went."""

    ts: str
    type: str = "message"
    subtype: str | None = None
    user: str | None = None
    bot_id: str | None = None
    username: str | None = None
    text: str | None = None
    thread_ts: str | None = None
    inviter: str | None = None
    edited: Edited | None = None
    reactions: list[Reaction] = []
    files: list[File | None] | None = None
    attachments: list[Attachment] | None = None
    comment: Comment | None = None
    deleted_ts: str | None = None
    message: "Message | None" = None
    previous_message: "Message | None" = None
    original: "Message | None" = None

    @property
    def author(self) -> str | None:
        """Who wrote it: a user, else a bot by its id or name."""
        commented = self.comment.user if self.comment is not None else None
        return self.user or commented or self.bot_id or self.username
