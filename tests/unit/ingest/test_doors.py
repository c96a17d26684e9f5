"""What senders of other forms are told, and what becomes of their events."""

import asyncio
import gzip
from typing import Any

import msgspec
import pytest

from infra.contracts import headers as h
from infra.contracts.control import Limits
from infra.contracts.headers import INGEST_STAGE, NOWHERE, WHOLE, Src
from infra.contracts.placement import partition
from infra.runtime.telemetry import BURIED
from ingest import cloudevents, segment
from tests.unit.ingest.deliveries import NOW, Door, codes, event
from tests.unit.ingest.segment_calls import batch, call, message

BAD = message(9, channel_id=None)


async def send(door: Door, *calls, key="write", **fields):
    return await door.post(batch(*calls, **fields), "/v1/batch", key=key)


async def test_a_batch_of_segments_is_stored_and_stamped():
    door = Door()
    body = gzip.compress(msgspec.json.encode(batch(message(1), call(2, "identify", traits={"plan": "x"}))))
    reply = await door.post(body, "/v1/batch", headers={"Content-Encoding": "gzip"})
    assert (reply.status_code, reply.json()) == (200, {"accepted": 2, "duplicates": 0})
    stored = {one.id: one for one in door.deliveries.events()}
    assert (stored["m-1"].type, stored["m-1"].source, stored["m-1"].tenant) == ("message.sent", "segment", "acme")
    assert (stored["m-2"].type, stored["m-2"].properties) == ("identify", {"plan": "x"})
    assert stored["m-1"].received_at == NOW


async def test_the_key_is_the_user_name():
    async with Door().client() as client:
        for key, status in (("write", 200), ("nobody", 401), ("read", 403)):
            reply = await client.post("/v1/batch", json=batch(message()), auth=(key, ""))
            assert reply.status_code == status


@pytest.mark.parametrize("kind", segment.CALLS)
async def test_each_call_has_a_path(kind):
    door = Door()
    sent = {**call(kind=kind), "event": "Poll Voted", "sentAt": "2026-03-14T09:26:52.589Z"}
    del sent["type"]
    assert (await door.post(sent, f"/v1/{kind}")).json() == {"accepted": 1, "duplicates": 0}
    (stored,) = door.deliveries.events()
    assert stored.type == ("track.poll_voted" if kind == "track" else kind)
    assert (stored.time.microsecond, stored.time.second) == (
        123_000,
        51,
    )  # a second on, as far as their clock is behind


async def test_a_retry_is_a_duplicate_whatever_the_time():
    door = Door()
    await send(door, message(1), message(2))
    reply = await send(door, message(2), message(1), message(3), sentAt="2026-03-14T09:26:59Z")
    assert reply.json() == {"accepted": 1, "duplicates": 2}


async def test_what_breaks_the_contract_is_buried_and_told_with_200():
    door = Door()
    before = BURIED._value.get()
    reply = await send(door, message(1), BAD, 17)
    assert (reply.status_code, reply.json()["accepted"], reply.json()["dead_letters"]) == (200, 1, 2)
    assert codes(reply) == [(1, "missing_field"), (2, "invalid_field")]
    assert reply.json()["errors"][0]["field"] == "properties.channel_id"
    assert BURIED._value.get() == before + 2
    (key, headers, value), (_, _, other) = door.deliveries.letters
    assert key.startswith("segment/acme/m-9/")
    place = Src("ingest", partition(b"acme:ada", 8), NOWHERE, WHOLE)
    assert headers == {
        h.SRC: place.encode(),
        h.STAGE: INGEST_STAGE.encode(),
        h.CODE: b"missing_field",
        h.ERROR: b"properties.channel_id: message.sent needs a channel_id",
        h.ATTEMPTS: b"1",
        h.FIRST_SEEN: b"2026-03-14T09:26:53.589+00:00",
    }
    kept = msgspec.json.decode(value)
    assert (kept["id"], kept["tenant"], kept["text"], kept["user_id"]) == ("m-9", "acme", "text 9", "ada")
    assert msgspec.json.decode(other) == {"tenant": "acme", "source": "segment", "properties": {"original": 17}}


async def test_the_same_item_is_one_letter_and_another_body_another():
    door = Door()
    for sent in (BAD, BAD, message(9, channel_id=7)):
        await send(door, sent)
    keys = [key for key, _, _ in door.deliveries.letters]
    assert len(set(keys)) == len(keys) == 2
    another = Door()  # a process that does not know it gives it the same name
    await send(another, BAD)
    assert another.deliveries.letters[0][0] == keys[0]


async def test_nothing_that_stands_in_a_letter_comes_from_its_sender_but_the_event():
    door = Door()
    await send(door, {**BAD, "writeKey": "secret", "tenant": "other"})
    kept = msgspec.json.decode(door.deliveries.letters[0][2])
    assert kept["tenant"] == "acme"
    assert b"secret" not in door.deliveries.letters[0][2]


@pytest.mark.parametrize(("key", "buried"), [("write", 1), ("server", 0)])
async def test_an_edit_without_the_scope_is_buried(key, buried):
    door = Door()
    edit = call(event="Message Edited", properties={"channel_id": "c", "message_id": "m", "text": "x"})
    reply = await send(door, edit, key=key)
    assert (reply.status_code, reply.json().get("dead_letters", 0)) == (200, buried)
    assert [code for _, code in codes(reply)] == ["forbidden_type"] * buried


async def test_another_body_with_a_known_id_is_buried():
    door = Door()
    await send(door, message(1))
    reply = await send(door, message(1, text="other"))
    assert (reply.status_code, codes(reply), reply.json()["dead_letters"]) == (200, [(0, "conflict")], 1)
    assert reply.json()["errors"][0]["field"] == "messageId"


async def test_another_body_while_the_first_is_under_way_comes_again():
    door = Door()
    reply = await send(door, message(1), message(1, text="other"))
    assert (reply.status_code, codes(reply)) == (503, [(1, "unavailable")])
    reply = await send(door, message(1), message(1, text="other"))
    assert (reply.status_code, reply.json()["duplicates"], codes(reply)) == (200, 1, [(1, "conflict")])


async def test_what_kafka_does_not_confirm_brings_the_whole_request_again():
    door = Door()
    await send(door, message(1))
    door.deliveries.quiet = True
    for sent in (message(2), BAD):
        reply = await send(door, message(1), sent)
        assert (reply.status_code, reply.headers["Retry-After"]) == (503, "1")
        assert codes(reply) == [(1, "unavailable")]
    door.deliveries.fail()
    await asyncio.sleep(0)  # the reports come in
    door.deliveries.quiet = False
    assert (await send(door, message(1), message(2), BAD)).status_code == 200


async def test_a_full_queue_holds_no_letter():
    door = Door()
    door.deliveries.full = True
    assert (await send(door, BAD)).status_code == 503


async def test_letters_under_way_are_bounded():
    door = Door()
    door.deliveries.quiet = True
    statuses = []
    for number in range(30):
        huge = message(number, channel_id=None, blob="x" * 450_000)
        statuses.append((await send(door, huge)).status_code)
    assert set(statuses) == {503}
    assert 15 < len(door.deliveries.letters) < 25
    door.deliveries.confirm()
    await asyncio.sleep(0)  # the reports come in
    door.deliveries.quiet = False
    assert (await send(door, message(0, channel_id=None))).status_code == 200


async def test_letters_take_tokens_and_copies_of_them_none():
    door = Door(Limits(user_rate=1))
    sent = [message(n, channel_id=None) for n in range(12)]
    reply = await send(door, *sent)
    assert (reply.status_code, reply.headers["Retry-After"], len(door.deliveries.letters)) == (429, "2", 10)
    door.clock.advance(2)
    reply = await send(door, *sent)
    assert (reply.status_code, reply.json()["dead_letters"], len(door.deliveries.letters)) == (200, 12, 12)


async def test_a_client_that_repeats_whole_batches_comes_to_an_end():
    """Sixty messages in a channel that takes fifty at once: the next attempt is let through after what 429 says."""
    door = Door(Limits(channel_rate=5))
    sent = [message(n) for n in range(60)]
    reply = await send(door, *sent)
    assert (reply.status_code, reply.headers["Retry-After"], len(reply.json()["errors"])) == (429, "2", 10)
    door.clock.advance(2)
    reply = await send(door, *sent)
    assert (reply.status_code, reply.json()) == (200, {"accepted": 10, "duplicates": 50})


@pytest.mark.parametrize("path", ["/v1/events", "/v1/batch"])
async def test_cloudevents(path):
    door = Door()
    one: dict[str, Any] = {
        "specversion": "1.0",
        "id": "m-1",
        "source": "/chat",
        "type": "message.sent",
        "subject": "general",
        "time": "2026-03-14T09:26:50.123Z",
        "data": {"user_id": "ada", "text": "Hello"},
    }
    reply = await door.post(one, path, headers={"Content-Type": f"{cloudevents.ONE}; charset=UTF-8"})
    assert reply.json() == {"accepted": 1, "duplicates": 0}
    many = [one, {**one, "id": "m-2"}, {**one, "id": "m-3", "data": None}]
    reply = await door.post(many, path, headers={"Content-Type": cloudevents.MANY})
    assert (reply.status_code, reply.json()["accepted"], reply.json()["duplicates"]) == (207, 1, 1)
    assert reply.json()["errors"][0]["field"] == "data.user_id"
    binary = {f"ce-{name}": value for name, value in one.items() if name != "data"} | {"ce-id": "m-4"}
    assert (await door.post(one["data"], path, headers=binary)).json() == {"accepted": 1, "duplicates": 0}
    assert [(e.id, e.channel_id, e.source) for e in door.deliveries.events()] == [
        (name, "general", "cloudevents") for name in ("m-1", "m-2", "m-4")
    ]


async def test_segments_paths_take_no_cloudevents():
    reply = await Door().post([], "/v1/track", headers={"Content-Type": cloudevents.MANY})
    assert reply.status_code == 415


async def test_an_import_takes_nothing_from_what_is_live():
    door = Door(Limits(channel_rate=1))
    history = {"batch": [event(n) for n in range(10)], "historical": True}
    assert (await door.post(history, "/v1/batch", key="backfill")).json()["accepted"] == 10
    assert (await door.post([event(n) for n in range(20, 30)])).json()["accepted"] == 10
