"""A stream of one metric that is cut off and comes back has seen, at the end, what the numbers are."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx

from tests.system.conftest import Hubbub, eventually

Said = Iterator[tuple[str, dict[str, Any], str | None]]


@contextmanager
def following(hubbub: Hubbub, scope: str, token: str | None) -> Iterator[Said]:
    """The stream's events: name, data and id."""

    def said(response: httpx.Response) -> Said:
        fields: dict[str, str] = {}
        for line in response.iter_lines():
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif "data" in fields:
                yield fields["event"], json.loads(fields["data"]), fields.get("id")
                fields = {}

    headers = {"Authorization": f"Bearer {hubbub.keys['read']}", **({"Last-Event-ID": token} if token else {})}
    params = {"metric": "messages_sent", "scope": scope}
    with httpx.stream("GET", f"{hubbub.api_url}/v1/live/metrics", params=params, headers=headers, timeout=60) as stream:
        stream.raise_for_status()
        yield said(stream)


def test_a_stream_of_one_channels_messages_resumes_without_a_gap(hubbub: Hubbub) -> None:
    channel = f"followed-{uuid.uuid4().hex[:8]}"
    scope = f"channel:{channel}"
    seen: dict[str, tuple[int, int]] = {}
    total = 0

    def send(count: int) -> None:
        nonlocal total
        common = {"type": "message.sent", "channel_id": channel, "user_id": "ada", "text": "hello"}
        now = datetime.now(UTC).isoformat()
        reply = hubbub.send(*({**common, "id": str(uuid.uuid4()), "time": now} for _ in range(count)))
        assert reply.json()["accepted"] == count, reply.text
        total += count

    def follow(stream: Said) -> str:
        """Until the points say that all is counted. Returns the last id."""
        token = ""
        for name, data, found in stream:
            token = found or token
            if name == "point":
                assert (data["metric"], data["scope"], data["grain"]) == ("messages_sent", scope, "1m")
                # A window's newest revision comes last.
                assert data["revision"] >= seen.get(data["start"], (0, 0))[0]
                seen[data["start"]] = (data["revision"], data["value"])
                if sum(value for _, value in seen.values()) == total:
                    return token
        raise AssertionError("the stream ended")

    with following(hubbub, scope, None) as stream:
        name, data, _ = next(stream)
        assert (name, data) == ("ready", {"recovered": True})
        send(3)
        token = follow(stream)
    send(4)  # while nobody listens
    eventually(lambda: sum(p["value"] for p in hubbub.read("/v1/metrics/messages_sent", scope=scope)["points"]) == 7)
    with following(hubbub, scope, token) as stream:
        assert next(stream)[1] == {"recovered": True}
        follow(stream)
        send(2)
        follow(stream)
    points = hubbub.read("/v1/metrics/messages_sent", scope=scope)["points"]
    assert {point["start"]: (point["revision"], point["value"]) for point in points} == seen
