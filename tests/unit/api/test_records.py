import json

from api.live.records import Decoder
from tests.unit.api.fake_log import FakeMessage

DECODER = Decoder("pre-")
EVENT = {"id": "e", "type": "message.sent", "tenant": "acme", "channel_id": "c", "text": "a\nb"}


def message(body: bytes | None, src: bytes | None = None) -> FakeMessage:
    return FakeMessage("events", 3, 7, body, [("rule", b"x@1"), ("src", src)] if src else None)


def test_the_envelope_passes_as_it_is() -> None:
    body = json.dumps(EVENT).encode()
    record = DECODER.decode(message(body, b"pre-ingest/5/100/2"))
    assert record is not None
    assert (record.tenant, record.channel_id, record.type, record.message_id) == ("acme", "c", "message.sent", "e")
    assert (record.partition, record.offset, record.source, record.src) == (3, 7, 5, (100, 2))
    assert record.value is body
    assert record.late is False


def test_a_released_message_is_told_from_others() -> None:
    record = DECODER.decode(message(json.dumps({**EVENT, "late": True}).encode()))
    assert record is not None
    assert record.late is True


def test_another_topics_source_is_kept_apart() -> None:
    record = DECODER.decode(message(json.dumps(EVENT).encode(), b"elsewhere/5/1/0"))
    assert record is not None
    assert record.source == "elsewhere/5"


def test_a_src_that_is_none_makes_no_replay() -> None:
    for src in (None, b"", b"nonsense", b"a/b/c/d"):
        record = DECODER.decode(message(json.dumps(EVENT).encode(), src))
        assert record is not None
        assert record.source is None


def test_line_breaks_between_tokens_become_spaces() -> None:
    body = json.dumps(EVENT, indent=1).replace("\n", "\r\n").encode()
    record = DECODER.decode(message(body))
    assert record is not None
    assert b"\n" not in record.value
    assert b"\r" not in record.value
    assert json.loads(record.value) == EVENT


def test_what_is_no_event_only_moves_the_position() -> None:
    beat = json.dumps({"id": "h", "type": "hubbub.heartbeat", "tenant": "acme"}).encode()
    for body in (None, b"", b"{", b"[]", b'{"id":"x"}', b"\xff", json.dumps({**EVENT, "tenant": None}).encode(), beat):
        assert DECODER.decode(message(body)) is None
