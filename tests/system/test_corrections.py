"""What comes too late for the stream, or is decided afterwards, is in the numbers minutes later, under a revision."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.system.conftest import Hubbub, eventually

#: A correction is in the numbers within five minutes.
_SECONDS = 300


def test_a_late_message_and_a_late_verdict_correct_their_hour_and_minute(hubbub: Hubbub) -> None:
    # Before its first batch the stream has no watermark, and nothing is late.
    eventually(lambda: hubbub.read("/v1/metrics/messages_sent")["watermark"], _SECONDS)
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)
    moment, channel = start + timedelta(minutes=10), f"late-{uuid.uuid4().hex[:8]}"
    sent = [
        {
            "id": str(uuid.uuid4()),
            "type": "message.sent",
            "time": (moment + timedelta(seconds=n)).isoformat(),
            "channel_id": channel,
            "user_id": f"u{n}",
            "text": "written on a train",
        }
        for n in range(3)
    ]
    assert hubbub.send(*sent).json()["accepted"] == 3
    messages = f"/v1/channels/{channel}/messages"
    eventually(lambda: len(hubbub.read(messages)["messages"]) == 3)
    hubbub.command("block", sent[1]["id"], "--channel", channel)
    eventually(lambda: sum(one.get("blocked", False) for one in hubbub.read(messages)["messages"]) == 1)

    def points(metric: str, grain: str) -> list[dict[str, Any]]:
        span = {"from": start.isoformat(), "to": (start + timedelta(hours=1)).isoformat()}
        found: list[dict[str, Any]] = hubbub.read(
            f"/v1/metrics/{metric}", scope=f"channel:{channel}", grain=grain, **span
        )["points"]
        return found

    assert points("messages_sent", "1h") == []  # the stream has left them out
    (first,) = eventually(lambda: points("messages_sent", "1h"), _SECONDS)
    assert (first["value"] in (2, 3), first["revision"]) == (True, 1)
    # If it was counted before the archive had the verdict, it is counted once more.
    eventually(lambda: [point["value"] for point in points("messages_sent", "1h")] == [2], _SECONDS)
    (hour,) = points("messages_sent", "1h")
    assert (hour["final"], hour["revision"]) == (True, 1 if first["value"] == 2 else 2)
    assert "approximate" not in hour
    (minute,) = points("messages_sent", "1m")
    assert (datetime.fromisoformat(minute["start"]), minute["value"]) == (moment, 2)
    assert [point["value"] for point in points("messages_blocked", "15m")] == [1]
    assert [point["value"] for point in points("contributors", "1h")] == [2]
