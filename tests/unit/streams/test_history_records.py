from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from infra.contracts import codec, tables
from infra.contracts.events import Event, Invalid, to_ms
from infra.contracts.records import Action, Held, Verdict
from streams.history.cells import Cells
from streams.history.records import steps_of
from streams.history.rows import Row
from streams.history.store import Work

NOW = datetime(2026, 3, 1, tzinfo=UTC)
EVENT = Event(
    id="019ca93e-1000-7000-8000-000000000001",
    type="message.sent",
    time=NOW,
    channel_id="general",
    user_id="ann",
    text="é\0",
    tenant="acme",
    received_at=NOW,
)


class Record:
    def __init__(self, value: bytes | None, *headers: tuple[str, bytes | None]) -> None:
        self._value, self._headers = value, list(headers)

    def value(self) -> bytes | None:
        return self._value

    def headers(self) -> Any:
        return self._headers or None

    def partition(self) -> int:
        return 3

    def offset(self) -> int:
        return 42


def rows(record: Record, *, held: bool = False) -> list[Row]:
    work = Work(steps_of(record, held=held, cells=Cells(5.0), now=0.0), None)
    found: list[Row] = []
    while step := work.advance():
        found.extend(part for part in step if isinstance(part, Row))
        work.results = []
    return found


def test_the_envelope_is_stored_as_it_came_with_its_source_and_rules() -> None:
    body = b" " + codec.encode(EVENT)
    found = rows(Record(body, ("src", b"ingest/1/2/3"), ("rule", b"a@1"), ("rule", b"b@2"), ("other", None)))
    (created,) = [row for row in found if row.statement is tables.CREATE_MESSAGE]
    assert created.values[1:4] == (body, "ingest/1/2/3", "a@1,b@2")


def test_headers_may_be_missing() -> None:
    (created,) = [r for r in rows(Record(codec.encode(EVENT))) if r.statement is tables.CREATE_MESSAGE]
    assert created.values[2:4] == (None, "")


@pytest.mark.parametrize(
    "record",
    [
        Record(b"anything", ("kind", b"heartbeat")),
        Record(msgspec.json.encode({"id": "h", "type": "hubbub.heartbeat", "time": NOW, "user_id": "router"})),
    ],
)
def test_heartbeats_ask_for_nothing(record: Record) -> None:
    assert rows(record) == []


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize(
    "value",
    [None, b"", b"\xff", b"[]", b"{}", b"[" * 10_000, b'{"event":1,"verdict":2}', b'{"event":{},"verdict":"\xff"}'],
)
def test_poison_is_invalid(value: bytes | None, held: bool) -> None:
    with pytest.raises(Invalid):
        rows(Record(value), held=held)


def test_a_held_record_keeps_both_its_parts() -> None:
    verdict = Verdict(action=Action.HOLD, rule="words", version=1, reason="a word")
    held = Held(event=EVENT, verdict=verdict)
    row, note = rows(Record(msgspec.json.encode(held), ("src", b"ingest/1/2/3")), held=True)
    assert row.statement is tables.HOLD_MESSAGE
    written = -to_ms(NOW) * 1000
    parts = (codec.encode(EVENT), msgspec.json.encode(verdict), "ingest/1/2/3", "3/42")
    assert row.values == (written, *parts, "acme", "2026-03-01", EVENT.id)
    assert note.statement is tables.NOTE_STOPPED
    assert note.values == (written, "hold", "acme", "ann", "2026-03-01", EVENT.id)
