import asyncio
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.contracts import codec, placement
from infra.contracts.control import Limits
from infra.contracts.events import MAX_EVENT_BYTES, Event
from infra.runtime.telemetry import SKEWED
from tests.unit.ingest.deliveries import NOW, Door, codes, event


async def test_an_accepted_event_is_stamped():
    door = Door()
    reply = await door.post(event(tenant="other", received_at="2001-01-01T00:00:00Z", source="x", historical=True))
    assert (reply.status_code, reply.json()) == (200, {"accepted": 1, "duplicates": 0})
    (stored,) = door.deliveries.events()
    assert stored == msgspec.convert(
        event(tenant="acme", received_at=NOW, source="http", request_id="request-1"), Event
    )


async def test_events_lie_where_their_channel_does_in_the_order_sent():
    door = Door()
    sent = [event(n, channel_id=f"c{n % 13}") for n in range(200)] + [
        event(900, type="session.started", channel_id=None, text=None)
    ]
    assert (await door.post(sent)).json()["accepted"] == 201
    for topic, partition, value in door.deliveries.records:
        assert topic == "ingest"
        numbers = []
        for part in codec.split(value):
            stored = codec.decode(part)
            assert partition == placement.partition(placement.key("acme", stored), 8)
            numbers.append(int(stored.id[3:]))
        assert numbers == sorted(numbers)
    assert len(door.deliveries.records) <= 8


async def test_a_batch_corrects_times_and_lends_its_context():
    door = Door()
    late = (NOW + timedelta(hours=5)).isoformat()
    body = {"batch": [event(time=late, context={"os": "own"})], "sent_at": late, "context": {"os": "b", "app": "web"}}
    assert (await door.post(body, "/v1/batch")).status_code == 200
    (stored,) = door.deliveries.events()
    assert (stored.time, stored.client_time) == (NOW, NOW + timedelta(hours=5))
    assert stored.context == {"os": "own", "app": "web"}


async def test_a_clock_that_is_ahead_is_counted():
    door = Door()
    before = SKEWED._value.get()
    await door.post([event(1, time=(NOW + timedelta(minutes=5)).isoformat()), event(2)])
    assert SKEWED._value.get() == before + 1
    assert [stored.time for stored in door.deliveries.events()] == [
        NOW,
        NOW.replace(second=50, microsecond=123_000),
    ]


async def test_history_takes_its_own_lane_and_keeps_its_times():
    door = Door()
    body = {"batch": [event(), event(2, type="message.deleted", message_id="m")], "historical": True}
    assert (await door.post(body, "/v1/batch", key="backfill")).status_code == 200
    assert [stored.historical for stored in door.deliveries.events("backfill")] == [True, True]
    assert not door.deliveries.events("ingest")


@pytest.mark.parametrize(
    ("body", "path", "key", "status"),
    [
        ({"batch": [event()], "historical": True}, "/v1/batch", "write", 403),
        (event(), "/v1/events", "backfill", 403),
        (event(), "/v1/events", "read", 403),
        (event(), "/v1/events", "nobody", 401),
    ],
)
async def test_scopes(body, path, key, status):
    door = Door()
    assert (await door.post(body, path, key=key)).status_code == status
    assert not door.deliveries.records


@pytest.mark.parametrize(("key", "status"), [("write", 400), ("server", 200)])
async def test_edits_need_a_server_key(key, status):
    reply = await Door().post(event(type="message.edited", message_id="m"), key=key)
    assert reply.status_code == status
    assert codes(reply) == ([(0, "forbidden_type")] if status == 400 else [])


async def test_each_bad_event_is_named_and_the_good_ones_are_stored():
    door = Door()
    items = [
        event(0),
        {**event(1), "user_id": None},
        17,
        event(3, user_id="null"),
        event(4, time="yesterday"),
        event(5, time=(NOW + timedelta(hours=2)).isoformat()),
        event(6, id="01c80000-0000-7000-8000-000000000000"),
        event(7, text="x" * 9000),
        event(8, properties={"x": "y" * MAX_EVENT_BYTES}),
        event(9, type="hubbub.heartbeat"),
        event(10, colour="red"),
        event(11),
    ]
    reply = await door.post(items)
    assert reply.status_code == 207
    assert reply.json()["accepted"] == 2
    assert codes(reply) == [
        (1, "missing_field"),
        (2, "invalid_field"),
        (3, "bad_user"),
        (4, "bad_time"),
        (5, "bad_time"),
        (6, "future_id"),
        (7, "too_large"),
        (8, "too_large"),
        (9, "forbidden_type"),
        (10, "invalid_field"),
    ]
    assert reply.json()["errors"][0]["id"] == "id-1"
    assert reply.json()["errors"][1]["id"] is None
    assert [stored.id for stored in door.deliveries.events()] == ["id-0", "id-11"]


async def test_lines_are_judged_one_by_one():
    door = Door()
    lines = msgspec.json.encode(event(1)) + b"\n{broken\n" + msgspec.json.encode(event(2)) + b"\n"
    reply = await door.post(lines, headers={"Content-Type": "application/x-ndjson"})
    assert (reply.status_code, reply.json()["accepted"], codes(reply)) == (207, 2, [(1, "invalid_field")])


async def test_depth_is_bounded():
    deep: object = 1
    for _ in range(31):
        deep = [deep]
    assert (await Door().post(event(properties={"x": deep}))).json()["errors"][0]["code"] == "too_deep"


async def test_no_envelope_outgrows_what_the_router_reads():
    door = Door()
    roomy = event(1, properties={"x": "y" * (MAX_EVENT_BYTES - 300)})
    assert (await door.post(roomy)).status_code == 200
    assert door.deliveries.events()[0].id == "id-1"
    swollen = {"batch": [event(2, properties=roomy["properties"])], "context": {"c": "z" * 2000}}
    assert codes(await door.post(swollen, "/v1/batch")) == [(0, "too_large")]
    floats = msgspec.json.encode(event(3))[:-1] + b',"properties":{"x":[' + b",".join([b"1e15"] * 6000) + b"]}}"
    assert codes(await door.post(floats)) == [(0, "too_large")]


async def test_the_same_event_again_is_a_duplicate():
    door = Door()
    await door.post(event())
    for again in (event(), dict(reversed(event().items()))):
        assert (await door.post(again)).json() == {"accepted": 0, "duplicates": 1}
    door.clock.advance(600)
    await door.post(event(2))
    assert (await door.post(event())).json() == {"accepted": 1, "duplicates": 0}


async def test_a_retry_in_another_batch_is_the_same_event():
    door = Door()
    await door.post({"batch": [event()], "sent_at": NOW.isoformat(), "context": {"a": 1}}, "/v1/batch")
    door.clock.advance(5)
    again = {"batch": [event()], "sent_at": (NOW + timedelta(seconds=5)).isoformat(), "context": {"a": 2}}
    assert (await door.post(again, "/v1/batch")).json() == {"accepted": 0, "duplicates": 1}


async def test_the_same_id_with_another_body_is_a_conflict():
    door = Door()
    await door.post(event())
    reply = await door.post([event(text="other"), event(2)])
    assert (reply.json()["accepted"], codes(reply)) == (1, [(0, "conflict")])
    assert not reply.json()["errors"][0]["retryable"]


async def test_copies_within_one_request():
    door = Door()
    typing = event(2, type="typing.started", text=None)
    reply = await door.post([event(), event(), event(text="other"), typing, typing])
    assert reply.json() == {
        "accepted": 2,
        "duplicates": 2,
        "errors": [
            {
                "index": 2,
                "id": "id-1",
                "code": "conflict",
                "field": "id",
                "message": "this id was sent before with another body",
                "retryable": False,
            }
        ],
    }


async def test_ids_belong_to_a_tenant():
    door = Door()
    await door.post(event())
    door.directory.tenants["other"] = msgspec.structs.replace(door.directory.tenants["acme"], id="other")
    for name, key in list(door.directory.keys.items()):
        door.directory.keys[name] = msgspec.structs.replace(key, tenant="other")
    assert (await door.post(event(text="other"))).json() == {"accepted": 1, "duplicates": 0}


@pytest.mark.parametrize(
    ("stored", "second", "third"),
    [
        (True, (200, {"accepted": 0, "duplicates": 1}, []), (400, None, [(0, "conflict")])),
        (False, (503, None, [(0, "unavailable")]), (503, None, [(0, "unavailable")])),
    ],
)
async def test_a_copy_of_what_is_in_flight_shares_its_outcome(stored, second, third):
    door = Door(unavailable_after=5)
    door.deliveries.quiet = True
    requests = [asyncio.create_task(door.post(body)) for body in (event(), event(), event(text="other"))]
    while not door.deliveries.open:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.02)
    assert not any(request.done() for request in requests)
    (door.deliveries.confirm if stored else door.deliveries.fail)()
    first, same, other = [await request for request in requests]
    assert first.status_code == (200 if stored else 503)
    for reply, (status, body, expected) in ((same, second), (other, third)):
        assert (reply.status_code, codes(reply)) == (status, expected)
        assert body is None or reply.json() == body
    assert len(door.deliveries.events()) == 1


async def test_what_kafka_does_not_confirm_in_time_is_unavailable_and_may_still_come():
    door = Door()
    door.deliveries.quiet = True
    reply = await door.post([event(1), event(2)])
    assert reply.status_code == 503
    assert reply.headers["Retry-After"] == "1"
    assert codes(reply) == [(0, "unavailable"), (1, "unavailable")]
    assert all(error["retryable"] for error in reply.json()["errors"])
    assert (await door.post(event(1))).status_code == 503
    assert len(door.deliveries.events()) == 2
    door.deliveries.confirm()
    assert (await door.post([event(1), event(2)])).json() == {"accepted": 0, "duplicates": 2}


async def test_what_kafka_lost_may_be_sent_again():
    door = Door()
    door.deliveries.quiet = True
    await door.post(event())
    door.deliveries.fail()
    await door.framer.drain(1)
    door.deliveries.quiet = False
    assert (await door.post(event())).json() == {"accepted": 1, "duplicates": 0}


async def test_some_stored_and_some_not_is_207():
    door = Door()
    await door.post(event(1))
    door.deliveries.quiet = True
    reply = await door.post([event(1), event(2)])
    assert (reply.status_code, reply.json()["duplicates"], codes(reply)) == (207, 1, [(1, "unavailable")])


async def test_a_full_queue_is_told_at_once():
    door = Door()
    door.deliveries.full = True
    assert codes(await door.post(event())) == [(0, "unavailable")]


@pytest.mark.parametrize("bound", [{"in_flight_events": 3}, {"in_flight_bytes": 100}])
async def test_beyond_the_bound_a_request_is_refused_whole_and_at_once(bound):
    door = Door(**bound)
    door.deliveries.quiet = True
    await door.post(event(1))
    door.settings = door.settings.model_copy(update={"unavailable_after": 60})
    reply = await asyncio.wait_for(door.post([event(2), event(3), event(4)]), 5)
    assert (reply.status_code, codes(reply), reply.headers["Retry-After"]) == (503, [], "1")
    door.deliveries.confirm()
    door.deliveries.quiet = False
    await door.framer.drain(1)
    assert (await door.post(event(5))).status_code == 200


async def test_one_request_does_not_overrun_the_bound_in_bytes():
    door = Door(in_flight_bytes=3_000)
    reply = await door.post([event(n, text="x" * 1_000) for n in range(6)])
    assert (reply.json()["accepted"], codes(reply)) == (3, [(n, "unavailable") for n in (3, 4, 5)])


async def test_rates_are_limited_by_user_and_by_channel():
    door = Door(Limits(user_rate=1, channel_rate=2))
    reply = await door.post([event(n) for n in range(12)])
    assert (reply.status_code, reply.json()["accepted"]) == (207, 10)
    assert codes(reply) == [(10, "rate_limited"), (11, "rate_limited")]
    assert reply.headers["Retry-After"] == "2"
    refused = await door.post(event(20))
    assert refused.status_code == 429
    assert {n: refused.headers[n] for n in ("Retry-After", "RateLimit-Limit", "RateLimit-Remaining")} == {
        "Retry-After": "1",
        "RateLimit-Limit": "1",
        "RateLimit-Remaining": "0",
    }
    reply = await door.post([event(n, user_id=f"u{n}") for n in range(30, 50)])
    assert reply.json()["accepted"] == 10
    door.clock.advance(1)
    assert (await door.post(event(60))).json()["accepted"] == 1


bodies = st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["x", "y"]))


@settings(max_examples=60, deadline=None)
@given(requests=st.lists(st.lists(bodies, min_size=1, max_size=6), min_size=1, max_size=6))
async def test_every_event_has_one_outcome_and_every_id_one_body(requests):
    door = Door()
    first: dict[str, str] = {}
    for request in requests:
        items = [event(0, id=name, text=text) for name, text in request]
        reply = (await door.post(items)).json()
        accepted = duplicates = conflicts = 0
        for name, text in request:
            known = first.setdefault(name, text) if name in first else None
            if known is None:
                first[name] = text
                accepted += 1
            elif known == text:
                duplicates += 1
            else:
                conflicts += 1
        assert (reply.get("accepted", 0), reply.get("duplicates", 0), len(reply.get("errors", []))) == (
            accepted,
            duplicates,
            conflicts,
        )
    assert {stored.id: stored.text for stored in door.deliveries.events()} == first
    assert len(door.deliveries.events()) == len(first)
