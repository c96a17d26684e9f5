"""Segment's own clients for Python and Node, unmodified: the same calls made with each."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from segment.analytics.client import Client

HERE = Path(__file__).parent
#: The Node client is installed here when it is first needed.
CACHE = HERE.parent.parent / ".hubbub" / "segment-node"
OTHERS = (
    {"kind": "identify", "traits": {"email": "ada@example.org"}},
    {"kind": "page", "name": "Home", "category": "Docs"},
    {"kind": "screen", "name": "Settings"},
    {"kind": "group", "groupId": "g-1", "traits": {"plan": "free"}},
    {"kind": "alias", "previousId": "visitor"},
    {"kind": "track", "event": "Poll Voted", "properties": {"choice": 3}},
)
#: Every tenth call is none of a message.
EVERY = 10


def calls(number: int, channel: str) -> Iterator[dict[str, Any]]:
    """So many calls as Node's client takes them: nine messages, then another one."""
    for n in range(number):
        if n % EVERY == EVERY - 1:
            yield {"userId": f"u-{n % 50}", **OTHERS[n // EVERY % len(OTHERS)]}
        else:
            properties = {"channel_id": channel, "text": f"{channel} {n}"}
            yield {"kind": "track", "userId": f"u-{n % 50}", "event": "Message Sent", "properties": properties}


def texts(number: int, channel: str) -> set[str]:
    """The texts of the messages among them."""
    return {call["properties"]["text"] for call in calls(number, channel) if call.get("event") == "Message Sent"}


def send_by_python(url: str, key: str, number: int, channel: str, **options: Any) -> list[str]:
    """Make the calls with `segment-analytics-python`. Returns what it could not deliver."""
    failed: list[str] = []
    client = Client(
        key, host=url, max_queue_size=number, on_error=lambda error, _: failed.append(str(error)), **options
    )
    for call in calls(number, channel):
        named = {_snake(name): value for name, value in call.items() if name != "kind"}
        taken, _ = getattr(client, call["kind"])(**named)
        assert taken
    client.shutdown()
    return failed


def send_by_node(url: str, key: str, number: int, channel: str) -> list[str]:
    """Make the calls with `@segment/analytics-node`. Returns what it could not deliver."""
    lines = "\n".join(map(json.dumps, calls(number, channel)))
    sent = subprocess.run(
        ["node", str(_installed() / "send.mjs"), url, key],
        input=lines,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert sent.returncode == 0, sent.stderr
    told = json.loads(sent.stdout)
    assert told["calls"] == number
    return list(told["failed"])


def _installed() -> Path:
    """A folder with the client and the script, made once for each version of them."""
    files = [HERE / name for name in ("package.json", "package-lock.json", "send.mjs")]
    folder = CACHE / hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
    if folder.exists():
        return folder
    assert shutil.which("npm"), "install Node 20 or later with npm (Debian: apt install nodejs npm)"
    fresh = folder.with_suffix(".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for file in files:
        shutil.copy(file, fresh)
    done = subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund"], cwd=fresh, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    fresh.rename(folder)
    return folder


def _snake(name: str) -> str:
    return {"userId": "user_id", "groupId": "group_id", "previousId": "previous_id"}.get(name, name)
