from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.contracts.events import KNOWN_TYPES, MAX_EVENT_BYTES, Event, Invalid, check
from ingest import segment
from ingest.errors import Refused
from ingest.forms import NATIVE
from tests.unit.ingest.deliveries import event as native
from tests.unit.ingest.segment_calls import batch, call, message


def converted(sent: dict[str, Any], kind: str | None = None) -> Event:
    return segment.decode(kind, msgspec.json.encode(sent), limit=MAX_EVENT_BYTES)


def test_a_track_named_for_a_type_is_that_event():
    sent = message(text="Hello", threadId="t-1", is_bot=False, mood="fine")
    event = converted({**sent, "anonymousId": "visitor"})
    assert event == msgspec.convert(
        {
            "id": "m-1",
            "type": "message.sent",
            "time": "2026-03-14T09:26:50.123Z",
            "channel_id": "general",
            "user_id": "ada",
            "anonymous_id": "visitor",
            "thread_id": "t-1",
            "text": "Hello",
            "is_bot": False,
            "properties": {"mood": "fine"},
            "context": {"library": {"name": "analytics-python", "version": "2.4.0"}},
        },
        Event,
    )


@pytest.mark.parametrize("event_type", sorted(KNOWN_TYPES))
@pytest.mark.parametrize("spell", [str, str.title, str.upper, lambda t: t.replace(".", " ").title()])
def test_every_type_is_known_however_it_is_spelt(event_type, spell):
    told = {"channelId": "general", "messageId": "m", "reaction": "+1", "text": "hi"}
    event = converted(call(event=spell(event_type), properties=told))
    assert (event.type, event.channel_id, event.message_id) == (event_type, "general", "m")


@pytest.mark.parametrize(
    ("name", "event_type"),
    [
        ("Order Completed", "track.order_completed"),
        ("orderCompleted", "track.order_completed"),
        ("order.completed", "track.order_completed"),
        ("  Poll -- Voted! ", "track.poll_voted"),
        ("Ünïcode Größe", "track.unicode_groe"),
        ("购买", "track.unnamed"),
        ("hubbub.heartbeat", "track.hubbub_heartbeat"),
        ("2 Fast", "track.2_fast"),
        ("x" * 300, f"track.{'x' * 90}"),
    ],
)
def test_any_other_track_is_named_for_its_event(name, event_type):
    event = converted(call(event=name, properties={"price": 3}))
    assert (event.type, event.properties) == (event_type, {"price": 3, "event": name})


@pytest.mark.parametrize(
    ("kind", "fields", "properties"),
    [
        ("identify", {"traits": {"email": "a@b.example"}}, {"email": "a@b.example"}),
        ("group", {"groupId": "g-1", "traits": {"plan": "x"}}, {"plan": "x", "group_id": "g-1"}),
        (
            "page",
            {"name": "Home", "category": "Docs", "properties": {"name": "own"}},
            {"name": "own", "category": "Docs"},
        ),
        ("screen", {"name": "Settings"}, {"name": "Settings"}),
        ("alias", {"previousId": "visitor"}, {"previous_id": "visitor"}),
        ("identify", {}, None),
    ],
)
def test_the_other_calls_keep_their_name(kind, fields, properties):
    event = converted(call(kind=kind, **fields))
    assert (event.type, event.properties, event.channel_id) == (kind, properties, None)


def test_a_path_says_what_its_calls_are():
    assert converted({**call(), "type": None, "traits": {"a": 1}}, "identify").type == "identify"
    assert converted(call(kind="identify"), "page").type == "page"


def test_people_may_be_numbers_and_the_senders_own_clock_counts():
    event = converted(call(kind="page", userId=42, originalTimestamp="2026-03-14T09:00:00Z"))
    assert (event.user_id, event.time.hour, event.time.minute) == ("42", 9, 0)


def test_what_is_for_segment_alone_is_not_kept():
    sent = call(kind="page", integrations={"All": True}, writeKey="secret", _metadata={"x": 1}, sentAt="x")
    raw = msgspec.json.encode(converted(sent))
    assert b"secret" not in raw
    assert b"integrations" not in raw


def test_context_names_of_ours_are_ours():
    event = converted(call(kind="page", context={"userAgent": "x", "sessionId": "s", "os": {"name": "linux"}}))
    assert event.context == {"user_agent": "x", "session_id": "s", "os": {"name": "linux"}}


@pytest.mark.parametrize(
    ("sent", "code", "field"),
    [
        ({**message(), "messageId": None}, "missing_field", "messageId"),
        ({**message(), "messageId": "x" * 101}, "invalid_field", "messageId"),
        ({**message(), "timestamp": None}, "missing_field", "timestamp"),
        ({**message(), "timestamp": "yesterday"}, "bad_time", "timestamp"),
        ({**message(), "userId": None}, "missing_field", "userId"),
        ({**message(), "userId": "null"}, "bad_user", "userId"),
        ({**message(), "properties": []}, "invalid_field", "properties"),
        (message(channel_id=None), "missing_field", "properties.channel_id"),
        (message(channel_id=7), "invalid_field", "properties.channel_id"),
        (message(text=None), "missing_field", "properties.text"),
        (message(text="x" * 9_000), "too_large", "properties.text"),
        (message(mood="x" * MAX_EVENT_BYTES), "too_large", None),
        (call(event=""), "missing_field", "event"),
        (call(kind="buy"), "invalid_field", "type"),
        (call(kind=""), "missing_field", "type"),
        (17, "invalid_field", None),
    ],
)
def test_what_is_wrong_is_named_as_the_sender_knows_it(sent, code, field):
    with pytest.raises(Invalid) as refused:
        converted(sent)
    told = segment.parse_calls(msgspec.json.encode(batch(call()))).form.explain(refused.value)
    assert (told.code, told.field) == (code, field)


def test_depth_is_bounded():
    deep = b'{"type":"page","properties":' + b'{"a":' * 40 + b"1" + b"}" * 41
    with pytest.raises(Invalid) as refused:
        segment.decode(None, deep, limit=MAX_EVENT_BYTES)
    assert refused.value.code == "too_deep"
    assert segment.salvage(None, deep)["properties"]["original"] == msgspec.Raw(deep)


def test_a_batch_is_segments_by_the_ids_of_its_items():
    theirs = segment.parse_either(msgspec.json.encode(batch(call(), context={"app": "web"})))
    assert (theirs.form.source, theirs.context, len(theirs.items)) == ("segment", {"app": "web"}, 1)
    assert theirs.sent_at is not None
    for properties in ({}, {"messageId": "m"}):
        ours = segment.parse_either(msgspec.json.encode({"batch": [native(properties=properties)]}))
        assert ours.form is NATIVE


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'{"batch":[]}', b'{"batch":1}', b'{"batch":[1],"sentAt":"now"}', b'{"batch":[1],"context":[]}'],
)
def test_a_bad_batch_is_refused(body):
    with pytest.raises(Refused) as refused:
        segment.parse_calls(body)
    assert refused.value.status == 400


@pytest.mark.parametrize("body", [b"", b"[]", b"17", b'{"sentAt":3}', b"{"])
def test_a_bad_call_is_refused(body):
    with pytest.raises(Refused) as refused:
        segment.parse_call("track", body)
    assert refused.value.status == 400


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**50), 2**50) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(
    ["type", "messageId", "userId", "anonymousId", "timestamp", "event", "properties", "traits", "context", "name"]
)


@given(st.dictionaries(names | st.text(max_size=10), json_values, max_size=8), st.sampled_from([None, *segment.CALLS]))
def test_anything_becomes_a_valid_event_or_a_letter(sent, kind):
    raw = msgspec.json.encode(sent)
    try:
        event = segment.decode(kind, raw, limit=MAX_EVENT_BYTES)
    except Invalid:
        kept = segment.salvage(kind, raw)
        assert isinstance(msgspec.json.decode(msgspec.json.encode(kept)), dict)
    else:
        check(event)


@given(st.text(max_size=150))
def test_every_name_makes_a_type(name):
    try:
        event = converted(
            call(event=name, properties={"channel_id": "c", "message_id": "m", "text": "t", "reaction": "r"})
        )
    except Invalid as refused:
        assert (name, refused.field) == ("", "event")  # noqa: PT017 - the other outcome is an event
    else:
        check(event)
        assert event.type in KNOWN_TYPES or event.type.startswith("track.")


@given(json_values)
def test_a_letter_keeps_what_was_sent(value):
    raw = msgspec.json.encode(value)
    kept = msgspec.json.decode(msgspec.json.encode(segment.salvage("track", raw)))
    if "original" in (kept.get("properties") or {}):
        assert kept["properties"]["original"] == value


def test_a_letter_of_bytes_that_are_no_text_is_still_json():
    kept = segment.salvage(None, b'{"messageId":"\xff"}')
    assert "\\xff" in msgspec.json.decode(msgspec.json.encode(kept))["properties"]["original"]
