"""Segment's clients on a whole Hubbub: every call is in history and in the numbers, or in the log where it is neither.

`HUBBUB_SEGMENT_CALLS` says how many calls each client makes.
"""

import os
from collections import Counter
from typing import Any

import msgspec
import pytest

from infra.contracts.topics import EVENTS
from infra.runtime.settings import Kafka
from tests.segment import clients
from tests.system.audit import records
from tests.system.conftest import Hubbub, eventually

CALLS = int(os.environ.get("HUBBUB_SEGMENT_CALLS", "500"))


def history(hubbub: Hubbub, channel: str) -> list[str]:
    """Every text on the channel's pages, newest first."""
    found: list[str] = []
    cursor = ""
    while True:
        params: dict[str, Any] = {"before": cursor} if cursor else {}
        page = hubbub.read(f"/v1/channels/{channel}/messages", limit=200, **params)
        found += [message["text"] for message in page["messages"]]
        cursor = page["next_cursor"]
        if not cursor:
            return found


@pytest.mark.parametrize("client", ["python", "node"])
def test_every_call_is_in_history_and_in_the_numbers(hubbub, client):
    send = clients.send_by_node if client == "node" else clients.send_by_python
    channel = f"segment-{client}"
    assert send(hubbub.ingest_url, hubbub.keys["write"], CALLS, channel) == []
    sent = Counter(clients.texts(CALLS, channel))
    # A page of a channel is made anew a few times a second, so the last ones decide when all are there.
    eventually(lambda: _known(hubbub, channel) and len(history(hubbub, channel)) >= len(sent), 60)
    assert Counter(history(hubbub, channel)) == sent

    def counted():
        points = hubbub.read("/v1/metrics/messages_sent", scope=f"channel:{channel}", grain="1m")["points"]
        return sum(point["value"] for point in points)

    eventually(lambda: counted() == len(sent), 120)
    kafka = Kafka(
        bootstrap=hubbub.status()["kafka"]["bootstrap"],
        topic_prefix=hubbub.environment.get("HUBBUB_KAFKA_TOPIC_PREFIX", ""),
    )
    others = Counter(call.get("event", call["kind"]) for call in clients.calls(CALLS, channel))
    del others["Message Sent"]
    found = Counter(_library_calls(kafka, client))
    assert sum(found.values()) == sum(others.values()) + len(sent)
    assert found["track.poll_voted"] == others["Poll Voted"]
    assert all(found[kind] == others[kind] for kind in ("identify", "page", "screen", "group", "alias"))


def _known(hubbub: Hubbub, channel: str) -> bool:
    return channel in {found["channel_id"] for found in hubbub.read("/v1/channels")["channels"]}


def _library_calls(kafka: Kafka, client: str) -> list[str]:
    """The types of the events in the log that this client's library made."""
    name = {"python": "analytics-python", "node": "@segment/analytics-node"}[client]
    found: dict[str, str] = {}
    for _, value, _ in records(kafka, EVENTS, {}):
        event = msgspec.json.decode(value)
        if event.get("source") == "segment" and event["context"]["library"]["name"] == name:
            found[event["id"]] = event["type"]
    return list(found.values())
