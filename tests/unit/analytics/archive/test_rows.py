from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from analytics.archive.rows import Row, Unreadable, arrow_batch, read_row
from infra.contracts import archive, codec
from infra.contracts.archive import ArchiveTable
from infra.contracts.records import Action, Held, Judged, Severity, Verdict
from tests.unit.analytics.archive.records import NOW, event

VERDICT = Verdict(action=Action.HOLD, rule="pii", version=3, reason="an address", matches=2, severity=Severity.HIGH)
IN_SHADOW = msgspec.structs.replace(VERDICT, shadow=True)
SRC = ("src", b"ingest/3/41/7")


def read(table: ArchiveTable, value: bytes | None, *headers: tuple[str, bytes | None]) -> dict[str, Any]:
    row = read_row(table, value, list(headers))
    assert row is not None
    return dict(zip(table.names, row, strict=True))


def stored(table: ArchiveTable, *rows: Row) -> list[dict[str, Any]]:
    """The rows as Arrow gives them back."""
    return list(pa.record_batch(arrow_batch(table, rows)).to_pylist())


def test_an_envelope_becomes_a_row_with_its_source_and_its_rules() -> None:
    one = event(1, properties={"a": [1, "é"]}, context={"os": "x"}, is_bot=True, client_time=NOW, reply_to="m0")
    body = codec.encode(one)
    row = read_row(archive.EVENTS, body, [SRC, ("rule", b"a@1"), ("rule", b"b@2")])
    assert row is not None
    (found,) = stored(archive.EVENTS, row)
    assert found == {
        "day": NOW.date(),
        "tenant": "acme",
        **{name: getattr(one, name) for name in ("id", "type", "time", "received_at", "client_time")},
        **{name: getattr(one, name) for name in ("channel_id", "user_id", "text", "reply_to")},
        **dict.fromkeys(("anonymous_id", "message_id", "thread_id", "reaction", "source", "request_id")),
        "is_bot": True,
        "historical": None,
        "late": None,
        "properties": '{"a":[1,"é"]}',
        "context": '{"os":"x"}',
        **{"src_topic": "ingest", "src_partition": 3, "src_offset": 41, "src_index": 7},
        "rule": "a@1,b@2",
    }


def test_every_field_of_an_envelope_has_a_column() -> None:
    assert {c.name for c in archive.EVENT} == set(type(event(1)).__struct_fields__) - {"tenant"}


def test_a_held_record_becomes_a_row_with_its_verdict() -> None:
    found = read(archive.HELD, msgspec.json.encode(Held(event=event(2), verdict=VERDICT)), SRC)
    assert (found["id"], found["text"], found["src_offset"]) == ("e2", "text 2", 41)
    assert [found[c.name] for c in archive.VERDICT] == ["hold", "pii", 3, "an address", 2, "high", False]


def test_a_verdict_becomes_a_row_of_the_day_it_was_received() -> None:
    judged = Judged(tenant="acme", event_id="e1", channel_id=None, received_at=NOW, verdict=IN_SHADOW, applied=False)
    row = read_row(archive.VERDICTS, msgspec.json.encode(judged), [SRC])
    assert row is not None
    (found,) = stored(archive.VERDICTS, row)
    assert (found["day"], found["event_id"], found["applied"], found["action"]) == (NOW.date(), "e1", False, "hold")
    assert (found["severity"], found["shadow"]) == ("high", True)


def test_the_day_is_that_of_the_time_in_utc() -> None:
    late = datetime(2026, 3, 1, 23, 30, tzinfo=timezone(timedelta(hours=-2)))
    row = read_row(archive.EVENTS, codec.encode(event(1, time=late)), [])
    assert row is not None
    (found,) = stored(archive.EVENTS, row)
    assert (found["day"].isoformat(), found["time"]) == ("2026-03-02", late.astimezone(UTC))


def test_heartbeats_and_others_of_ours_are_no_rows() -> None:
    for kind in (b"heartbeat", b"another"):
        assert read_row(archive.EVENTS, b"anything", [("kind", kind)]) is None
    beat = event(1, type="hubbub.heartbeat", tenant="", received_at=None)
    assert read_row(archive.EVENTS, codec.encode(beat), []) is None


def test_a_source_that_is_none_and_objects_that_are_missing_are_empty() -> None:
    found = read(archive.EVENTS, codec.encode(event(1)), ("src", b"nonsense"), ("src", None))
    assert [found[name] for name in ("src_topic", "src_offset", "properties", "context", "rule")] == [None] * 5


@pytest.mark.parametrize("table", archive.TABLES, ids=lambda table: table.name)
@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b"[" * 10_000,
        b'{"event":1,"verdict":2}',
        b'{"id":"\\ud800"}',
        b'{"id":"\xff"}',
    ],
)
def test_poison_is_unreadable(table: ArchiveTable, value: bytes | None) -> None:
    with pytest.raises(Unreadable):
        read_row(table, value, [])


@pytest.mark.parametrize("fields", [{"tenant": None}, {"received_at": None}])
def test_what_the_router_did_not_stamp_is_unreadable(fields: dict[str, Any]) -> None:
    with pytest.raises(Unreadable, match=next(iter(fields))):
        read_row(archive.EVENTS, codec.encode(event(1, **fields)), [])


def test_a_raw_object_that_is_no_text_is_unreadable() -> None:
    body = codec.encode(event(1, properties={"a": "b"})).replace(b'"b"', b'"\xff"')
    with pytest.raises(Unreadable):
        read_row(archive.EVENTS, body, [])


def test_a_number_that_no_column_holds_is_unreadable() -> None:
    held = msgspec.json.encode(Held(event=event(2), verdict=VERDICT)).replace(
        b'"matches":2', b'"matches":1' + b"0" * 30
    )
    with pytest.raises(Unreadable, match="matches"):
        read_row(archive.HELD, held, [])
    with pytest.raises(Unreadable, match="src_offset"):
        read_row(archive.EVENTS, codec.encode(event(1)), [("src", b"ingest/1/1" + b"0" * 30 + b"/1")])
