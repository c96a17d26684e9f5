"""The teller's loop: where it begins, what it stores in which order, and that no number ever goes back."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from confluent_kafka import KafkaError, KafkaException

from analytics.interactions.settings import InteractionsSettings
from analytics.interactions.snapshot import SnapshotFile
from analytics.interactions.teller import Teller
from infra.contracts.events import to_ms
from infra.contracts.interactions import Board
from infra.runtime.clock import ManualClock
from infra.runtime.settings import Kafka
from tests.unit.analytics.interactions.told import (
    PARTITIONS,
    Log,
    at,
    community,
    counted,
    event,
    fed,
    heartbeat,
    logged,
)

NOON = at(180)


class FakeMessage:
    """A record of `events`."""

    def __init__(self, partition: int, offset: int, value: bytes, appended_at: datetime) -> None:
        self._record = (partition, offset, value, appended_at)

    def partition(self) -> int:
        return self._record[0]

    def offset(self) -> int:
        return self._record[1]

    def value(self) -> bytes:
        return self._record[2]

    def timestamp(self) -> tuple[int, int]:
        return (2, to_ms(self._record[3]))


class FakeReader:
    """A log in memory, of which each read gives at most so many records."""

    def __init__(self, log: Log, *, lows: Mapping[int, int] | None = None, most: int = 10_000) -> None:
        self.log = log
        self.lows = lows or dict.fromkeys(log, 0)
        self.most = most
        self.asked: list[datetime] = []
        self.positions: dict[int, int] = {}
        self.paused: frozenset[int] = frozenset()
        self.fatal: str | None = None
        self.away = False

    def bounds(self) -> dict[int, tuple[int, int]]:
        return {partition: (self.lows[partition], len(values)) for partition, values in self.log.items()}

    def since(self, moment: datetime) -> dict[int, int]:
        self.asked.append(moment)
        return dict(self.lows)

    def assign(self, starts: Mapping[int, int]) -> None:
        self.positions = dict(starts)

    def read(self, seconds: float) -> Iterator[FakeMessage]:
        left = self.most
        for partition in sorted(set(self.positions) - self.paused):
            for value in self.log[partition][self.positions[partition] :][:left]:
                yield FakeMessage(partition, self.positions[partition], value, at(10**6))
                self.positions[partition] += 1
                left -= 1

    def pause(self, partitions: frozenset[int]) -> None:
        self.paused = partitions

    def ends(self) -> dict[int, int]:
        if self.away:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        return {partition: len(values) for partition, values in self.log.items()}


class FakeStore:
    """Windows and boards as stored, and in which order they were."""

    def __init__(self, watermark: datetime | None = None) -> None:
        self._watermark = watermark
        self.windows: dict[Any, dict[str, Any]] = {}
        self.boards: dict[tuple[str, str], Board] = {}
        self.progress: dict[str, Any] = {}
        self.calls: list[str] = []

    def watermark(self) -> datetime | None:
        return self._watermark

    def write(self, windows: Any, now: datetime) -> None:
        self.calls.append("windows")
        for key, window in windows:
            self.windows[key] = {**msgspec.structs.asdict(window), "responses": dict(window.responses)}

    def show(self, boards: Any, now: datetime) -> None:
        self.calls.append("boards")
        self.boards.update({(tenant, scope): board for tenant, scope, board in boards})

    def write_progress(self, watermark: datetime, offsets: Any, *rest: Any) -> None:
        self.calls.append("progress")
        self.progress = {"watermark": watermark, "offsets": offsets["events"], "rest": rest}


class Desk:
    """A teller over fakes."""

    def __init__(self, reader: FakeReader, folder: Path, store: FakeStore | None = None, **settings: Any) -> None:
        self.reader, self.store, self.clock = reader, store or FakeStore(), ManualClock(NOON)
        self.file = SnapshotFile(folder, "events")
        self.teller = Teller(
            reader=cast(Any, reader),
            store=cast(Any, self.store),
            file=self.file,
            settings=InteractionsSettings(**settings),
            kafka=Kafka(),
            clock=self.clock,
        )
        self.teller.start()

    def step(self, seconds: float = 1.0) -> None:
        self.clock.advance(seconds)
        self.teller.step()


def test_a_log_that_is_there_from_its_first_record_on_is_counted_whole(tmp_path: Path) -> None:
    desk = Desk(FakeReader(logged([event(0, "q")], until=9)), tmp_path)
    desk.step()
    assert desk.store.calls == ["windows", "boards", "progress"]
    assert desk.store.progress["watermark"] == at(7)
    assert desk.store.progress["offsets"] == {p: len(values) for p, values in desk.reader.log.items()}
    assert {key.grain for key in desk.store.windows} == {"15m", "1h", "1d"}
    assert desk.store.boards["acme", "tenant"].total == 1
    assert desk.teller.lag == 0


def test_without_a_snapshot_windows_count_a_day_after_where_reading_began(tmp_path: Path) -> None:
    reader = FakeReader(logged([event(0, "q")], until=9), lows=dict.fromkeys(range(PARTITIONS), 0) | {1: 1})
    desk = Desk(reader, tmp_path)
    assert reader.asked == [NOON - timedelta(hours=48)]
    assert desk.teller.books.since == NOON - timedelta(hours=24)


def test_it_goes_on_from_its_snapshot(tmp_path: Path) -> None:
    log = logged(community(3, 400, 300.0))
    half = {partition: values[: len(values) // 2] for partition, values in log.items()}
    first = Desk(FakeReader(half), tmp_path, snapshot_seconds=1)
    first.step(5)
    second = Desk(FakeReader(log), tmp_path)
    assert second.reader.asked == []
    assert second.reader.positions == {partition: len(values) for partition, values in half.items()}
    second.step()
    assert {key: window["revision"] for key, window in (first.store.windows | second.store.windows).items()} == {
        key: window.revision for key, window in fed(log).windows.changed
    }


def test_nothing_is_stored_before_it_is_as_far_as_what_is_stored(tmp_path: Path) -> None:
    log = logged([event(0, "q"), event(20, "a", user_id="bob")], until=60)
    reader = FakeReader({partition: values[:1] for partition, values in log.items()})
    desk = Desk(reader, tmp_path, FakeStore(at(58)))
    desk.step()
    assert desk.store.calls == []
    reader.log = log
    desk.step()
    assert desk.store.calls == ["windows", "boards", "progress"]
    assert desk.store.progress["watermark"] == at(58)


@pytest.mark.parametrize("damage", [b"", b"\xc1", b"\x80", None])
def test_a_snapshot_that_cannot_be_read_is_done_without(tmp_path: Path, damage: bytes | None) -> None:
    log = logged([event(0, "q")], until=9)
    Desk(FakeReader(log), tmp_path, snapshot_seconds=1).step(5)
    file = tmp_path / "snapshot.msgpack"
    file.write_bytes(file.read_bytes()[:-7] if damage is None else damage)
    desk = Desk(FakeReader(log), tmp_path)
    assert len(desk.reader.asked) == 1
    desk.step()
    assert desk.teller.books.watermark == at(7)


def test_a_snapshot_of_another_topic_or_out_of_reach_is_done_without(tmp_path: Path) -> None:
    log = logged([event(0, "q")], until=9)
    Desk(FakeReader(log), tmp_path, snapshot_seconds=1).step(5)
    assert SnapshotFile(tmp_path, "events").load() is not None
    assert SnapshotFile(tmp_path, "test-events").load() is None
    for unlike in ({p: values[:-1] for p, values in log.items()}, {**log, PARTITIONS: []}):
        assert len(Desk(FakeReader(unlike), tmp_path).reader.asked) == 1
    gone = FakeReader(log, lows={partition: len(values) + 1 for partition, values in log.items()})
    assert len(Desk(gone, tmp_path).reader.asked) == 1


def test_partitions_that_are_ahead_wait_where_too_much_is_kept(tmp_path: Path) -> None:
    talk = [event(n / 20, f"e{n}", "screen.seen", channel_id=None, user_id=f"u{n}") for n in range(6_000)]
    reader = FakeReader(logged(talk, until=301), most=1_500)
    desk = Desk(reader, tmp_path, buffer_acts=1_000)
    paused, most = set(), 0
    for _ in range(200):
        desk.step()
        paused |= {reader.paused}
        most = max(most, desk.teller.books.buffered)
    assert {p: len(values) for p, values in reader.log.items()} == reader.positions
    assert len(paused) > 2
    assert most < 1_000 + PARTITIONS * reader.most
    assert desk.store.windows.keys() == counted(fed(reader.log)).keys()


def test_what_is_no_event_is_passed_over(tmp_path: Path) -> None:
    log = {0: [b"no event", msgspec.json.encode(heartbeat(5))]}
    desk = Desk(FakeReader(log), tmp_path)
    desk.step()
    assert desk.store.progress["offsets"] == {0: 2}


def test_a_disk_or_a_kafka_that_fails_is_told_and_tried_again(tmp_path: Path) -> None:
    desk = Desk(FakeReader(logged([event(0, "q")], until=9)), tmp_path, snapshot_seconds=1)
    (tmp_path / "snapshot.part").mkdir()
    desk.reader.away = True
    desk.step(9)
    assert (desk.teller.check_disk().ok, desk.teller.check_kafka().ok) == (False, False)
    (tmp_path / "snapshot.part").rmdir()
    desk.reader.away = False
    desk.step(9)
    assert (desk.teller.check_disk().ok, desk.teller.check_kafka().ok) == (True, True)


def test_times_of_a_snapshot_are_in_utc(tmp_path: Path) -> None:
    desk = Desk(FakeReader(logged([event(0, "q")], until=9)), tmp_path, snapshot_seconds=1)
    desk.step(5)
    snapshot = desk.file.load()
    assert snapshot is not None
    assert snapshot.watermark is not None
    assert snapshot.watermark.tzinfo is UTC
