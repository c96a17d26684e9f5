"""What one Kafka record is in its table: a row of plain values in the order of the table's columns, then Arrow."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, Final

import msgspec
from arro3.core import Array, DataType, Field, RecordBatch, Schema

from infra.contracts import archive, headers
from infra.contracts.archive import ArchiveTable, Column, Kind
from infra.contracts.events import HEARTBEAT, Event
from infra.contracts.headers import Src
from infra.contracts.records import Judged, Verdict
from infra.runtime.kafka import Headers

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY: Final = _EPOCH.toordinal()
_MICROSECOND: Final = timedelta(microseconds=1)
_NO_SRC: Final = (None, None, None, None)
_INTEGER: Final = 2**63
_REQUIRED: Final = {t.name: tuple(i for i, c in enumerate(t.columns) if c.required) for t in archive.TABLES}
_INTEGERS: Final = {t.name: tuple(i for i, c in enumerate(t.columns) if c.kind == "integer") for t in archive.TABLES}

#: A row: strings, integers, booleans, aware datetimes, days since the epoch, None.
Row = tuple[Any, ...]


class Unreadable(Exception):
    """A record that is not what its topic holds. The reason quotes nothing of it."""


class _Envelope(Event, kw_only=True, gc=False):
    """An envelope whose objects stay as they are written."""

    properties: msgspec.Raw = msgspec.Raw()  # type: ignore[assignment] # JSON in place of a mapping
    context: msgspec.Raw = msgspec.Raw()  # type: ignore[assignment]


class _Stopped(msgspec.Struct):
    """A `records.Held`."""

    event: _Envelope
    verdict: Verdict


_envelope = msgspec.json.Decoder(_Envelope)
_stopped = msgspec.json.Decoder(_Stopped)
_judged = msgspec.json.Decoder(Judged)
_fields_of_event: Final = attrgetter(*(column.name for column in archive.EVENT))
_fields_of_verdict: Final = attrgetter(
    "action.value", "rule", "version", "reason", "matches", "severity.value", "shadow"
)


def read_row(table: ArchiveTable, value: bytes | None, record_headers: Headers) -> Row | None:
    """The record's row; None for one of ours that carries no event. Raises `Unreadable`."""
    src, rules = _NO_SRC, []
    for name, header in record_headers:
        raw = header.encode() if isinstance(header, str) else header or b""
        if name == headers.KIND:
            return None  # ours, whatever it is: it carries no event
        if name == headers.SRC:
            src = _source(raw)
        elif name == headers.RULE:
            rules.append(raw.decode(errors="replace"))
    if value is None:
        raise Unreadable("no value")
    try:
        row = _READERS[table.name](value, src, rules)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(type(error).__name__) from None
    if row is not None:
        for index in _REQUIRED[table.name]:
            if row[index] is None:
                raise Unreadable(f"no {table.columns[index].name}")
        for index in _INTEGERS[table.name]:
            if not -_INTEGER <= (row[index] or 0) < _INTEGER:
                raise Unreadable(f"{table.columns[index].name} out of range")
    return row


def arrow_schema(table: ArchiveTable) -> Schema:
    """The table's columns as Arrow has them."""
    return Schema([Field(c.name, _TYPES[c.kind], nullable=not c.required) for c in table.columns])


def arrow_batch(table: ArchiveTable, rows: Sequence[Row]) -> RecordBatch:
    """The rows, of which there is at least one, as one Arrow batch."""
    columns = zip(table.columns, zip(*rows, strict=True), strict=True)
    return RecordBatch.from_arrays([_array(c, cells) for c, cells in columns], schema=arrow_schema(table))


def _event(value: bytes, src: Row, rules: list[str]) -> Row | None:
    event = _envelope.decode(value)
    if event.type == HEARTBEAT:
        return None
    return (*_event_row(event), *src, ",".join(rules) or None)


def _held(value: bytes, src: Row, rules: list[str]) -> Row:
    stopped = _stopped.decode(value)
    return (*_event_row(stopped.event), *_fields_of_verdict(stopped.verdict), *src)


def _verdict(value: bytes, src: Row, rules: list[str]) -> Row:
    judged = _judged.decode(value)
    at = judged.received_at
    about = (_day(at), judged.tenant, judged.event_id, judged.channel_id, at)
    return (*about, *_fields_of_verdict(judged.verdict), judged.applied, *src)


def _event_row(event: _Envelope) -> Row:
    # As a rule an object is left out; a raw one has to be text before it can be a cell.
    event.properties, event.context = _text(event.properties), _text(event.context)
    return (_day(event.time), event.tenant, *_fields_of_event(event))


def _text(raw: msgspec.Raw) -> Any:
    text = bytes(raw).decode()
    return None if text in ("", "null") else text


def _day(moment: datetime) -> int:
    return moment.astimezone(UTC).toordinal() - _EPOCH_DAY


def _source(raw: bytes) -> Row:
    try:
        src = Src.decode(raw)
    except ValueError:
        return _NO_SRC
    return (src.topic, src.partition, src.offset, src.index)


_READERS: Final[dict[str, Callable[[bytes, Row, list[str]], Row | None]]] = {
    archive.EVENTS.name: _event,
    archive.HELD.name: _held,
    archive.VERDICTS.name: _verdict,
}
_TYPES: Final[dict[Kind, DataType]] = {
    "string": DataType.utf8(),
    "timestamp": DataType.timestamp("us", tz="UTC"),
    "date": DataType.date32(),
    "boolean": DataType.bool(),
    "integer": DataType.int64(),
}


def _array(column: Column, cells: Sequence[Any]) -> Array:
    kind = column.kind
    if kind == "timestamp":
        micros = [None if at is None else (at - _EPOCH) // _MICROSECOND for at in cells]
        return Array(micros, DataType.int64()).cast(_TYPES[kind])
    if kind == "date":
        return Array(cells, DataType.int32()).cast(_TYPES[kind])
    return Array(cells, _TYPES[kind])
