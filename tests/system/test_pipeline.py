"""What a user does: send chat, read it back, follow it live, see it counted; and again while roles are killed."""

import threading
from collections import Counter
from datetime import UTC, datetime

import httpx
import uuid_utils

from tests.system.conftest import Hubbub, eventually


def message(channel: str, text: str, **fields):
    return {
        "id": str(uuid_utils.uuid7()),
        "type": "message.sent",
        "time": datetime.now(UTC).isoformat(),
        "channel_id": channel,
        "user_id": "ada",
        "text": text,
        **fields,
    }


def texts(hubbub: Hubbub, channel: str, limit: int = 200):
    if channel not in {c["channel_id"] for c in hubbub.read("/v1/channels")["channels"]}:
        return []
    page = hubbub.read(f"/v1/channels/{channel}/messages", limit=limit)
    return [m.get("text") for m in page["messages"]]


def test_what_is_sent_is_read_back_newest_first(hubbub):
    sent = [message("readback", f"line {n}") for n in range(20)]
    reply = hubbub.send(*sent)
    assert reply.status_code == 200, reply.text
    assert reply.json() == {"accepted": 20, "duplicates": 0}
    expected = [m["text"] for m in reversed(sent)]
    eventually(lambda: texts(hubbub, "readback") == expected)
    again = hubbub.send(*sent)
    assert again.json() == {"accepted": 0, "duplicates": 20}
    assert texts(hubbub, "readback") == expected


def test_an_edit_a_reaction_and_a_delete_are_seen(hubbub):
    first, second = message("changes", "helo"), message("changes", "oops")
    assert hubbub.send(first, second).status_code == 200
    about = {"channel_id": "changes", "user_id": "ada", "time": datetime.now(UTC).isoformat()}
    changes = [
        {**about, "id": str(uuid_utils.uuid7()), "type": "message.edited", "message_id": first["id"], "text": "hello"},
        {**about, "id": str(uuid_utils.uuid7()), "type": "reaction.added", "message_id": first["id"], "reaction": "👍"},
        {**about, "id": str(uuid_utils.uuid7()), "type": "message.deleted", "message_id": second["id"]},
    ]
    assert hubbub.send(*changes, key="server").status_code == 200

    def settled():
        if len(texts(hubbub, "changes")) < 2:
            return False
        newest, oldest = hubbub.read("/v1/channels/changes/messages")["messages"]
        return newest.get("deleted") and oldest["text"] == "hello" and oldest.get("reactions") == {"👍": 1}

    eventually(settled)


def test_a_live_reader_sees_what_is_sent(hubbub):
    seen: list[str] = []
    ready = threading.Event()
    sent = [message("live", f"live {n}") for n in range(5)]

    def follow():
        headers = {"Authorization": f"Bearer {hubbub.keys['read']}"}
        url = f"{hubbub.api_url}/v1/live/events"
        with httpx.stream("GET", url, params={"channels": "live"}, headers=headers, timeout=30) as stream:
            for line in stream.iter_lines():
                ready.set()
                if line.startswith("data:"):
                    seen.extend(m["text"] for m in sent if m["id"] in line)
                if len(seen) == len(sent):
                    return

    reader = threading.Thread(target=follow, daemon=True)
    reader.start()
    assert ready.wait(20)
    assert hubbub.send(*sent).status_code == 200
    reader.join(20)
    assert seen == [m["text"] for m in sent]


def test_messages_are_counted_within_seconds(hubbub):
    started = datetime.now(UTC)
    assert hubbub.send(*(message("counted", f"one of {n}") for n in range(30))).status_code == 200

    def counted():
        points = hubbub.read(
            "/v1/metrics/messages_sent",
            scope="channel:counted",
            grain="1m",
            **{"from": started.replace(second=0, microsecond=0).isoformat()},
        )
        return points if sum(p["value"] for p in points["points"]) == 30 else None

    answer = eventually(counted, 60)
    assert answer["as_of"]
    assert answer["watermark"]
    assert {"final", "revision", "start", "end"} <= set(answer["points"][0])


def test_what_a_rule_stops_is_listed_and_not_shown(hubbub):
    mail = message("masked", "write me at ada@example.org please")
    assert hubbub.send(mail).status_code == 200
    shown = eventually(lambda: texts(hubbub, "masked"))
    assert shown == ["write me at [email] please"]


def test_no_message_is_lost_or_doubled_while_roles_are_killed(hubbub):
    """Each role is killed with -9 in the middle of a stream of sends; a refused send is repeated with the same id."""
    acknowledged: list[str] = []
    stop = threading.Event()

    def keep_sending():
        number = 0
        while not stop.is_set():
            batch = [message("killed", f"{number}.{n}") for n in range(10)]
            number += 1
            while True:
                try:
                    reply = hubbub.send(*batch)
                except httpx.TransportError:
                    stop.wait(0.2)
                    continue
                if reply.status_code == 200:
                    break
                stop.wait(0.2)
            acknowledged.extend(m["text"] for m in batch)
            stop.wait(0.1)

    sender = threading.Thread(target=keep_sending)
    sender.start()
    try:
        for role in ("router", "history", "ingest", "api", "archive", "analytics", "interactions", "reports", "ledger"):
            hubbub.restart(role)
    finally:
        stop.set()
        sender.join()

    def stored():
        found, cursor = [], None
        while True:
            params: dict[str, str] = {"before": cursor} if cursor else {}
            page = hubbub.read("/v1/channels/killed/messages", limit=200, **params)
            found += [m["text"] for m in page["messages"]]
            cursor = page["next_cursor"]
            if not cursor:
                return found

    eventually(lambda: len(stored()) >= len(acknowledged), 60)
    assert stored() == acknowledged[::-1]
    assert max(Counter(stored()).values()) == 1

    def counted():
        points = hubbub.read("/v1/metrics/messages_sent", scope="channel:killed", grain="1m")["points"]
        return sum(p["value"] for p in points) == len(acknowledged)

    eventually(counted, 90)


def test_the_ledger_balances_whatever_was_killed(hubbub):
    """Every minute so far, once it is over: replays counted once, nothing missing at any stage."""
    assert hubbub.send(message("ledger", "count me")).status_code == 200
    until = datetime.now(UTC).replace(second=0, microsecond=0).isoformat().replace("+00:00", "Z")

    def balanced():
        found = [m for m in hubbub.read("/v1/ledger", minutes=60)["minutes"] if m["start"] <= until]
        assert not [m for m in found if m["state"] == "different"], found
        return found and found[-1]["start"] == until and all(m["state"] == "balanced" for m in found)

    eventually(balanced, 180)
    for minute in hubbub.read("/v1/ledger", minutes=60)["minutes"]:
        outcomes = ("events", "signals", "held", "blocked", "dlq", "duplicates")
        assert minute["accepted"] == sum(minute[outcome] for outcome in outcomes)


def test_a_trace_tells_what_became_of_an_event(hubbub):
    sent = message("traced", "follow me")
    assert hubbub.send(sent).status_code == 200
    eventually(lambda: texts(hubbub, "traced"))
    found = hubbub.read(f"/v1/events/{sent['id']}/trace")
    assert sent["id"] in str(found)
