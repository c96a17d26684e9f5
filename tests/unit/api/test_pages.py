"""Pages: every visible message once, in order, across buckets, whatever is hidden between them."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest
from cassandra.cluster import NoHostAvailable
from hypothesis import given, settings
from hypothesis import strategies as st

from api.history import cursors
from api.history.cache import PageCache
from api.history.pages import Pages, Wanted
from api.history.reading import History
from api.signing import Signer
from infra.contracts import placement
from infra.contracts.events import to_ms
from infra.runtime.clock import ManualClock
from tests.unit.api.conftest import NOW, Client, say, uuid_at
from tests.unit.api.memory import MemoryDatabase

signer = Signer(b"secret")
#: Minutes before now, and what became of the message.
histories = st.lists(
    st.tuples(st.integers(0, 60 * 24 * 40), st.sampled_from(["kept", "kept", "deleted", "hidden", "edited"])),
    max_size=60,
    unique_by=lambda entry: entry[0],
)


def make(database: MemoryDatabase) -> Pages:
    cache = PageCache(ManualClock(NOW), entries=1, size=1, newest_seconds=0, older_seconds=0, mask_seconds=900)
    return Pages(database, History(database, lambda: database.plan, ManualClock(NOW)), signer, cache)


def fill(database: MemoryDatabase, history: list[tuple[int, str]]) -> list[str]:
    """Puts the messages; the ids a reader sees, newest first."""
    database.put(say("first", NOW - timedelta(days=41)))
    for minutes, fate in history:
        moment = NOW - timedelta(minutes=minutes)
        event = say(f"m{minutes:05}", moment)
        edit = say(f"e{minutes:05}", moment, text="better") if fate == "edited" else None
        database.put(event, edit=edit, deleted=fate == "deleted", created=fate != "hidden")
    seen = sorted(minutes for minutes, fate in history if fate != "hidden")
    return [f"m{minutes:05}" for minutes in seen] + ["first"]


def walk(pages: Pages, limit: int) -> tuple[list[list[str]], str | None]:
    """Every page from the newest back, and the last page's way forward."""

    async def go() -> tuple[list[list[str]], str | None]:
        found, wanted = [], Wanted()
        while True:
            page = msgspec.json.decode(await pages.page("acme", "general", wanted, limit))
            found.append([m["message_id"] for m in page["messages"]])
            if page["next_cursor"] is None:
                return found, page["prev_cursor"]
            wanted = Wanted("before", cursors.decode(signer, "acme", "general", page["next_cursor"]))

    return asyncio.run(go())


@settings(deadline=None)
@given(histories, st.integers(1, 20))
def test_pages_back_hold_every_visible_message_once_in_order(history, limit):
    database = MemoryDatabase()
    visible = fill(database, history)
    found, _ = walk(make(database), limit)
    assert [message for page in found for message in page] == visible
    assert all(len(page) == limit for page in found[:-1])


@settings(deadline=None)
@given(histories, st.integers(1, 20))
def test_pages_forward_lead_to_the_newest(history, limit):
    database = MemoryDatabase()
    visible = fill(database, history)
    pages = make(database)

    async def go() -> list[str]:
        found: list[str] = []
        place = cursors.Place(NOW - timedelta(days=50), "")
        while True:
            page = msgspec.json.decode(await pages.page("acme", "general", Wanted("after", place), limit))
            if not page["messages"]:
                return found
            found = [m["message_id"] for m in page["messages"]] + found
            place = cursors.decode(signer, "acme", "general", page["prev_cursor"])

    assert asyncio.run(go()) == visible


@settings(deadline=None)
@given(histories, st.integers(1, 20), st.data())
def test_a_page_around_a_message_has_its_neighbours(history, limit, data):
    database = MemoryDatabase()
    visible = fill(database, history)
    at = data.draw(st.integers(0, len(visible) - 1))
    pages = make(database)

    async def go() -> Any:
        history = History(database, lambda: database.plan, ManualClock(NOW))
        place = await history.find("acme", "general", visible[at])
        assert place is not None
        return msgspec.json.decode(await pages.page("acme", "general", Wanted("around", place), limit))

    page = asyncio.run(go())
    after, before = limit // 2, (limit - 1) // 2
    assert [m["message_id"] for m in page["messages"]] == visible[max(0, at - after) : at + before + 1]
    assert (page["next_cursor"] is None) == (at + before + 1 >= len(visible))


async def test_a_run_of_hidden_rows_ends_a_page_early_and_the_cursor_goes_on():
    database = MemoryDatabase()
    database.put(say("first", NOW - timedelta(minutes=1_200)))
    for minute in range(1_100):
        database.put(say(f"h{minute:05}", NOW - timedelta(minutes=minute)), created=False)
    pages = make(database)
    page = msgspec.json.decode(await pages.page("acme", "general", Wanted(), 5))
    assert page["messages"] == []
    hops = 0
    while page["next_cursor"] is not None:
        place = cursors.decode(signer, "acme", "general", page["next_cursor"])
        page = msgspec.json.decode(await pages.page("acme", "general", Wanted("before", place), 5))
        hops += 1
    assert [m["message_id"] for m in page["messages"]] == ["first"]
    assert hops < 5


async def test_an_idle_channels_page_costs_two_reads_and_its_reactions(client: Client, database: MemoryDatabase):
    for number in range(60):
        database.put(say(f"m{number}", NOW - timedelta(days=300, seconds=number)))
    for query in ("", "?limit=49"):
        database.asked.clear()
        reply = await client("read").get(f"/v1/channels/general/messages{query}")
        assert reply.json()["messages"][0]["message_id"] == "m0"
        assert sorted(database.asked) == ["buckets", "newest", "reactions"]


async def test_a_message_shows_edits_and_reactions_and_nothing_private(client: Client, database: MemoryDatabase):
    event = say(
        "m1", text="helo", context={"device": "secret"}, properties={"a": {"b": [1]}}, request_id="r", client_time=NOW
    )
    database.put(event, edit=say("e1", NOW + timedelta(seconds=5), text="hello"))
    for user in ("bob", "cy"):
        database.react(event, "👍", user)
    database.react(event, "🎉", "bob", active=False)
    (message,) = (await client("read").get("/v1/channels/general/messages")).json()["messages"]
    assert message == {
        "message_id": "m1",
        "sent_at": "2026-03-14T12:00:30Z",
        "id": "m1",
        "time": "2026-03-14T12:00:30Z",
        "received_at": "2026-03-14T12:00:30Z",
        "channel_id": "general",
        "user_id": "ann",
        "text": "hello",
        "properties": {"a": {"b": [1]}},
        "edited": True,
        "edited_at": "2026-03-14T12:00:35Z",
        "reactions": {"👍": 2},
    }
    one = (await client("read").get("/v1/channels/general/messages/m1")).json()
    assert one == {**message, "reacted": {"👍": ["bob", "cy"]}}


async def test_a_deleted_message_is_a_marker(client: Client, database: MemoryDatabase):
    database.put(say("m1"), deleted=True)
    marker = {"message_id": "m1", "sent_at": "2026-03-14T12:00:30Z", "deleted": True}
    assert (await client("read").get("/v1/channels/general/messages")).json()["messages"] == [marker]
    assert (await client("read").get("/v1/channels/general/messages/m1")).json() == marker


async def test_a_masked_message_is_a_marker_before_history_has_the_delete(
    client: Client, database: MemoryDatabase, state
):
    database.put(say("m1"))
    reader = client("read")
    assert "deleted" not in (await reader.get("/v1/channels/general/messages")).json()["messages"][0]
    state.cache.mask("acme", "general", "m1")
    for path in ("", "/m1"):
        body = (await reader.get(f"/v1/channels/general/messages{path}")).text
        assert '"deleted":true' in body
        assert "hello" not in body


async def test_an_unreadable_row_costs_the_channel_nothing(client: Client, database: MemoryDatabase):
    for number in range(3):
        database.put(say(f"m{number}", NOW + timedelta(seconds=number)))
    key = ("acme", "general", placement.bucket(NOW))
    database.messages[key][to_ms(NOW) + 1_000, "m1"]["envelope"] = "{broken"
    page = (await client("read").get("/v1/channels/general/messages")).json()
    assert [m["message_id"] for m in page["messages"]] == ["m2", "m0"]


async def test_ids_with_and_without_time_are_found(client: Client, database: MemoryDatabase):
    carried = uuid_at(NOW)
    for message_id in (carried, "plain", "with/slash", "50%", "a b#c"):
        database.put(say(message_id, channel="a/b #1%"))
    reader = client("read")
    for message_id in (carried, "plain", "with%2Fslash", "50%25", "a%20b%23c"):
        reply = await reader.get(f"/v1/channels/a%2Fb%20%231%25/messages/{message_id}")
        assert reply.status_code == 200, message_id
    assert len((await reader.get("/v1/channels/a%2Fb%20%231%25/messages")).json()["messages"]) == 5


async def test_what_is_not_there_is_404(client: Client, database: MemoryDatabase):
    database.put(say("m1"))
    database.put(say("m2", channel="elsewhere"))
    reader = client("read")
    for path in ("nowhere/messages", "general/messages/m9", "general/messages/m2", "general/messages?around=m2"):
        assert (await reader.get(f"/v1/channels/{path}")).status_code == 404


async def test_a_channel_without_messages_is_an_empty_page(client: Client, database: MemoryDatabase):
    database.channels["acme"] = {"new": (NOW, "New", None)}
    page = (await client("read").get("/v1/channels/new/messages")).json()
    assert page == {"messages": [], "next_cursor": None, "prev_cursor": None}


@pytest.mark.parametrize("query", ["before=x", "after=x", "before=", "before=a&after=b", "around=m1&before=x"])
async def test_a_bad_cursor_is_400(client: Client, database: MemoryDatabase, query: str):
    database.put(say("m1"))
    assert (await client("read").get(f"/v1/channels/general/messages?{query}")).status_code == 400


@pytest.mark.parametrize("limit", ["0", "201", "-1", "x", "1000000000"])
async def test_a_bad_limit_is_422(client: Client, limit: str):
    reply = await client("read").get(f"/v1/channels/general/messages?limit={limit}")
    assert reply.status_code == 422
    assert reply.headers["content-type"] == "application/problem+json"


async def test_cassandra_down_is_503_with_retry_after(client: Client, database: MemoryDatabase):
    database.fail = NoHostAvailable("none", {})
    reply = await client("read").get("/v1/channels/general/messages")
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")


async def test_a_hundred_readers_of_a_hot_channel_cost_one_query(client: Client, database: MemoryDatabase):
    database.put(say("m1"))
    reader: httpx.AsyncClient = client("read")
    await asyncio.gather(*(reader.get("/v1/channels/general/messages") for _ in range(100)))
    assert database.asked.count("newest") == 1


async def test_channels_are_listed_by_last_activity(client: Client, database: MemoryDatabase):
    database.channels["acme"] = {
        "old": (NOW - timedelta(days=9), "Old", NOW - timedelta(days=1)),
        "new": (None, None, NOW),
        "unused": (NOW - timedelta(hours=1), "Unused", None),
    }
    database.channels["other"] = {"foreign": (NOW, None, NOW)}
    listed = (await client("read").get("/v1/channels")).json()
    assert [c["channel_id"] for c in listed["channels"]] == ["new", "unused", "old"]
    assert listed["more"] is False
    assert (await client("read").get("/v1/channels?limit=1")).json()["more"] is True
