from datetime import date, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from analytics.archive.feed import Feed
from analytics.archive.table import open_table
from analytics.reports.snapshot import Snapshot
from analytics.reports.spans import Span
from infra.contracts import archive, codec
from infra.contracts.events import Event
from infra.runtime.archive import ArchiveReader, statement
from infra.runtime.errors import PreconditionError, Unreachable
from infra.runtime.settings import Archive, Runtime
from tests.unit.analytics.archive.records import NOW, Message, event, place

TODAY = NOW.date()
MIDNIGHT = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
SECOND = timedelta(seconds=1)


def archived(folder: Path, *events: Event) -> ArchiveReader:
    feed = Feed(open_table(archive.EVENTS, *place(folder)), "", 0.0)
    feed.assign(("events", 0))
    for offset, one in enumerate(events):
        feed.take(Message("events", 0, offset, codec.encode(one), ("src", b"ingest/0/%d/0" % offset)), 0.0)  # type: ignore[arg-type]
    feed.commit(0.0)
    return ArchiveReader(*place(folder))


def test_the_copy_received_first_is_the_one_that_is_read(tmp_path: Path) -> None:
    later = event(1, received_at=NOW + 9 * SECOND, text="later")
    first = event(1, received_at=NOW + 2 * SECOND, text="first")
    same = event(1, received_at=NOW + 2 * SECOND, text="same moment, later in the log")
    other = event(1, tenant="other", text="theirs")
    reader = archived(tmp_path, later, first, same, other)
    found = {(row["tenant"], row["text"]) for row in reader.rows(archive.EVENTS)}
    assert found == {("acme", "first"), ("other", "theirs")}
    assert len(list(reader.rows(archive.EVENTS, copies=True))) == 4


def test_a_copy_whose_first_is_of_the_day_before_does_not_count(tmp_path: Path) -> None:
    first = event(1, time=MIDNIGHT - SECOND, received_at=MIDNIGHT + SECOND)
    copy = event(1, time=MIDNIGHT + SECOND, received_at=MIDNIGHT + 60 * SECOND)
    reader = archived(tmp_path, copy, first)
    yesterday = TODAY - timedelta(days=1)
    assert list(reader.rows(archive.EVENTS, days=(TODAY, TODAY))) == []
    assert [row["time"] for row in reader.rows(archive.EVENTS, days=(yesterday, yesterday))] == [first.time]
    assert len(list(reader.rows(archive.EVENTS, days=(yesterday, TODAY)))) == 1


def test_tenant_days_and_columns_narrow_what_is_read(tmp_path: Path) -> None:
    day = timedelta(days=1)
    reader = archived(
        tmp_path, event(1), event(2, time=NOW - day), event(3, time=NOW - 2 * day), event(4, tenant="o'hara")
    )
    wanted = {"tenant": "acme", "days": (TODAY - day, TODAY), "columns": ["id", "channel_id"]}
    assert sorted(row["id"] for row in reader.rows(archive.EVENTS, **wanted)) == ["e1", "e2"]
    assert list(next(reader.rows(archive.EVENTS, **wanted))) == ["id", "channel_id"]
    assert [row["id"] for row in reader.rows(archive.EVENTS, tenant="o'hara")] == ["e4"]
    assert [row["id"] for row in reader.rows(archive.EVENTS, where={"channel_id": "c3"})] == ["e3"]


def test_what_only_one_copy_has_is_asked_of_the_first(tmp_path: Path) -> None:
    reader = archived(tmp_path, event(1, text="first"), event(1, text="second", received_at=NOW + 60 * SECOND))
    assert list(reader.rows(archive.EVENTS, where={"text": "second"})) == []


def test_other_libraries_read_it_as_plain_strings(tmp_path: Path) -> None:
    table = pa.table(archived(tmp_path, event(1)).read(archive.EVENTS))
    assert table.schema.field("text").type == pa.string()
    assert table.schema.field("time").type == pa.timestamp("us", "UTC")


def test_a_column_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match="events has no column event_id"):
        statement(archive.EVENTS, None, None, ["event_id"], {}, copies=False)


def test_no_archive_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(PreconditionError, match="hubbub run archive"):
        list(ArchiveReader(*place(tmp_path)).rows(archive.EVENTS))


def test_a_file_that_is_gone_is_told_as_an_archive_that_does_not_answer(tmp_path: Path) -> None:
    reader = archived(tmp_path, event(1), event(2, type="message.blocked", message_id="e1"))
    snapshot = Snapshot(reader, [archive.EVENTS])
    for file in tmp_path.glob("events/*/*.parquet"):
        file.unlink()
    with pytest.raises(Unreachable, match="files"):
        list(reader.rows(archive.EVENTS))
    with pytest.raises(Unreachable, match="files"):
        snapshot.removals([Span(day=TODAY, zone=ZoneInfo("UTC"))], NOW - SECOND)


def test_a_mistake_of_our_own_is_not_the_archives(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no column"):
        list(archived(tmp_path, event(1)).rows(archive.EVENTS, columns=["nonsense"]))


def test_the_archive_lives_below_the_data_directory_unless_told(tmp_path: Path) -> None:
    assert Archive().root(Runtime(data_dir=tmp_path)) == f"{tmp_path}/archive"
    assert Archive(location="s3://bucket/hubbub/").root(Runtime()) == "s3://bucket/hubbub"


def test_days_are_inclusive() -> None:
    asked = statement(archive.HELD, "acme", (date(2026, 3, 1), date(2026, 3, 2)), ["id"], {}, copies=True)
    assert "BETWEEN DATE '2026-03-01' AND DATE '2026-03-02'" in asked
