"""Rankings, unread counts and what was held."""

from datetime import timedelta

import datasketches
import msgspec
import pytest

from api.history.unread import MOST
from api.models.numbers import TopBody
from api.models.review import HeldListBody
from api.numbers.top import add_up
from api.numbers.windows import merged
from infra.contracts import placement
from infra.contracts.metrics import SKETCH_LG_K
from infra.contracts.records import Action, Verdict
from infra.contracts.windows import HOUR, QUARTER
from tests.unit.api.conftest import NOW, Client, say
from tests.unit.api.memory import MemoryDatabase


def sketch(users: range) -> bytes:
    sketch = datasketches.hll_sketch(SKETCH_LG_K)
    for user in users:
        sketch.update(str(user))
    serialized: bytes = sketch.serialize_compact()
    return serialized


def test_members_add_up_and_rank_by_sent_then_reactions():
    rows = [("a", 2, 1, 1), ("b", 3, None, 1), ("a", 1, 0, 1), ("c", 3, 1, 1), ("d", 0, 0, 1), ("e", 0, 9, 0)]
    assert add_up(rows) == [("a", 3, 1), ("c", 3, 1), ("b", 3, 0), ("e", 0, 9)]


def test_contributors_of_several_windows_are_merged_not_added():
    assert merged([sketch(range(100)), None, sketch(range(50, 120)), b""]) == pytest.approx(120, rel=0.03)


async def test_the_last_hour_is_four_quarters_and_the_last_day_24_hours(client: Client, database: MemoryDatabase):
    for grain, count in ((QUARTER, 4), (HOUR, 24)):
        now = grain.start(NOW)
        for back in (0, count - 1, count):
            start = now - back * grain.width
            database.members["acme", "channel", grain.name, start] = [("general", 2, 1, 2), ("quiet", 1, 0, 1)]
            key = ("acme", "channel:general", grain.name, grain.period_of(start), "stream")
            database.windows.setdefault(key, {})[start] = {"contributors_sketch": sketch(range(back, back + 10))}
    for window, expected in (("1h", 13), ("24h", 20)):
        body = (await client("read").get(f"/v1/top/channels?window={window}")).json()
        TopBody.model_validate(body)
        first, second = body["ranking"]
        assert (first["id"], first["sent"], first["reactions"], first["score"]) == ("general", 4, 2, 6)
        assert first["contributors"] == pytest.approx(expected, abs=1)
        assert (second["id"], second["rank"]) == ("quiet", 2)


async def test_users_are_ranked_and_the_list_is_bounded(client: Client, database: MemoryDatabase):
    rows = [(f"u{number:02}", number, 0, 1) for number in range(30)]
    database.members["acme", "user", "15m", QUARTER.start(NOW)] = rows
    body = (await client("read").get("/v1/top/users?limit=3")).json()
    assert [entry["id"] for entry in body["ranking"]] == ["u29", "u28", "u27"]
    for query in ("limit=0", "limit=101", "window=7d"):
        assert (await client("read").get(f"/v1/top/users?{query}")).status_code == 422


async def unread(client: Client) -> dict[str, object]:
    body = (await client("read").get("/v1/users/ann/unread")).json()
    return {c["channel_id"]: (c["count"], c.get("more", False)) for c in body["channels"]}


async def test_unread_is_after_the_mark_not_own_not_deleted(client: Client, database: MemoryDatabase):
    for minute in range(10):
        moment = NOW - timedelta(minutes=minute)
        user = "ann" if minute == 1 else "bob"
        database.put(say(f"m{minute}", moment, user=user), deleted=minute == 2, created=minute != 3)
    database.marks["acme", "ann"] = [("general", NOW - timedelta(minutes=6), "m6")]
    assert await unread(client) == {"general": (3, False)}


async def test_unread_begins_with_the_join_where_there_is_no_mark(client: Client, database: MemoryDatabase):
    for day in range(30):
        database.put(say(f"m{day:02}", NOW - timedelta(days=day), user="bob"))
        database.put(say(f"n{day:02}", NOW - timedelta(days=day), user="bob", channel="left"))
    database.memberships["acme", "ann"] = [
        ("general", NOW - timedelta(days=20), True),
        ("left", NOW - timedelta(days=20), False),
        ("empty", NOW, True),
    ]
    database.marks["acme", "ann"] = [("left", NOW - timedelta(days=25), "n25")]
    assert await unread(client) == {"general": (21, False), "empty": (0, False)}


@pytest.mark.parametrize(("others", "expected"), [(MOST, (MOST, False)), (MOST + 1, (MOST, True))])
async def test_unread_is_exact_up_to_its_most(
    client: Client, database: MemoryDatabase, others: int, expected: tuple[int, bool]
):
    for second in range(others):
        database.put(say(f"m{second:04}", NOW - timedelta(seconds=second), user="bob"))
    database.marks["acme", "ann"] = [("general", NOW - timedelta(days=1), "")]
    assert await unread(client) == {"general": expected}


async def test_held_messages_tell_why_and_their_text_to_moderators_alone(client: Client, database: MemoryDatabase):
    verdict = Verdict(action=Action.HOLD, rule="block_list", version=3, reason="listed word", matches=2)
    for number in range(3):
        event = say(f"h{number}", text="bad words", properties={"quote": "bad words"})
        json = (msgspec.json.encode(part).decode() for part in (event, verdict))
        row = (event.id, *json, "ingest/0/1/0", f"0/{number}", None, None)
        database.held.setdefault(("acme", placement.day(NOW)), []).append(row)
    read = await client("read").get("/v1/held?limit=2")
    moderated = await client("moderator").get("/v1/held")
    for reply in (read, moderated):
        HeldListBody.model_validate(reply.json())
    assert [entry["event_id"] for entry in read.json()["held"]] == ["h2", "h1"]
    assert read.json()["more"] is True
    assert read.json()["held"][0]["verdict"]["rule"] == "block_list"
    assert "bad words" not in read.text
    assert moderated.json()["held"][0]["text"] == "bad words"
    assert (await client("moderator").get("/v1/held?day=2026-03-13")).json()["held"] == []
    assert (await client("moderator").get("/v1/held?day=yesterday")).status_code == 422
