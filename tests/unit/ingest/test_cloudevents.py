import base64
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.contracts.events import MAX_EVENT_BYTES, Event, Invalid, check
from ingest import cloudevents
from ingest.errors import Refused


def cloudevent(**fields: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": "m-1",
        "source": "/chat/eu-1",
        "type": "message.sent",
        "subject": "general",
        "time": "2026-03-14T09:26:50.123Z",
        "data": {"user_id": "ada", "text": "Hello"},
        **fields,
    }


def converted(sent: Any) -> Event:
    return cloudevents.decode(msgspec.json.encode(sent), limit=MAX_EVENT_BYTES)


def test_attributes_and_data_are_one_event():
    data = {"user_id": "ada", "text": "Hello", "context": {"os": "linux"}, "properties": {"mood": "fine"}}
    event = converted(cloudevent(data=data, datacontenttype="application/json", traceparent="00-1"))
    assert event == Event(
        id="m-1",
        type="message.sent",
        time=datetime(2026, 3, 14, 9, 26, 50, 123_000, UTC),
        channel_id="general",
        user_id="ada",
        text="Hello",
        properties={"mood": "fine"},
        context={"os": "linux", "cloudevents": {"source": "/chat/eu-1", "traceparent": "00-1"}},
    )


def test_packed_data_is_data():
    packed = base64.b64encode(b'{"user_id":"ada","text":"Hello"}').decode()
    sent = cloudevent(data_base64=packed)
    del sent["data"]
    assert converted(sent) == converted(cloudevent())


def test_an_event_without_a_channel():
    sent = cloudevent(type="com.example.poll.closed", data=None, subject=None)
    with pytest.raises(Invalid) as refused:
        converted(sent)
    assert cloudevents.FORM.explain(refused.value).field == "data.user_id"
    assert converted({**sent, "data": {"user_id": "ada"}}).type == "com.example.poll.closed"


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"specversion": "0.3"}, "invalid_field", "specversion"),
        ({"source": None}, "missing_field", "source"),
        ({"id": None}, "invalid_field", "id"),
        ({"time": "yesterday"}, "bad_time", "time"),
        ({"type": "com.example.someEvent"}, "invalid_field", "type"),
        ({"subject": None}, "missing_field", "subject"),
        ({"subject": "x" * 201}, "invalid_field", "subject"),
        ({"data": "text"}, "invalid_field", "data"),
        ({"data": {"user_id": "ada", "text": "x", "colour": "red"}}, "invalid_field", "colour"),
        ({"data": {"user_id": "ada", "text": "x", "time": "now"}}, "invalid_field", "data.time"),
        ({"data": {"user_id": "ada", "text": "x", "channel_id": "other"}}, "invalid_field", "subject"),
        ({"data": {"user_id": "ada"}}, "missing_field", "data.text"),
        ({"data": None, "data_base64": "!"}, "invalid_field", "data_base64"),
        ({"data": None, "data_base64": base64.b64encode(b"text").decode()}, "invalid_field", "data_base64"),
        ({"extension": {"a": 1}}, "invalid_field", "extension"),
        ({"data": {"user_id": "ada", "text": "x", "context": []}}, "invalid_field", "data.context"),
    ],
)
def test_what_is_wrong_is_named_as_the_sender_knows_it(fields, code, field):
    with pytest.raises(Invalid) as refused:
        converted(cloudevent(**fields))
    told = cloudevents.FORM.explain(refused.value)
    assert (told.code, told.field) == (code, field)


def test_one_and_many():
    assert len(cloudevents.parse(msgspec.json.encode(cloudevent())).items) == 1
    assert len(cloudevents.parse_many(b" [1, 2]").items) == 2
    for body in (b"{}", b"[]", b"", b"[1"):
        with pytest.raises(Refused):
            cloudevents.parse_many(body)


def test_attributes_may_be_headers():
    sent = cloudevent(subject="café au lait")
    headers = {
        f"ce-{name}".encode(): value.replace("é", "%C3%A9").replace(" ", "%20").encode()
        for name, value in sent.items()
        if name != "data"
    }
    body = msgspec.json.encode(sent["data"])
    (item,) = cloudevents.parse_binary(body, {**headers, b"content-type": b"application/json"}).items
    assert cloudevents.decode(item, limit=MAX_EVENT_BYTES) == converted(sent)


values = st.none() | st.booleans() | st.integers(-(2**50), 2**50) | st.text(max_size=20)
attributes = st.sampled_from(["specversion", "id", "source", "type", "subject", "time", "data", "data_base64"])


@given(st.dictionaries(attributes | st.text(max_size=10), values | st.dictionaries(st.text(max_size=5), values)))
def test_anything_becomes_a_valid_event_or_is_refused(fields):
    try:
        event = converted({**cloudevent(), **fields})
    except Invalid as refused:
        assert refused.code  # noqa: PT017 - the other outcome is an event
    else:
        check(event)
