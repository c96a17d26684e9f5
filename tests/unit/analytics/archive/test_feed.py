from pathlib import Path

import pytest
from deltalake import write_deltalake
from structlog.testing import capture_logs

from analytics.archive import feed as module
from analytics.archive.feed import Feed
from analytics.archive.table import open_table
from infra.contracts import archive, codec
from infra.runtime.telemetry import ARCHIVE_UNREADABLE
from tests.unit.analytics.archive.records import DAY, NOW, Message, event, messages, place

ZERO, ONE, BACKFILL = ("events", 0), ("events", 1), ("events.backfill", 0)


def begin(folder: Path, *partitions: tuple[str, int]) -> Feed:
    """A process that begins."""
    feed = Feed(open_table(archive.EVENTS, *place(folder)), "", 0.0)
    for partition in partitions:
        feed.assign(partition)
    return feed


def take(feed: Feed, found: list[Message], now: float = 0.0) -> None:
    for message in found:
        feed.take(message, now)  # type: ignore[arg-type] # as much of a message as is read


def ids(folder: Path) -> list[str]:
    table = open_table(archive.EVENTS, *place(folder)).delta.to_pyarrow_table(columns=["id"])
    return sorted(table.column("id").to_pylist(), key=lambda name: int(name[1:]))


def test_what_was_read_is_committed_with_its_offsets(tmp_path: Path) -> None:
    feed = begin(tmp_path, ZERO, BACKFILL)
    take(feed, messages(range(3)) + messages(range(10, 12), topic="events.backfill"), now=5.0)
    assert (feed.rows, feed.since, feed.archived) == (5, 5.0, {})
    feed.commit(6.0)
    assert (feed.rows, feed.since, feed.bytes, feed.days) == (0, None, 0, set())
    assert feed.archived == {ZERO: 3, BACKFILL: 12}
    assert ids(tmp_path) == ["e0", "e1", "e2", "e10", "e11"]
    assert begin(tmp_path).assign(ZERO) == 3


@pytest.mark.parametrize("killed", ["reading", "before the commit", "after the commit"])
def test_killed_anywhere_each_record_is_there_once(
    tmp_path: Path, killed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = messages(range(2_500))
    feed = begin(tmp_path, ZERO)
    take(feed, log[:1_200])
    feed.commit(0.0)
    take(feed, log[1_200:2_000])
    if killed != "reading":

        def die(*args, **kwargs) -> None:
            if killed == "after the commit":
                write_deltalake(*args, **kwargs)
            raise KeyboardInterrupt

        monkeypatch.setattr("analytics.archive.table.write_deltalake", die)
        with pytest.raises(KeyboardInterrupt):
            feed.commit(0.0)
        monkeypatch.undo()
    successor = begin(tmp_path)
    start = successor.assign(ZERO)
    assert start == (2_000 if killed == "after the commit" else 1_200)
    take(successor, log[start:])
    successor.commit(0.0)
    assert ids(tmp_path) == [f"e{n}" for n in range(2_500)]


def test_a_zombie_with_the_same_records_changes_nothing_and_is_led_back(tmp_path: Path) -> None:
    zombie, owner = begin(tmp_path, ZERO), begin(tmp_path, ZERO)
    take(zombie, messages(range(5)))
    take(owner, messages(range(8)))
    owner.commit(0.0)
    zombie.commit(0.0)
    assert (zombie.astray, zombie.failing, zombie.rows) == (True, None, 0)
    take(zombie, messages(range(5, 7)))  # fetched before it was led back
    assert zombie.rows == 0
    assert zombie.stand() == {ZERO: 8}
    zombie.astray = False
    take(zombie, messages(range(6, 10)))
    zombie.commit(0.0)
    assert ids(tmp_path) == [f"e{n}" for n in range(10)]


def test_letting_a_partition_go_has_the_others_read_again(tmp_path: Path) -> None:
    feed = begin(tmp_path, ZERO, ONE)
    take(feed, messages(range(3)) + messages(range(3), partition=1))
    feed.revoke(ONE)
    assert (feed.rows, feed.astray) == (0, True)
    assert feed.stand() == {ZERO: None}
    feed.astray = False
    take(feed, messages(range(3)) + messages(range(3), partition=1))
    feed.commit(0.0)
    assert ids(tmp_path) == ["e0", "e1", "e2"]


def test_a_commit_that_fails_keeps_what_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    feed = begin(tmp_path, ZERO)
    take(feed, messages(range(3)))

    def fail(*args, **kwargs) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("analytics.archive.table.write_deltalake", fail)
    feed.commit(0.0)
    assert (feed.failing, feed.rows, feed.archived) == ("No space left on device", 3, {})
    monkeypatch.undo()
    feed.commit(1.0)
    assert (feed.failing, feed.rows) == (None, 0)
    assert ids(tmp_path) == ["e0", "e1", "e2"]


def test_what_is_unreadable_is_counted_and_passed(tmp_path: Path) -> None:
    before = ARCHIVE_UNREADABLE.labels("events")._value.get()
    feed = begin(tmp_path, ZERO)
    with capture_logs() as logs:
        take(feed, [Message("events", 0, 0, b'{"text":"secret"'), *messages([1]), Message("events", 0, 2, None)])
    feed.commit(0.0)
    assert ids(tmp_path) == ["e1"]
    assert feed.archived == {ZERO: 3}
    assert ARCHIVE_UNREADABLE.labels("events")._value.get() - before == 2
    assert [(line["offset"], line["reason"]) for line in logs] == [(0, "DecodeError"), (2, "no value")]


def test_heartbeats_alone_move_the_offsets_now_and_then(tmp_path: Path) -> None:
    feed = begin(tmp_path, ZERO)
    take(feed, [Message("events", 0, n, b"{}", ("kind", b"heartbeat")) for n in range(4)])
    feed.commit(1.0)
    assert (feed.archived, begin(tmp_path).assign(ZERO)) == ({ZERO: 4}, None)
    feed.commit(4_000.0)
    assert begin(tmp_path).assign(ZERO) == 4


def test_where_rows_wait_only_the_table_says_how_far_it_is(tmp_path: Path) -> None:
    feed = begin(tmp_path, ZERO)
    take(feed, messages(range(2)))
    feed.commit(0.0)
    take(feed, messages(range(2, 4)))
    assert feed.archived == {ZERO: 2}
    feed.drop()
    assert feed.archived == {ZERO: 2}


def test_rows_are_packed_before_they_are_many_or_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK_ROWS", 10)
    monkeypatch.setattr(module, "_CHUNK_BYTES", 30_000)
    feed = begin(tmp_path, ZERO)
    take(feed, messages(range(25)))
    assert (len(feed._batches), len(feed._rows), feed.rows) == (2, 5, 25)
    take(feed, messages(range(25, 29), text="x" * 8_000))
    assert (len(feed._batches), len(feed._rows)) == (3, 0)


def test_the_days_of_a_commit_are_known(tmp_path: Path) -> None:
    feed = begin(tmp_path, BACKFILL)
    for number in range(150):
        body = codec.encode(event(number, time=NOW - number * DAY))
        take(feed, [Message("events.backfill", 0, number, body)])
    assert len(feed.days) == 150
    feed.commit(0.0)
    assert len(list((tmp_path / "events").glob("day=*"))) == 150


def test_what_was_failing_and_is_dropped_fails_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    feed = begin(tmp_path, ZERO, ONE)
    take(feed, messages(range(3)))

    def fail(*args, **kwargs) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("analytics.archive.table.write_deltalake", fail)
    feed.commit(0.0)
    feed.revoke(ONE)
    assert (feed.failing, feed.rows, feed.astray) == (None, 0, True)
