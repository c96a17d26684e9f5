"""A moderator's decision at the door: stored as a record of its own, once, and only what may be decided."""

import asyncio

import msgspec
import pytest
from confluent_kafka import KafkaError

from infra.contracts import headers, placement, review
from infra.contracts.events import Event
from infra.contracts.records import Action, Held, Verdict
from infra.contracts.review import Decision, HeldId, Verb
from infra.runtime.settings import Kafka
from ingest.held_log import HeldLog, Unanswered
from tests.unit.ingest.deliveries import NOW, Door, event

PLACE = HeldId("2026-03-14", "h-1", 3, 42)
HELD = Held(
    event=Event(
        id="h-1",
        type="message.sent",
        time=NOW,
        channel_id="general",
        user_id="ada",
        text="free nitro",
        tenant="acme",
        received_at=NOW,
    ),
    verdict=Verdict(action=Action.HOLD, rule="scams", version=1, reason="listed"),
)
RELEASE, REJECT = f"/v1/held/{PLACE.encode()}/release", f"/v1/held/{PLACE.encode()}/reject"


@pytest.fixture
async def door():
    door = Door()
    door.shelf.held[3, 42] = HELD
    return door


def stored(door: Door) -> list[Decision]:
    return [review.decode(value) for _, _, value in door.deliveries.records]


@pytest.mark.parametrize(("path", "verb"), [(RELEASE, Verb.RELEASE), (REJECT, Verb.REJECT)])
async def test_a_decision_is_a_record_of_its_own_beside_its_channel(door, path, verb):
    reply = await door.post({"reason": "a quotation", "moderator": "eve"}, path, key="moderate")
    assert (reply.status_code, reply.json()) == (200, {"accepted": 1, "duplicates": 0})
    ((topic, partition, _),) = door.deliveries.records
    assert (topic, partition) == ("ingest", placement.partition(b"acme:general", 8))
    assert door.deliveries.headers == {0: [(headers.KIND, headers.DECISION)]}
    (decision,) = stored(door)
    assert (decision.verb, decision.held, decision.message_id) == (verb, HELD, "h-1")
    assert (decision.moderator, decision.reason, decision.decided_at) == ("eve", "a quotation", NOW)
    assert decision.decided_by.startswith("moderate ")


async def test_an_event_with_the_id_of_a_decision_does_not_stop_it(door):
    """Such an id can be worked out by whoever knows the message."""
    claimed = review.decision_id("acme", Verb.BLOCK, "general", "m")
    assert (await door.post(event(id=claimed))).status_code == 200
    reply = await door.post({"channel_id": "general"}, "/v1/messages/m/block", key="moderate")
    assert reply.json() == {"accepted": 1, "duplicates": 0}


async def test_rejecting_a_message_in_anothers_name_hides_the_message_alone(door):
    impostor = msgspec.structs.replace(HELD, event=msgspec.structs.replace(HELD.event, message_id="somebodys"))
    door.shelf.held[3, 42] = impostor
    assert (await door.post({}, REJECT, key="moderate")).status_code == 200
    (decision,) = stored(door)
    assert decision.message_id == "h-1"


async def test_a_block_names_its_channel(door):
    reply = await door.post({"channel_id": "general"}, "/v1/messages/a%2Fb/block", key="moderate")
    assert reply.status_code == 200
    (decision,) = stored(door)
    assert (decision.verb, decision.message_id, decision.channel_id, decision.held) == ("block", "a/b", "general", None)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/messages/m/block", {}, "channel_id"),
        ("/v1/messages/m/block", b"", "channel_id"),
        ("/v1/messages/m/block", {"channel_id": ""}, "channel_id"),
        (f"/v1/messages/{'m' * 101}/block", {"channel_id": "general"}, "length"),
        (RELEASE, {"reason": "x" * 1_001}, "reason"),
        (RELEASE, {"moderator": 5}, "moderator"),
        (RELEASE, {"channel_id": "general"}, "channel_id"),
        (RELEASE, b"{", "truncated"),
    ],
)
async def test_a_body_that_says_something_else_is_400(door, path, body, field):
    reply = await door.post(body, path, key="moderate")
    assert reply.status_code == 400
    assert field in reply.json()["detail"]
    assert not door.deliveries.records


async def test_the_body_may_be_left_out(door):
    async with door.client() as client:
        reply = await client.post(RELEASE, headers={"Authorization": "Bearer moderate"})
    assert reply.status_code == 200


async def test_repeating_a_decision_is_one_decision(door):
    for _ in range(2):
        reply = await door.post({}, RELEASE, key="moderate")
    assert reply.json() == {"accepted": 0, "duplicates": 1}
    assert len(stored(door)) == 1
    await door.post({}, REJECT, key="moderate")
    assert len(stored(door)) == 2


async def test_a_decision_that_kafka_does_not_confirm_is_503_and_may_be_made_again(door):
    door.deliveries.quiet = True
    reply = await door.post({}, RELEASE, key="moderate")
    assert (reply.status_code, reply.headers["Retry-After"]) == (503, "1")
    door.deliveries.fail()
    await asyncio.sleep(0)  # its report is taken in
    door.deliveries.quiet = False
    reply = await door.post({}, RELEASE, key="moderate")
    assert reply.json() == {"accepted": 1, "duplicates": 0}
    first, second = stored(door)
    assert first.id == second.id


async def test_a_full_queue_is_503(door):
    door.deliveries.full = True
    assert (await door.post({}, RELEASE, key="moderate")).status_code == 503
    door.deliveries.full = False
    assert (await door.post({}, RELEASE, key="moderate")).status_code == 200


@pytest.mark.parametrize(
    "held_id",
    ["nonsense", HeldId("2026-03-14", "h-2", 3, 42).encode(), HeldId("2026-03-14", "h-1", 3, 43).encode()],
)
async def test_what_is_not_held_is_404(door, held_id):
    assert (await door.post({}, f"/v1/held/{held_id}/release", key="moderate")).status_code == 404


async def test_another_tenants_is_404_like_none(door):
    door.shelf.held[3, 42] = msgspec.structs.replace(HELD, event=msgspec.structs.replace(HELD.event, tenant="other"))
    other = await door.post({}, RELEASE, key="moderate")
    none = await door.post({}, f"/v1/held/{HeldId('2026-03-14', 'x', 0, 0).encode()}/release", key="moderate")
    assert (other.status_code, other.text) == (404, none.text)
    assert not door.deliveries.records


async def test_a_kafka_that_does_not_say_is_503(door):
    door.shelf.silent = True
    assert (await door.post({}, RELEASE, key="moderate")).status_code == 503


@pytest.mark.parametrize("key", ["write", "server", "backfill", "read", "admin"])
async def test_only_a_key_that_may_moderate_decides(door, key):
    assert (await door.post({}, RELEASE, key=key)).status_code == 403
    assert not door.deliveries.records


async def test_a_page_of_a_listed_origin_may_decide(door):
    reply = await door.post({}, RELEASE, key="moderate", headers={"Origin": "https://chat.example"})
    assert reply.headers["Access-Control-Allow-Origin"] == "https://chat.example"


@pytest.mark.parametrize(("key", "status"), [("read", 403), ("nobody", 401)])
async def test_such_a_page_can_read_why_a_key_is_refused(door, key, status):
    for origin, listed in (("https://chat.example", True), ("https://evil.example", False)):
        reply = await door.post({}, RELEASE, key=key, headers={"Origin": origin})
        assert reply.status_code == status
        assert ("Access-Control-Allow-Origin" in reply.headers) is listed


async def test_no_sender_makes_what_a_decision_makes(door):
    reply = await door.post(event(type="message.blocked", message_id="m"), key="server")
    assert reply.json()["errors"][0]["code"] == "forbidden_type"
    await door.post(event(2, late=True))
    (taken,) = door.deliveries.events()
    assert taken.late is None


# The log it is looked up in


class Message:
    def __init__(self, value=b"", offset=42, code=None, kind=None):
        self._value, self._offset, self._code, self._kind = value, offset, code, kind

    def error(self):
        return None if self._code is None else KafkaError(self._code)

    def value(self):
        return self._value

    def partition(self):
        return 3

    def offset(self):
        return self._offset

    def headers(self):
        return None if self._kind is None else [("kind", self._kind)]


class Log:
    """A consumer that hands out what a test says, one message a poll."""

    def __init__(self, *messages):
        self.messages = list(messages)
        self.assigned = []

    def __call__(self, config):
        assert config["auto.offset.reset"] == "error"
        return self

    def assign(self, places):
        self.assigned += [(p.topic, p.partition, p.offset) for p in places]

    def unassign(self):
        pass

    def poll(self, seconds):
        return self.messages.pop(0) if self.messages else None

    def close(self):
        pass


VALUE = msgspec.json.encode(HELD)


async def look(log: Log, place: HeldId = PLACE, seconds: float = 1.0) -> Held | None:
    shelf = HeldLog(Kafka(topic_prefix="t-"), make=log)
    try:
        return await shelf.find(place, seconds)
    finally:
        await shelf.close()


async def test_the_record_at_the_position_is_read():
    log = Log(None, Message(VALUE))
    assert await look(log) == HELD
    assert log.assigned == [("t-held", 3, 42)]


@pytest.mark.parametrize(
    "message",
    [
        Message(VALUE, offset=43),
        Message(VALUE, kind=b"decision"),
        Message(b"not json"),
        Message(msgspec.json.encode(msgspec.structs.replace(HELD, event=msgspec.structs.replace(HELD.event, id="x")))),
        Message(code=KafkaError._PARTITION_EOF),
        Message(code=KafkaError._AUTO_OFFSET_RESET),
    ],
    ids=["another offset", "decision", "poison", "another event", "behind the end", "forgotten"],
)
async def test_anything_else_at_that_position_is_nothing(message):
    assert await look(Log(message)) is None


async def test_a_position_that_was_never_stored_is_nothing():
    log = Log()
    assert await look(log, HeldId("2026-03-14", "h-1")) is None
    assert not log.assigned


@pytest.mark.parametrize("messages", [(), (Message(code=KafkaError._ALL_BROKERS_DOWN),)])
async def test_silence_is_not_taken_for_absence(messages):
    with pytest.raises(Unanswered):
        await look(Log(*messages), seconds=0.05)
