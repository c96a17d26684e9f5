"""History on a real Cassandra: what was written is what a reader sees, in order, whatever happened to it."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx

from api.models.history import MessageBody, OneMessageBody, PageBody, UnreadsBody
from api.state import State
from infra.contracts import placement, tables
from infra.contracts.events import to_ms
from tests.integration.api.conftest import History

NOW = datetime(2026, 3, 14, 12, tzinfo=UTC)
MESSAGES = "/v1/channels/general/messages"


async def page(client: httpx.AsyncClient, query: str = "") -> PageBody:
    reply = await client.get(f"{MESSAGES}?{query}")
    assert reply.status_code == 200, reply.text
    return PageBody.model_validate_json(reply.content)


async def test_paging_back_and_forth_across_buckets(client: httpx.AsyncClient, history: History):
    events = [history.say(NOW - timedelta(hours=7 * number), number) for number in range(150)]
    await history.create(*events)
    await history.edit(history.say(NOW - timedelta(hours=3), 999), "an edit whose message never came")
    seen: list[str | None] = []
    cursor = ""
    while True:
        found = await page(client, f"limit=40&before={cursor}" if cursor else "limit=40")
        seen += [message.text for message in found.messages]
        if found.next_cursor is None:
            break
        cursor = found.next_cursor
    assert seen == [f"number {number}" for number in range(150)]
    forward = await page(client, f"limit=40&after={found.prev_cursor}")
    assert [message.text for message in forward.messages] == [f"number {number}" for number in range(80, 120)]
    around = await page(client, f"limit=5&around={events[77].id}")
    assert [message.text for message in around.messages] == [f"number {number}" for number in range(75, 80)]


async def test_edits_deletes_and_reactions(client: httpx.AsyncClient, history: History):
    kept, edited, deleted = (history.say(NOW + timedelta(minutes=n), n) for n in range(3))
    await history.create(kept, edited, deleted)
    await history.edit(edited, "better")
    await history.delete(deleted)
    # A replay of the create changes nothing: its write time is below every change's.
    await history.create(kept, edited, deleted)
    await history.react(kept, "👍", *(f"u{n:03}" for n in range(150)))
    await history.react(edited, "🎉", "ann")
    gone, better, plain = (await page(client)).messages
    assert gone == MessageBody(message_id=deleted.id, sent_at=deleted.time, deleted=True)
    assert (better.text, better.edited, better.reactions) == ("better", True, {"🎉": 1})
    assert better.edited_at == edited.time + timedelta(seconds=1)
    assert (plain.text, plain.edited, plain.reactions) == ("number 0", False, {"👍": 150})
    one = OneMessageBody.model_validate_json((await client.get(f"{MESSAGES}/{kept.id}")).content)
    assert one.reacted is not None
    assert one.reacted["👍"] == [f"u{n:03}" for n in range(100)]


async def test_ids_without_time_are_found_by_the_index(client: httpx.AsyncClient, history: History):
    await history.create(*(history.say(NOW + timedelta(days=n), n, message_id=f"plain/{n}") for n in range(5)))
    one = await client.get(f"{MESSAGES}/plain%2F3")
    assert one.json()["text"] == "number 3"
    around = await page(client, "around=plain/2&limit=3")
    assert [message.text for message in around.messages] == ["number 3", "number 2", "number 1"]


async def test_a_read_returns_every_page_the_driver_fetches(client: httpx.AsyncClient, history: History):
    await asyncio.gather(*(history.touch(f"c{n:05}", NOW + timedelta(seconds=n)) for n in range(5_200)))
    listed = (await client.get("/v1/channels?limit=1000")).json()
    assert (listed["channels"][0]["channel_id"], listed["more"]) == ("c05199", True)
    assert len(listed["channels"]) == 1_000


async def test_unread(client: httpx.AsyncClient, history: History, tenant: str):
    events = [history.say(NOW + timedelta(minutes=n), n, user_id="ann" if n == 8 else "bob") for n in range(10)]
    await history.create(*events)
    await history.delete(events[7])
    mark = placement.sent_at(events[4])
    await history.write(
        tables.SET_READ_MARK, placement.micros(mark), to_ms(mark), events[4].id, tenant, "ann", "general"
    )
    await history.create(*(history.say(NOW + timedelta(seconds=n), n, channel_id="busy") for n in range(1_200)))
    await history.write(tables.SET_MEMBERSHIP, placement.micros(NOW), to_ms(NOW), True, tenant, "ann", "busy")
    found = UnreadsBody.model_validate_json((await client.get("/v1/users/ann/unread")).content)
    assert {c.channel_id: (c.count, c.more) for c in found.channels} == {"general": (3, False), "busy": (999, True)}


async def test_the_plan_and_health_come_from_the_engines(state: State, database, history: History):
    await state.watch.look()
    report = state.health.report()
    assert report.ready, report
    later = datetime(2030, 1, 1, tzinfo=UTC)
    assert placement.bucket(later, state.watch.plan) == placement.bucket(later)
