"""The codec: what goes in comes out, and what must not come in is refused by name."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.contracts import codec, events
from infra.contracts.events import Event, Invalid

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=500)
ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=100)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)
sent = st.builds(
    Event,
    id=ids,
    type=st.just(events.MESSAGE_SENT),
    time=st.datetimes(timezones=st.timezones()).map(events.truncate_ms),
    channel_id=st.text("abc#- é", min_size=1, max_size=200),
    user_id=st.text("xyz0", min_size=1, max_size=20),
    text=texts,
    thread_id=st.none() | ids,
    is_bot=st.none() | st.booleans(),
    properties=st.none() | st.dictionaries(texts, json_values, max_size=3),
)

MINIMAL = {"id": "a", "type": "message.sent", "time": "2026-01-01T00:00:00Z", "channel_id": "c", "user_id": "u"}


def body(**fields):
    return json.dumps({k: v for k, v in {**MINIMAL, "text": "hi", **fields}.items() if v is not ...}).encode()


@given(sent)
def test_decoding_gives_back_what_was_encoded(event):
    assert codec.decode(codec.encode(event)) == event


@given(st.lists(sent, max_size=20))
def test_a_frame_splits_into_its_envelopes(found):
    encoded = [codec.encode(event) for event in found]
    assert [bytes(raw) for raw in codec.split(codec.frame(encoded))] == encoded


@given(st.lists(st.integers(1, codec.MAX_FRAME_BYTES - 3), max_size=30))
def test_frames_keep_order_and_stay_within_the_limit(sizes):
    envelopes = [bytes(1) * size for size in sizes]
    runs = codec.frames(envelopes)
    assert [e for run in runs for e in run] == envelopes
    assert all(len(codec.frame(run)) <= codec.MAX_FRAME_BYTES for run in runs)


@pytest.mark.parametrize(
    ("raw", "code", "field"),
    [
        (body(id=...), "missing_field", "id"),
        (body(channel_id=...), "missing_field", "channel_id"),
        (body(channel_id=""), "invalid_field", "channel_id"),
        (body(user_id=...), "missing_field", "user_id"),
        (body(user_id="undefined"), "bad_user", "user_id"),
        (body(user_id="  "), "bad_user", "user_id"),
        (body(anonymous_id="00000000-0000-0000-0000-000000000000"), "bad_user", "anonymous_id"),
        (body(text=...), "missing_field", "text"),
        (body(text="é" * 5000), "too_large", "text"),
        (body(type="message.edited"), "missing_field", "message_id"),
        (body(type="reaction.added", message_id="m"), "missing_field", "reaction"),
        (body(type="hubbub.heartbeat"), "forbidden_type", "type"),
        (body(type="Message Sent"), "invalid_field", "type"),
        (body(time="yesterday"), "bad_time", "time"),
        (body(time="2026-01-01T00:00:00"), "bad_time", "time"),
        (body(id="x" * 101), "invalid_field", "id"),
        (body(colour="red"), "invalid_field", "colour"),
        (body(properties={"a": 1}, text=5), "invalid_field", "text"),
        (b'{"id":"a"', "invalid_field", None),
        (b"\xff\xfe", "invalid_field", None),
        (b'{"id":"\\ud800","type":"a"}', "invalid_field", None),
        (body(properties={"blob": "x" * codec.MAX_ENVELOPE_BYTES}), "too_large", None),
    ],
)
def test_a_bad_event_is_refused_by_code_and_field(raw, code, field):
    with pytest.raises(Invalid) as refused:
        codec.decode(raw)
    assert (refused.value.code, refused.value.field) == (code, field)


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_but_invalid(raw):
    for read in (codec.decode, codec.split):
        try:
            read(raw)
        except Invalid:
            continue


@pytest.mark.parametrize("depth", [31, 33, 900, 10_000])
def test_depth_is_counted_without_recursion(depth):
    inner = "[" * (depth - 2) + "]" * (depth - 2)
    raw = body(properties=...)[:-1] + b', "properties": {"a": ' + inner.encode() + b"}}"
    if depth <= events.MAX_DEPTH:
        assert codec.decode(raw).properties
    else:
        with pytest.raises(Invalid) as refused:
            codec.decode(raw)
        assert refused.value.code == "too_deep"


def test_brackets_in_strings_are_not_depth():
    assert codec.decode(body(properties={"a": '[{"\\' * 200})).properties


def test_one_object_is_a_frame_of_one():
    assert [bytes(r) for r in codec.split(b' {"a": 1}')] == [b' {"a": 1}']


@pytest.mark.parametrize("raw", [b"", b"12", b'"x"', b"[1", b"[1,]", b'{"a":1}{', b"null"])
def test_what_is_no_frame_is_refused(raw):
    with pytest.raises(Invalid):
        codec.split(raw)


def test_a_fingerprint_ignores_key_order_and_sees_content():
    one = codec.decode(body(properties={"a": 1, "b": 2}))
    two = codec.decode(body(properties={"b": 2, "a": 1}))
    assert codec.fingerprint(one) == codec.fingerprint(two)
    assert codec.fingerprint(one) != codec.fingerprint(msgspec.structs.replace(two, text="ho"))


def test_the_event_wins_over_the_batch_context():
    event = codec.decode(body(context={"os": "linux"}))
    events.merge_context(event, {"os": "macos", "app": "web"})
    assert event.context == {"os": "linux", "app": "web"}
