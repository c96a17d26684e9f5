import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.contracts import codec
from infra.contracts.events import Invalid, from_ms
from infra.contracts.placement import time_of_id
from ingest.importers.jsonl import JsonlFile, parse
from ingest.importers.lines import Line
from ingest.importers.passages import BEGINNING, Record
from tests.unit.ingest.reading import plain

pytestmark = pytest.mark.unit


def _raw(**fields: Any) -> bytes:
    event = {"type": "message.sent", "channel_id": "c", "user_id": "u", "text": "hi", "time": "2020-01-01T00:00:00Z"}
    return json.dumps({k: v for k, v in (event | fields).items() if v is not ...}).encode()


def _line(number: int, **fields: Any) -> Line:
    raw = _raw(**fields)
    return Line(number, 0, len(raw), raw)


def _parse(line: Line) -> Record:
    record = parse(line)
    assert record is not None
    return record


@given(st.datetimes(datetime(1970, 1, 2), datetime(9000, 1, 1)), st.integers(1, (1 << 32) - 1), st.text(max_size=50))
def test_a_line_makes_the_same_id_each_time_and_it_carries_its_time(moment: datetime, number: int, text: str) -> None:
    time = moment.replace(tzinfo=UTC)
    one, two = (_parse(_line(number, time=time.isoformat(), text=text)) for _ in range(2))
    assert one == two
    assert time_of_id(one.id) == time.replace(microsecond=time.microsecond // 1000 * 1000)
    assert codec.decode(one.raw).id == one.id


@given(st.lists(st.tuples(st.integers(1, 1 << 31), st.text(max_size=5)), min_size=2, unique_by=lambda pair: pair[0]))
def test_lines_of_one_millisecond_sort_as_in_their_file(lines: list[tuple[int, str]]) -> None:
    ids = [_parse(_line(number, text=text)).id for number, text in sorted(lines)]
    assert ids == sorted(set(ids))


def test_what_a_line_says_decides_its_id_too() -> None:
    assert _parse(_line(7, text="a")).id != _parse(_line(7, text="b")).id
    assert _parse(_line(7)).id != _parse(_line(8)).id


def test_an_id_of_its_own_is_kept() -> None:
    line = _line(1, id="mine")
    assert _parse(line).id == "mine"
    assert _parse(line).raw == line.raw


def test_events_of_a_channel_share_a_lane_and_others_follow_their_user() -> None:
    assert _parse(_line(1, user_id="a")).lane_of == _parse(_line(2, user_id="b")).lane_of
    with_user = {"type": "session.started", "channel_id": ..., "text": ...}
    assert _parse(_line(1, user_id="a", **with_user)).lane_of == _parse(_line(2, user_id="a", **with_user)).lane_of


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"time": ...}, "missing_field", "time"),
        ({"time": "yesterday"}, "bad_time", "time"),
        ({"time": "1969-01-01T00:00:00Z"}, "bad_time", "time"),
        ({"id": None}, "invalid_field", "id"),
        ({"id": 3}, "invalid_field", "id"),
        ({"user_id": ...}, "missing_field", "user_id"),
        ({"user_id": "null"}, "bad_user", "user_id"),
        ({"colour": "red"}, "invalid_field", "colour"),
        ({"text": "x" * 9_000}, "too_large", "text"),
        ({"properties": {"x": "y" * 33_000}}, "too_large", None),
    ],
)
def test_a_bad_line_is_named_by_code_and_field(fields: dict[str, Any], code: str, field: str | None) -> None:
    with pytest.raises(Invalid) as caught:
        _parse(_line(1, **fields))
    assert (caught.value.code, caught.value.field) == (code, field)


@pytest.mark.parametrize("raw", [b"hello", b"[1]", b"3", b'{"time"', b"\xff\xfe", b"[" * 5_000, None])
def test_what_is_no_event_is_refused(raw: bytes | None) -> None:
    with pytest.raises(Invalid):
        parse(Line(1, 0, 0, raw))


@pytest.mark.parametrize("raw", [b"", b"  \t"])
def test_an_empty_line_says_nothing(raw: bytes) -> None:
    assert parse(Line(1, 0, 0, raw)) is None


def test_a_file_gives_a_passage_for_each_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(_raw(text="a") + b"\n\n" + _raw(text=3) + b"\n")
    source = JsonlFile(path)
    good, blank, bad = passages = list(source.read(BEGINNING))
    assert (len(good.records), blank.blank, [one.field for one in bad.problems]) == (1, True, ["text"])
    assert bad.end.offset == source.size
    for number, passage in enumerate(passages, 1):
        assert plain(source.read(passage.end)) == plain(passages[number:])


def test_times_before_the_epoch_have_no_id() -> None:
    assert time_of_id(_parse(_line(1, time="1970-01-01T00:00:00Z")).id) == from_ms(0)
