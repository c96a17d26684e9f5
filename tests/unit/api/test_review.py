"""What moderators are shown, what others are not, and that nobody is shown what was taken away."""

from datetime import timedelta

import httpx
import msgspec
import pytest

from api.models.history import PageBody
from api.models.review import DecisionsBody, HeldListBody, HeldOneBody
from infra.contracts import placement
from infra.contracts.records import Action, Verdict
from infra.contracts.review import Entry, HeldId, Verb
from tests.unit.api.conftest import NOW, Client, say, uuid_at
from tests.unit.api.memory import MemoryDatabase, naive

DAY = placement.day(NOW)
VERDICT = Verdict(action=Action.HOLD, rule="scams", version=3, reason="listed word")


def line(verb: Verb, message_id: str, minutes: int = 0, **fields: object) -> str:
    entry = Entry(
        id=f"{verb}-{message_id}",
        verb=verb,
        decided_at=NOW + timedelta(minutes=minutes),
        decided_by="desk 0123456789ab",
        message_id=message_id,
        moderator="eve",
        **fields,  # type: ignore[arg-type]
    )
    return msgspec.json.encode(entry).decode()


def hold(database: MemoryDatabase, number: int, *decided: Verb, **fields: object) -> HeldId:
    event = say(uuid_at(NOW, number), text="bad words", **fields)  # type: ignore[arg-type]
    lines = [line(verb, event.id) if verb in decided else None for verb in (Verb.RELEASE, Verb.REJECT)]
    row = (event.id, msgspec.json.encode(event).decode(), msgspec.json.encode(VERDICT).decode(), "ingest/0/1/0")
    database.held.setdefault(("acme", DAY), []).append((*row, f"2/{number}", *lines))
    return HeldId(DAY, event.id, 2, number)


async def get(client: Client, path: str, key: str = "moderator") -> httpx.Response:
    return await client(key).get(path)


async def test_the_list_says_what_is_decided_and_where_to_decide(client: Client, database: MemoryDatabase):
    places = [
        hold(database, 0),
        hold(database, 1, Verb.RELEASE),
        hold(database, 2, Verb.REJECT),
        hold(database, 3, Verb.RELEASE, Verb.REJECT),
    ]
    body = (await get(client, "/v1/held")).json()
    HeldListBody.model_validate(body)
    assert [entry["held_id"] for entry in body["held"]] == [place.encode() for place in places[::-1]]
    assert [entry["state"] for entry in body["held"]] == ["rejected", "rejected", "released", "waiting"]
    assert [len(entry["decisions"]) for entry in body["held"]] == [2, 1, 1, 0]
    assert body["decide_at"] == "http://ingest.example"
    for state, expected in (("waiting", 1), ("released", 1), ("rejected", 2)):
        found = (await get(client, f"/v1/held?state={state}")).json()
        assert [entry["state"] for entry in found["held"]] == [state] * expected
        assert found["more"] is False
    assert (await get(client, "/v1/held?state=rejected&limit=1")).json()["more"] is True
    assert (await get(client, "/v1/held?state=forgiven")).status_code == 422


async def test_who_may_not_moderate_sees_neither_text_nor_moderators(client: Client, database: MemoryDatabase):
    place = hold(database, 1, Verb.RELEASE)
    for path in ("/v1/held", f"/v1/held/{place.encode()}"):
        reply = await get(client, path, "read")
        assert reply.status_code == 200
        assert "bad words" not in reply.text
        assert '"eve"' not in reply.text
    assert (await get(client, "/v1/review/decisions", "read")).status_code == 403


async def test_one_is_shown_with_what_was_said_before_and_its_users_record(client: Client, database: MemoryDatabase):
    for second in range(1, 15):
        moment = NOW - timedelta(seconds=second)
        database.put(say(uuid_at(moment), moment, text=f"{second} s before"), blocked=second == 2)
    database.put(say(uuid_at(NOW + timedelta(seconds=1)), NOW + timedelta(seconds=1), text="after"))
    place = hold(database, 5)
    at = naive(NOW)
    database.reviews["acme", "ann"] = [
        (DAY, "hold", at, None, None),
        (DAY, "hold", None, at, None),
        (DAY, "block", None, None, None),
        (DAY, None, None, None, at),
        (placement.day(NOW - timedelta(days=31)), "hold", None, None, None),
    ]
    body = (await get(client, f"/v1/held/{place.encode()}")).json()
    HeldOneBody.model_validate(body)
    assert body["held"]["text"] == "bad words"
    texts = [message.get("text") for message in body["context"]]
    assert texts == ["1 s before", None, *(f"{n} s before" for n in range(3, 11))]
    assert body["context"][1]["blocked"] is True
    counts = {"held": 2, "blocked": 1, "released": 1, "rejected": 1, "taken_down": 1}
    assert body["record"] == {"user_id": "ann", "days": 30, **counts, "more": False}


async def test_a_channel_nobody_has_spoken_in_gives_no_context(client: Client, database: MemoryDatabase):
    place = hold(database, 5, channel="fresh")
    assert (await get(client, f"/v1/held/{place.encode()}")).json()["context"] == []


@pytest.mark.parametrize("held_id", ["nonsense", "%2e%2e", HeldId(DAY, "other", 2, 5).encode()])
async def test_what_is_not_held_is_404(client: Client, database: MemoryDatabase, held_id: str):
    hold(database, 5)
    assert (await get(client, f"/v1/held/{held_id}")).status_code == 404


async def test_a_decision_without_its_event_spoils_no_list(client: Client, database: MemoryDatabase):
    """History was written again from a log that had forgotten what was held."""
    place = hold(database, 1)
    lost = HeldId(DAY, "gone", 2, 7)
    database.held["acme", DAY].append(("gone", None, None, None, None, line(Verb.RELEASE, "gone"), None))
    body = (await get(client, "/v1/held")).json()
    assert [entry["held_id"] for entry in body["held"]] == [place.encode()]
    assert (await get(client, f"/v1/held/{lost.encode()}")).status_code == 404


async def test_another_tenants_is_404_like_none(client: Client, database: MemoryDatabase):
    place = hold(database, 5)
    reply = await get(client, f"/v1/held/{place.encode()}", "stranger")
    assert reply.status_code == 404


async def test_the_audit_trail_is_newest_first(client: Client, database: MemoryDatabase):
    database.decisions["acme", DAY] = [line(Verb.BLOCK, f"m{n}", minutes=n, reason="spam") for n in (2, 0, 1)]
    body = (await get(client, "/v1/review/decisions?limit=2")).json()
    DecisionsBody.model_validate(body)
    assert [one["message_id"] for one in body["decisions"]] == ["m2", "m1"]
    assert body["more"] is True
    assert body["decisions"][0]["moderator"] == "eve"
    assert (await get(client, "/v1/review/decisions?day=2026-03-13")).json()["decisions"] == []


async def test_a_blocked_message_keeps_its_place_and_nothing_else(client: Client, database: MemoryDatabase):
    database.put(say("a", NOW - timedelta(seconds=3), late=True))
    database.put(say("b", NOW - timedelta(seconds=2), text="gone"), blocked=True)
    database.put(say("c", NOW - timedelta(seconds=1), text="never"), blocked=True, created=False)
    reply = await get(client, "/v1/channels/general/messages", "read")
    PageBody.model_validate(reply.json())
    marker, late = reply.json()["messages"]
    assert marker == {
        "message_id": "b",
        "sent_at": marker["sent_at"],
        "deleted": True,
        "blocked": True,
    }
    assert late["late"] is True
    assert (await get(client, "/v1/channels/general/messages/c", "read")).status_code == 404
    assert "gone" not in (await get(client, "/v1/channels/general/messages/b", "read")).text
