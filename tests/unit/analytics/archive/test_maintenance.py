from datetime import date, timedelta
from pathlib import Path

import pytest

from analytics.archive.feed import Feed
from analytics.archive.maintenance import due, maintain, maintain_all
from analytics.archive.settings import ArchiveWriter
from analytics.archive.table import open_table
from infra.contracts import archive
from infra.runtime.archive import ArchiveReader, DataFile, files
from infra.runtime.errors import PreconditionError
from tests.unit.analytics.archive.records import DAY, NOW, messages, place

TODAY = date(2026, 3, 1)
MIB = 2**20


def sizes(day: date, *numbers: int) -> list[DataFile]:
    return [DataFile(path=f"{day}/{n}", day=day, bytes=size, rows=1) for n, size in enumerate(numbers)]


@pytest.mark.parametrize(
    ("found", "work"),
    [
        ([MIB], None),
        ([MIB, MIB], "sort"),
        ([100 * MIB, MIB], None),
        ([100 * MIB, *[MIB] * 16], None),
        ([100 * MIB, *[MIB] * 17], "sort"),
        ([60 * MIB, *[4 * MIB] * 5], "sort"),
        # As sorting leaves a day: full files and one with the rest.
        ([100 * MIB, 100 * MIB, 100 * MIB, 20 * MIB], None),
        ([100 * MIB, 60 * MIB], None),
    ],
)
def test_a_day_that_is_over_is_sorted_when_much_of_it_is_loose(found: list[int], work: str | None) -> None:
    yesterday = TODAY - timedelta(days=1)
    asked = [(each.day, each.work) for each in due(sizes(yesterday, *found), TODAY, 128 * MIB)]
    assert asked == ([(yesterday, work)] if work else [])


@pytest.mark.parametrize(
    ("found", "work"),
    [([MIB] * 31, None), ([MIB] * 32, "compact"), ([5 * MIB] * 40, None), ([5 * MIB] * 40 + [MIB] * 32, "compact")],
)
def test_a_day_that_grows_has_its_small_files_put_together(found: list[int], work: str | None) -> None:
    asked = [(each.day, each.work) for each in due(sizes(TODAY, *found), TODAY, 128 * MIB)]
    assert asked == ([(TODAY, work)] if work else [])


def fill(folder: Path, commits: int, days: int) -> Feed:
    feed = Feed(open_table(archive.EVENTS, *place(folder)), "", 0.0)
    feed.assign(("events", 0))
    for commit in range(commits):
        for number in range(commit * 50, commit * 50 + 50):
            at = NOW - (number % days) * DAY
            for message in messages([number], time=at, tenant=f"t{number % 2}"):
                feed.take(message, 0.0)  # type: ignore[arg-type]
        feed.commit(0.0)
    return feed


def test_it_keeps_every_row_and_leaves_few_files(tmp_path: Path) -> None:
    feed = fill(tmp_path, commits=40, days=3)
    reader, settings = ArchiveReader(*place(tmp_path)), ArchiveWriter()
    before = sorted(reader.rows(archive.EVENTS, copies=True), key=lambda row: row["id"])
    steps = []
    done = maintain(reader, archive.EVENTS, settings, today=TODAY, advance=lambda *step: steps.append(step))
    assert (done.days, done.skipped, done.files_before, done.files_after) == (3, 0, 120, 3)
    assert steps == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert sorted(reader.rows(archive.EVENTS, copies=True), key=lambda row: row["id"]) == before
    assert maintain(reader, archive.EVENTS, settings, today=TODAY).days == 0
    # The writer goes on with the table it has open, and a successor where it stands.
    for message in messages(range(2_000, 2_010)):
        feed.take(message, 0.0)  # type: ignore[arg-type]
    feed.commit(0.0)
    assert open_table(archive.EVENTS, *place(tmp_path)).position(("events", 0)) == 2_010
    assert len(list(reader.rows(archive.EVENTS, copies=True))) == 2_010


def test_what_was_replaced_is_kept_for_its_readers(tmp_path: Path) -> None:
    fill(tmp_path, commits=3, days=1)
    reader = ArchiveReader(*place(tmp_path))
    began_before = reader.open(archive.EVENTS)
    assert maintain(reader, archive.EVENTS, ArchiveWriter(), today=TODAY + DAY).removed == 0
    assert len(began_before.to_pyarrow_table()) == 150
    assert len(files(reader.open(archive.EVENTS))) == 1


def test_what_a_killed_writer_left_is_removed_in_time(tmp_path: Path) -> None:
    import os

    fill(tmp_path, commits=1, days=1)
    orphan = tmp_path / "events" / f"day={TODAY.isoformat()}" / "part-left.parquet"
    orphan.write_bytes(b"x")
    reader = ArchiveReader(*place(tmp_path))
    assert maintain(reader, archive.EVENTS, ArchiveWriter(), today=TODAY).removed == 0
    os.utime(orphan, (0, 0))
    assert maintain(reader, archive.EVENTS, ArchiveWriter(), today=TODAY).removed == 1
    assert not orphan.exists()


def test_a_day_or_table_that_cannot_be_read_does_not_keep_the_others(tmp_path: Path) -> None:
    fill(tmp_path, commits=3, days=2)
    for table in archive.TABLES[1:]:
        open_table(table, *place(tmp_path))
    yesterday = TODAY - DAY
    next(tmp_path.glob(f"events/day={yesterday}/*.parquet")).unlink()
    for file in (tmp_path / "held" / "_delta_log").iterdir():
        file.unlink()
    rounds = maintain_all(*place(tmp_path), ArchiveWriter(), TODAY + DAY)
    done = [next(rounds), next(rounds)]
    with pytest.raises(PreconditionError, match="held"):
        next(rounds)
    assert [(m.table, m.days, m.failed, m.files_after) for m in done] == [("events", 2, 1, 4), ("verdicts", 0, 0, 0)]
    assert list((tmp_path / "events" / "_delta_log").glob("*.checkpoint.parquet"))


def test_no_archive_is_a_precondition(tmp_path: Path) -> None:
    with pytest.raises(PreconditionError, match="hubbub run archive"):
        maintain(ArchiveReader(*place(tmp_path)), archive.EVENTS, ArchiveWriter(), today=TODAY)
