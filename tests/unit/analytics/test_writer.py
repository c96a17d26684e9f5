"""Rows of Spark become windows and tallies; what is not stored is not remembered as stored."""

import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from analytics.ladder import Change, Family
from analytics.persistence import Stopping
from analytics.rollups import Stored
from analytics.tallies import Board, Score, Tally
from analytics.writer import BatchFailed, Writer, split
from infra.contracts.events import to_ms
from infra.contracts.metrics import MEASURES
from infra.contracts.records import Point
from infra.runtime.clock import ManualClock

START = datetime(2026, 3, 14, 9, 26, tzinfo=UTC)


class Memory:
    """A store that keeps what it is given, or refuses it."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.scores: list[Score] = []
        self.refuses = False

    def families(self, families: Sequence[Family]) -> list[dict[datetime, Stored]]:
        found: list[dict[datetime, Stored]] = []
        for f in families:
            mine = [c for c in self.changes if (c.tenant, c.scope, c.grain) == (f.tenant, f.scope, f.grain)]
            found.append({c.start: c.stored for c in mine if f.start <= c.start < f.end})
        return found

    def boards(self, boards: Sequence[Board]) -> list[dict[str, Tally]]:
        return [{s.user: s.tally for s in self.scores if s.board == board} for board in boards]

    def write(self, changes: Sequence[Change], scores: Sequence[Score], now: datetime) -> None:
        if self.refuses:
            raise OSError("away")
        self.changes += changes
        self.scores += scores


class Row:
    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = fields

    def asDict(self) -> dict[str, Any]:  # noqa: N802 - as PySpark's
        return self._fields


class Frame:
    """What a writer uses of a DataFrame."""

    def __init__(self, *rows: dict[str, Any], error: Exception | None = None) -> None:
        self._rows, self._error = rows, error

    def collect(self) -> list[Row]:
        if self._error:
            raise self._error
        return [Row(row) for row in self._rows]


def row(scope: str, sent: int, start: datetime = START) -> dict[str, Any]:
    values = {m.name: 0 if m.kind == "count" else b"" for m in MEASURES}
    return {"tenant": "acme", "scope": scope, "start_ms": to_ms(start), **values, "sent": sent}


def writer(store: Memory, first_day: datetime | None = None) -> tuple[Writer, list[Point], threading.Event]:
    points: list[Point] = []
    stopping = threading.Event()
    made = Writer(
        store,  # type: ignore[arg-type]
        points.append,
        ManualClock(START),
        stopping=stopping,
        first_day=first_day,
        cached_rows=1_000,
    )
    return made, points, stopping


def test_users_are_told_from_channels_and_tenants() -> None:
    minutes, users = split([row("tenant", 3), row("channel:user:x", 2), row("user:ada", 1)], None)
    assert {key: values.counts[0] for key, values in minutes.items()} == {
        ("acme", "tenant", START): 3,
        ("acme", "channel:user:x", START): 2,
    }
    assert users == {("acme", "ada", START): (1, 0)}


def test_days_that_are_not_there_whole_are_left_as_they_are() -> None:
    store = Memory()
    made, points, _ = writer(store, first_day=datetime(2026, 3, 15, tzinfo=UTC))
    made.take([row("tenant", 3), row("user:ada", 1)])
    assert (store.changes, store.scores, points) == ([], [], [])


def test_a_tenant_s_changed_minute_is_published_after_it_is_stored() -> None:
    store = Memory()
    made, points, _ = writer(store)
    made.watermark = START
    made.take([row("tenant", 3), row("channel:general", 3), row("user:ada", 3)])
    made.take([row("tenant", 3), row("channel:general", 3), row("user:ada", 3)])
    assert len(store.changes) == 8
    (point,) = points
    assert (point.scope, point.grain, point.start, point.revision) == ("tenant", "1m", START, 1)
    assert point.values == {m.name: 3 if m.name == "sent" else 0 for m in MEASURES}
    assert point.watermark == START


def test_what_could_not_be_stored_is_counted_anew() -> None:
    store = Memory()
    made, points, _ = writer(store)
    store.refuses = True
    with pytest.raises(BatchFailed, match="OSError: away"):
        made.write(Frame(row("tenant", 3)), 0)  # type: ignore[arg-type]
    assert points == []
    store.refuses = False
    made.write(Frame(row("tenant", 3)), 0)  # type: ignore[arg-type]
    assert [(c.grain.name, c.stored.revision) for c in store.changes] == [("1m", 1), ("15m", 1), ("1h", 1), ("1d", 1)]


def test_spark_gets_a_short_reason() -> None:
    made, _, _ = writer(Memory())
    with pytest.raises(BatchFailed) as failed:
        made.write(Frame(error=RuntimeError("[CANNOT_LOAD_STATE_STORE] " + "x" * 100_000)), 0)  # type: ignore[arg-type]
    assert "CANNOT_LOAD_STATE_STORE" in str(failed.value)
    assert len(str(failed.value)) < 2_000
    assert failed.value.__cause__ is None


def test_once_the_role_is_to_stop_no_batch_is_begun() -> None:
    store = Memory()
    made, _, stopping = writer(store)
    stopping.set()
    with pytest.raises(BatchFailed, match=Stopping.__name__):
        made.write(Frame(row("tenant", 3)), 0)  # type: ignore[arg-type]
    made.settle()
    assert store.changes == []
