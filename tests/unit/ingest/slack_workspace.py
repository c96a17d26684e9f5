"""A small Slack workspace and its export, written as Slack writes them, zipped or not."""

import json
import zipfile
from pathlib import Path
from typing import Any

ADA, BOB, BOT = "U0ADA0001", "U0BOB0001", "U0BOT0001"
GENERAL, SECRET, DIRECT, GROUP = "C0GENERAL", "G0SECRET1", "D0DIRECT1", "G0GROUP01"

USERS: list[dict[str, Any]] = [
    {"id": ADA, "name": "ada", "is_bot": False, "profile": {"display_name": "Ada", "real_name": "Ada Lovelace"}},
    {"id": BOB, "name": "bob", "deleted": True, "profile": {"display_name": "", "real_name": "Bob Ross"}},
    {"id": BOT, "name": "deploys", "is_bot": True, "profile": {"real_name": "Deploys"}},
]
CHANNELS: list[dict[str, Any]] = [
    {
        "id": GENERAL,
        "name": "general",
        "created": 1_500_000_000,
        "creator": ADA,
        "is_archived": False,
        "members": [ADA, BOB],
        "topic": {"value": "All of us", "creator": ADA, "last_set": 1_500_000_001},
        "purpose": {"value": "", "creator": "", "last_set": 0},
    }
]
GROUPS: list[dict[str, Any]] = [{"id": SECRET, "name": "secret", "created": 1_500_000_100, "creator": BOB}]
MPIMS: list[dict[str, Any]] = [{"id": GROUP, "name": "mpdm-ada--bob--cy-1", "created": 1_500_000_200, "creator": ADA}]
DMS: list[dict[str, Any]] = [{"id": DIRECT, "created": 1_500_000_300, "members": [ADA, BOB]}]


def message(ts: str, text: str = "", user: str | None = ADA, **fields: Any) -> dict[str, Any]:
    """One message as it stands in a day's file."""
    said = {"type": "message", "text": text, "ts": ts, "user": user, **fields}
    return {name: value for name, value in said.items() if value is not None}


ROOT = "1500100000.000100"
FIRST_DAY: list[dict[str, Any]] = [
    message("1500099999.000001", f"<@{ADA}> has joined the channel", subtype="channel_join", inviter=BOB),
    message(
        ROOT,
        f"Tea, <@{BOB}>? &lt;3 <@U0NOBODY1|x>",
        client_msg_id="d9a1",
        thread_ts=ROOT,
        reply_count=1,
        replies=[{"user": BOB, "ts": "1500100000.000200"}],
        reactions=[
            {"name": "tea", "users": [BOB, BOT], "count": 2},
            {"name": "thumbsup::skin-tone-2", "users": [BOB], "count": 3},
        ],
    ),
    message("1500100000.000200", "Yes!", BOB, thread_ts=ROOT, parent_user_id=ADA),
    message("1500100001.000000", "puts the kettle on", subtype="me_message"),
    message("1500100002.000000", "fixed", edited={"user": ADA, "ts": "1500100050.000000"}),
    message("1500100003.000000", "renamed it", subtype="channel_name", old_name="all", name="general"),
    message(
        "1500100004.000000",
        "",
        None,
        subtype="bot_message",
        bot_id="B0DEPLOY1",
        username="deploys",
        attachments=[{"fallback": "Deployed 1.2", "color": "36a64f"}, {"text": "in 3 s"}],
    ),
    message("1500100005.000000", "by an app", BOT, bot_id="B0DEPLOY1"),
]
SECOND_DAY: list[dict[str, Any]] = [
    message(
        "1500200000.000000",
        "look",
        files=[
            {
                "id": "F0PICTURE",
                "name": "tea.png",
                "mimetype": "image/png",
                "size": 9_000,
                "url_private": "https://files.example/F0PICTURE",
                "thumb_64": "https://files.example/thumb",
            }
        ],
    ),
    message("1500200001.000000", "and here", BOB, subtype="thread_broadcast", thread_ts=ROOT, root={"ts": ROOT}),
    message(
        "1500200010.000000",
        "",
        None,
        subtype="message_changed",
        hidden=True,
        message=message("1500200001.000000", "and there", BOB, edited={"user": BOB, "ts": "1500200009.000000"}),
        previous_message=message("1500200001.000000", "and here", BOB),
    ),
    message(
        "1500200011.000000",
        "",
        None,
        subtype="message_changed",
        hidden=True,
        message=message("1500200001.000000", "and there", BOB, attachments=[{"title": "a preview"}]),
    ),
    message(
        "1500200012.000000",
        "",
        None,
        subtype="message_deleted",
        hidden=True,
        deleted_ts="1500200000.000000",
        previous_message=message("1500200000.000000", "look"),
    ),
    message("1500200013.000000", "", BOB, subtype="channel_leave"),
    message("1500200014.000000", "This message was deleted.", "USLACKBOT", subtype="tombstone", hidden=True),
]


def export() -> dict[str, Any]:
    """The files of the export by name."""
    return {
        "users.json": USERS,
        "channels.json": CHANNELS,
        "groups.json": GROUPS,
        "mpims.json": MPIMS,
        "dms.json": DMS,
        "integration_logs.json": [],
        "general/2017-07-15.json": FIRST_DAY,
        "general/2017-07-16.json": SECOND_DAY,
        "secret/2017-07-15.json": [message(ROOT, "same moment, another channel", BOB)],
        "mpdm-ada--bob--cy-1/2017-07-15.json": [message("1500100100.000000", "three of us")],
        f"{DIRECT}/2017-07-15.json": [message("1500100200.000000", "you and me")],
    }


def zipped(path: Path, files: dict[str, Any], top: str = "") -> Path:
    """The export as a zip file."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(top + name, json.dumps(content))
    return path


def unpacked(path: Path, files: dict[str, Any]) -> Path:
    """The export as a folder."""
    for name, content in files.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))
    return path


def busy_workspace(channels: int, days: int, messages: int) -> dict[str, Any]:
    """A bigger one: so many messages a day in each channel, every third a reply, with a reaction or two."""
    files: dict[str, Any] = {"users.json": USERS}
    files["channels.json"] = [{"id": f"C{c:08d}", "name": f"c{c}"} for c in range(channels)]
    for channel in range(channels):
        for day in range(days):
            start = 1_500_076_800 + day * 86_400
            said = []
            for n in range(messages):
                fields: dict[str, Any] = {"thread_ts": f"{start + n - 1}.000000"} if n % 3 == 2 else {}
                if n % 5 == 0:
                    fields["reactions"] = [{"name": "tea", "users": [ADA, BOB][: 1 + n % 2], "count": 1 + n % 2}]
                said.append(message(f"{start + n}.000000", str(day * messages + n), [ADA, BOB][n % 2], **fields))
            date = f"2017-07-{15 + day:02d}"
            files[f"c{channel}/{date}.json"] = said
    return files
