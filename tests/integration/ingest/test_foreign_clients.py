"""Real, unmodified clients of Segment and CloudEvents against a real ingest and a real Kafka."""

import secrets
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec
import pytest
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from segment.analytics.client import Client

from infra.contracts.control import Limits, Scope, Tenant
from infra.contracts.topics import INGEST
from infra.runtime.control import publish
from infra.runtime.settings import Kafka
from streams.dead_letters import find_letter, list_letters, replay
from tests.integration.ingest.serving import Guest, IngestProcess, serving, wait_until
from tests.segment import clients

CALLS = 300


@pytest.fixture(scope="module")
def process(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[IngestProcess]:
    with serving(kafka, tmp_path_factory.mktemp("ingest") / "log") as process:
        yield process


@pytest.fixture
def guest(process: IngestProcess) -> Guest:
    guest = Guest(ingest=process)
    guest.move_in()
    return guest


def _letters(kafka: Kafka, guest: Guest) -> list[Any]:
    return [letter for letter in list_letters(kafka, 100) if f"/{guest.tenant}/" in letter.key]


@pytest.mark.parametrize("client", ["python", "python gzip", "node"])
def test_every_call_of_a_segment_client_is_stored_once(guest: Guest, client: str) -> None:
    key = guest.keys[Scope.WRITE]
    if client == "node":
        assert clients.send_by_node(guest.url, key, CALLS, "room") == []
    else:
        assert clients.send_by_python(guest.url, key, CALLS, "room", gzip="gzip" in client) == []
    stored = guest.stored(INGEST)
    messages = [event for event in stored if event.type == "message.sent"]
    assert Counter(event.text for event in messages) == Counter(clients.texts(CALLS, "room"))
    assert {event.channel_id for event in messages} == {"room"}
    others = Counter(event.type for event in stored if event.type != "message.sent")
    assert others == {"identify": 5, "page": 5, "screen": 5, "group": 5, "alias": 5, "track.poll_voted": 5}
    assert len({event.id for event in stored}) == CALLS
    assert all(event.source == "segment" for event in stored)
    assert all(event.context and event.context["library"]["version"] for event in stored)


@pytest.mark.parametrize("client", ["python", "node"])
def test_a_client_that_is_limited_comes_again_until_all_is_stored(kafka: Kafka, guest: Guest, client: str) -> None:
    rate = 10  # a hundred at once, and then ten a second: whole batches are sent again
    publish(kafka, [Tenant(id=guest.tenant, limits=Limits(channel_rate=rate))])
    wait_until(lambda: _is_limited_to(guest, rate), 10)
    send = clients.send_by_node if client == "node" else clients.send_by_python
    assert send(guest.url, guest.keys[Scope.WRITE], 160, "room") == []
    stored = Counter(event.text for event in guest.stored(INGEST) if event.type == "message.sent")
    assert stored == Counter(clients.texts(160, "room"))


def _is_limited_to(guest: Guest, rate: int) -> bool:
    """Whether ingest goes by this rate of channels: one that nobody else uses is asked for too much."""
    about = {"type": "channel.joined", "time": "2026-03-14T09:26:53Z", "channel_id": "probe", "user_id": "probe"}
    events = [{"id": f"probe-{secrets.token_hex(4)}", **about} for _ in range(rate * 10 + 1)]
    headers = {"Authorization": f"Bearer {guest.keys[Scope.WRITE]}"}
    errors = httpx.post(f"{guest.url}/v1/events", json=events, headers=headers).json().get("errors", [])
    return any(f"{rate}/s" in error["message"] for error in errors)


def test_what_breaks_the_contract_is_a_letter_that_can_be_repaired(kafka: Kafka, guest: Guest) -> None:
    failed: list[Any] = []
    client = Client(guest.keys[Scope.WRITE], host=guest.url, on_error=lambda *found: failed.append(found))
    for _ in range(2):  # as after a lost answer
        client.track(
            "ada", "Message Sent", {"text": "where?"}, message_id="lost", timestamp=datetime(2026, 3, 14, tzinfo=UTC)
        )
        client.flush()
    client.track("ada", "Message Edited", {"channel_id": "c", "message_id": "m", "text": "mine"}, message_id="edit")
    client.shutdown()
    assert not failed
    found = {letter.key.split("/")[2]: letter for letter in _letters(kafka, guest)}
    assert {name: (x.stage, x.code) for name, x in found.items()} == {
        "lost": ("ingest", "missing_field"),
        "edit": ("ingest", "forbidden_type"),
    }
    assert found["lost"].error == "properties.channel_id: message.sent needs a channel_id"
    assert find_letter(kafka, found["lost"].key).value == found["lost"].value
    assert not guest.stored(INGEST)
    repaired = msgspec.json.encode({**msgspec.json.decode(found["lost"].value), "channel_id": "found"})
    assert replay(kafka, found["lost"].key, repaired).keys == (found["lost"].key,)
    assert replay(kafka, found["edit"].key).keys == (found["edit"].key,)
    stored = {event.id: event for event in guest.stored(INGEST)}
    assert (stored["lost"].channel_id, stored["lost"].text, stored["lost"].tenant) == ("found", "where?", guest.tenant)
    assert (stored["edit"].type, stored["edit"].text) == ("message.edited", "mine")


def test_cloudevents_one_many_and_by_headers(guest: Guest) -> None:
    def make(number: int) -> CloudEvent:
        attributes = {"id": f"ce-{number}", "type": "message.sent", "source": "/chat", "subject": "room"}
        return CloudEvent(attributes, {"user_id": "ada", "text": f"text {number}"})

    headers = {"Authorization": f"Bearer {guest.keys[Scope.WRITE]}"}
    for made in (to_structured_event(make(1)), to_binary_event(make(2))):
        plain = {"content-type": "application/json", **made.headers}  # binary mode leaves that to its sender
        reply = httpx.post(f"{guest.url}/v1/events", content=made.body, headers={**headers, **plain})
        assert (reply.status_code, reply.json()) == (200, {"accepted": 1, "duplicates": 0})
    many = b"[%s]" % b",".join(to_structured_event(make(n)).body for n in range(1, 101))
    media = {"content-type": "application/cloudevents-batch+json"}
    reply = httpx.post(f"{guest.url}/v1/events", content=many, headers={**headers, **media})
    # `time` is made anew by each `make`, so 1 and 2 come with another body.
    assert (reply.status_code, reply.json()["accepted"]) == (207, 98)
    assert [(e["id"], e["code"]) for e in reply.json()["errors"]] == [("ce-1", "conflict"), ("ce-2", "conflict")]
    stored = guest.stored(INGEST)
    assert Counter(event.id for event in stored) == Counter(f"ce-{n}" for n in range(1, 101))
    assert {(event.channel_id, event.source, event.type) for event in stored} == {
        ("room", "cloudevents", "message.sent")
    }
