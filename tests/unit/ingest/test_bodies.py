import asyncio
import gzip
import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.contracts.events import MAX_BATCH_BYTES, MAX_BATCH_EVENTS
from ingest import bodies
from ingest.doors import DOORS
from ingest.errors import Disconnected, Refused


def receiver(*parts: bytes, hang: bool = False, gone: bool = False):
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    if gone:
        messages.append({"type": "http.disconnect"})
    elif not hang:
        messages[-1]["more_body"] = False

    async def receive():
        if messages:
            return messages.pop(0)
        await asyncio.Event().wait()

    return receive


async def read(*parts: bytes, length=None, encoding=None, seconds=5.0, **how):
    return await bodies.read(receiver(*parts, **how), length=length, encoding=encoding, seconds=seconds)


@given(parts=st.lists(st.binary(max_size=50), min_size=1, max_size=5), zipped=st.booleans())
async def test_a_body_comes_out_whole(parts, zipped):
    body = b"".join(parts)
    if zipped:
        packed = gzip.compress(body)
        assert await read(packed[:7], packed[7:], encoding=b"gzip") == body
    else:
        assert await read(*parts) == body


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ({"parts": [b""], "length": b"%d" % (MAX_BATCH_BYTES + 1)}, 413),
        ({"parts": [b"x" * (MAX_BATCH_BYTES + 1)]}, 413),
        ({"parts": [b"x" * 300_000, b"x" * 300_000], "hang": True}, 413),
        ({"parts": [b"{}"], "encoding": b"br"}, 415),
        ({"parts": [b"{}"], "encoding": b"gzip, gzip"}, 415),
        ({"parts": [b"{}"], "encoding": b"gzip"}, 400),
        ({"parts": [gzip.compress(b"abc" * 999)[:-9]], "encoding": b"gzip"}, 400),
        ({"parts": [gzip.compress(b"a") * 2], "encoding": b"gzip"}, 400),
        ({"parts": [b"x"], "hang": True, "seconds": 0.01}, 503),
    ],
)
async def test_a_body_is_refused(how, status):
    parts = how.pop("parts")
    with pytest.raises(Refused) as refused:
        await read(*parts, **how)
    assert refused.value.status == status


@pytest.mark.parametrize("parts", [[], [b"half"]])
async def test_a_client_that_goes_away_is_told_nothing(parts):
    with pytest.raises(Disconnected):
        await read(*parts, gone=True)


def test_a_bomb_is_not_unpacked():
    bomb = gzip.compress(bytes(200_000_000), 9)
    assert len(bomb) < MAX_BATCH_BYTES
    tracemalloc.start()
    try:
        with pytest.raises(Refused) as refused:
            bodies.gunzip(bomb)
        assert tracemalloc.get_traced_memory()[1] < 4 * MAX_BATCH_BYTES
    finally:
        tracemalloc.stop()
    assert refused.value.status == 413


@pytest.mark.parametrize(
    ("header", "media"),
    [
        (b"application/json", bodies.JSON),
        (b"Application/JSON; charset=UTF-8", bodies.JSON),
        (b'application/json;charset="utf-8"', bodies.JSON),
        (b"application/x-ndjson", bodies.NDJSON),
    ],
)
def test_known_media_types(header, media):
    assert bodies.media_type(header, (bodies.JSON, bodies.NDJSON)) == media


@pytest.mark.parametrize("header", [None, b"", b"text/plain", b"application/json; charset=latin-1", b"\xff"])
def test_unknown_media_types(header):
    with pytest.raises(Refused) as refused:
        bodies.media_type(header, (bodies.JSON,))
    assert refused.value.status == 415


def test_one_many_and_lines_are_the_same_events():
    one, two = b'{"id":"a"}', b'{"id":"b"}'
    assert [bytes(i) for i in bodies.parse_events(one).items] == [one]
    assert [bytes(i) for i in bodies.parse_events(b" [%s , %s]" % (one, two)).items] == [one, two]
    assert [bytes(i) for i in bodies.parse_lines(one + b"\r\n\n" + two + b"\n").items] == [
        one + b"\r",
        two,
    ]


def test_a_batch_says_something_about_all_its_events():
    body = b'{"batch":[{"id":"a"}],"sent_at":"2026-01-01T00:00:00Z","context":{"os":"x"},"historical":true}'
    batch = bodies.parse_batch(body)
    assert [bytes(item) for item in batch.items] == [b'{"id":"a"}']
    assert batch.context == {"os": "x"}
    assert batch.historical
    assert batch.sent_at is not None
    bare = bodies.parse_batch(b'{"batch":[1],"context":null,"sent_at":null}')
    assert (bare.context, bare.sent_at, bare.historical) == (None, None, False)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b'{"batch":[]}', 400),
        (b"{", 400),
        (b"\xff", 400),
        (b"null", 400),
        (b'{"batch":{}}', 400),
        (b'{"batch":[1],"sentAt":1}', 400),
        (b'{"batch":[1],"sent_at":"2026-01-01T00:00:00"}', 400),
        (b'{"batch":[1],"context":[]}', 400),
        (b'{"batch":[1],"context":{"a":"%s"}}' % (b"x" * bodies.MAX_CONTEXT_BYTES), 400),
        (b'{"batch":[1],"context":%s1%s}' % (b'{"a":' * 32, b"}" * 32), 400),
        (b'{"batch":' + b"[" * 100_000, 400),
        (b'{"batch":[%s]}' % b",".join([b"1"] * (MAX_BATCH_EVENTS + 1)), 413),
    ],
)
def test_a_bad_batch_is_refused(body, status):
    with pytest.raises(Refused) as refused:
        bodies.parse_batch(body)
    assert refused.value.status == status


@given(body=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_parsed_or_refused(body):
    for parse in (parser for parsers in DOORS.values() for parser in parsers.values()):
        try:
            assert parse(body).items
        except Refused as refused:
            assert refused.status == 400  # noqa: PT017 - the other outcome is a batch


@given(st.lists(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=3), min_size=1))
def test_an_array_is_cut_into_its_elements(elements):
    items = bodies.parse_events(json.dumps(elements).encode()).items
    assert [json.loads(bytes(item)) for item in items] == elements
