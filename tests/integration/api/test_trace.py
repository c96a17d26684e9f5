"""A trace finds an event in history, what was held, the log or the archive, and else says where it looked."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import msgspec

from analytics.archive.feed import Feed
from analytics.archive.table import open_table
from api.models.numbers import SeriesBody, TopBody
from api.models.tracing import TraceBody
from api.state import State
from api.trace import follow
from infra.contracts import archive, codec, headers, placement, tables, topics
from infra.contracts.events import Event
from infra.contracts.records import Action, Held, Verdict
from infra.contracts.windows import MINUTE, QUARTER
from infra.runtime.kafka import DeliveringProducer, Headers, producer_config
from infra.runtime.settings import Archive, Kafka, Runtime
from tests.integration.api.conftest import History
from tests.unit.analytics.archive.records import Message

VERDICT = Verdict(action=Action.BLOCK, rule="block_list", version=2, reason="a listed word")


def send(kafka: Kafka, *records: tuple[topics.Topic, bytes, bytes | None, Headers]) -> None:
    producer = DeliveringProducer(producer_config(kafka, "test"))
    for topic, value, key, carried in records:
        producer.produce(kafka.topic(topic.name), value, key=key, headers=carried)
    assert producer.close(10) == 0


def accepted(event: Event, rule: str = "") -> tuple[topics.Topic, bytes, bytes | None, Headers]:
    carried: Headers = [(headers.SRC, b"ingest/3/17/2"), (headers.RULE, rule.encode())]
    return topics.EVENTS, msgspec.json.encode(event), placement.key(event.tenant or "", event), carried


async def trace(client: httpx.AsyncClient, event_id: str) -> TraceBody:
    reply = await client.get(f"/v1/events/{event_id}/trace", timeout=30)
    assert reply.status_code == 200, reply.text
    return TraceBody.model_validate_json(reply.content)


async def test_a_message_from_accept_to_window(
    client: httpx.AsyncClient, state: State, kafka: Kafka, history: History, tenant: str
):
    event = history.say(datetime.now(UTC), 1, source="http", request_id="r-1")
    noise = [accepted(history.say(event.time, n)) for n in range(2, 400)]
    send(kafka, *noise, accepted(event, "mask_email@1"))
    await history.touch("general", event.time)
    await history.create(event)
    await history.edit(event, "better")
    start = MINUTE.start(event.time)
    measures = [1 if column == "sent" else None for column in tables.MEASURE_COLUMNS]
    await history.write(
        tables.PUT_WINDOW, *measures, 1, event.time, tenant, "tenant", "1m", MINUTE.period_of(start), "stream", start
    )
    found = await trace(client, event.id)
    assert (found.type, found.outcome, found.verdict) == ("message.sent", "events", {"rule": "mask_email@1"})
    assert found.accept is not None
    assert found.accept.request_id == "r-1"
    assert found.accept.src is not None
    assert (found.accept.src.partition, found.accept.src.offset, found.accept.src.index) == (3, 17, 2)
    (record,) = found.records
    assert record.topic == "events"
    assert record.partition == placement.partition(placement.key(tenant, event), 8)
    assert found.history is not None
    assert (found.history.state, found.history.channel_id) == ("edited", "general")
    by_scope = {window.scope: window for window in found.windows}
    assert by_scope["tenant"].written
    assert not by_scope["channel:general"].written
    assert set(by_scope["tenant"].metrics) == {"messages_sent", "contributors", "active_users"}
    series = SeriesBody.model_validate_json((await client.get("/v1/metrics/messages_sent")).content)
    assert [(p.start, p.value, p.final) for p in series.points] == [(start, 1, False)]


async def test_an_edit_is_found_in_the_log_and_leads_to_its_message(
    client: httpx.AsyncClient, kafka: Kafka, history: History
):
    message = history.say(datetime.now(UTC), 1)
    await history.create(message)
    edit = msgspec.structs.replace(
        history.say(message.time, 2), type="message.edited", message_id=message.id, text="new"
    )
    send(kafka, accepted(edit))
    found = await trace(client, edit.id)
    assert found.history is not None
    assert (found.history.message_id, found.history.state) == (message.id, "created")
    assert found.windows[0].metrics == ["messages_edited", "active_users"]


async def test_a_blocked_message_is_found_with_its_verdict(
    client: httpx.AsyncClient, kafka: Kafka, history: History, tenant: str
):
    event = history.say(datetime.now(UTC), 1)
    send(
        kafka,
        (
            topics.HELD,
            msgspec.json.encode(Held(event=event, verdict=VERDICT)),
            placement.key(tenant, event),
            [(headers.SRC, b"ingest/0/5/0")],
        ),
    )
    for _ in range(2):
        found = await trace(client, event.id)
        assert (found.outcome, found.history) == ("blocked", None)
        assert found.verdict is not None
        assert found.verdict["rule"] == "block_list"
        assert {metric for window in found.windows for metric in window.metrics} == {"messages_blocked"}
        # Once more from the table alone, as when the log has been cut.
        await history.write(
            tables.HOLD_MESSAGE,
            placement.create_write_time(event.time),
            msgspec.json.encode(event).decode(),
            msgspec.json.encode(VERDICT).decode(),
            "ingest/0/5/0",
            "0/7",
            tenant,
            placement.day(event.time),
            event.id,
        )


async def test_a_dead_letter_is_found_and_no_other_tenants(client: httpx.AsyncClient, kafka: Kafka, history: History):
    mine, foreign = history.say(datetime.now(UTC), 1), history.say(datetime.now(UTC), 2)
    body = msgspec.to_builtins(mine) | {"text": 7}
    other = msgspec.to_builtins(foreign) | {"tenant": "another"}
    frame = msgspec.json.encode([other, body])
    send(kafka, (topics.DLQ, frame, b"ingest/1/9/-1", [(headers.CODE, b"invalid_field")]))
    found = await trace(client, mine.id)
    (record,) = found.records
    assert (found.outcome, record.code) == ("dlq", "invalid_field")
    assert found.accept is not None
    assert found.accept.src is not None
    assert found.accept.src.offset == 9
    assert (await client.get(f"/v1/events/{foreign.id}/trace", timeout=30)).status_code == 404


async def test_an_id_without_time_is_found_by_the_index(client: httpx.AsyncClient, kafka: Kafka, history: History):
    event = history.say(datetime.now(UTC), 1, message_id="plain-id")
    await history.create(event)
    send(kafka, accepted(event))
    found = await trace(client, "plain-id")
    assert found.history is not None
    assert (found.outcome, len(found.records)) == ("events", 1)


async def test_what_is_nowhere_says_where_it_was_looked_for(client: httpx.AsyncClient, history: History):
    for event_id in (history.say(datetime.now(UTC) - timedelta(minutes=5), 77).id, "never-was"):
        reply = await client.get(f"/v1/events/{event_id}/trace", timeout=30)
        assert reply.status_code == 404
        for place in ("held messages of", "of the log from", "to its end"):
            assert place in reply.json()["detail"]


async def test_what_the_log_has_forgotten_is_found_in_the_archive(state: State, history: History, tmp_path: Path):
    joined = history.say(datetime.now(UTC) - timedelta(days=40), 1, type="channel.joined", text=None, source="import")
    location = Archive(location=str(tmp_path))
    for table in archive.TABLES:
        feed = Feed(open_table(table, location, Runtime()), "", 0.0)
        if table is archive.EVENTS:
            feed.assign(("events", 0))
            feed.take(Message("events", 0, 5, codec.encode(joined), ("src", b"ingest/3/17/2")), 0.0)  # type: ignore[arg-type]
            feed.commit(0.0)
    told = await follow(replace(state, archive=location), history.tenant, joined.id)
    found = TraceBody.model_validate_json(msgspec.json.encode(told))
    assert (found.type, found.outcome, found.history, found.records) == ("channel.joined", "events", None, [])
    assert found.accept is not None
    assert found.accept.source == "import"
    assert found.accept.src is not None
    assert found.accept.src.offset == 17
    assert found.looked[-1].startswith(f"the archive of {placement.day(joined.time)} and the days beside it, in ")


async def test_a_ranking_is_read_from_its_windows(client: httpx.AsyncClient, history: History, tenant: str):
    start = QUARTER.start(datetime.now(UTC))
    for member, sent in (("general", 5), ("quiet", 1)):
        await history.write(tables.PUT_MEMBER, sent, 2, 1, tenant, "channel", "15m", start, member)
    body = TopBody.model_validate_json((await client.get("/v1/top/channels")).content)
    assert [(entry.id, entry.sent, entry.reactions) for entry in body.ranking] == [("general", 5, 2), ("quiet", 1, 2)]


async def test_numbers_are_complete_when_the_writer_has_read_the_log(
    client: httpx.AsyncClient, state: State, kafka: Kafka, history: History
):
    send(kafka, accepted(history.say(datetime.now(UTC), 1)))
    now = datetime.now(UTC)

    async def write(offset: int) -> None:
        name = kafka.topic(topics.EVENTS.name)
        offsets = msgspec.json.encode({name: {str(p): offset for p in range(8)}}).decode()
        await history.write(tables.PUT_PROGRESS, tables.METRICS_QUERY, 1, now, offsets, now, 0, 0, now)
        await state.watch.look()

    for offset, complete in ((0, False), (10**9, True)):
        await write(offset)
        series = SeriesBody.model_validate_json((await client.get("/v1/metrics/messages_sent")).content)
        assert series.complete is complete
        assert series.watermark == now.replace(microsecond=now.microsecond // 1000 * 1000)
