from pathlib import Path

import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError

from analytics.archive.rows import arrow_batch, read_row
from analytics.archive.table import Move, Outrun, Table, Unwritable, open_table
from infra.contracts import archive
from infra.contracts.archive import ArchiveTable, Column
from infra.runtime.errors import PreconditionError, Unreachable
from infra.runtime.settings import Archive, Runtime
from tests.unit.analytics.archive.records import messages, place

ZERO, ONE = ("events", 0), ("events", 1)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return again(tmp_path)


def again(folder: Path) -> Table:
    return open_table(archive.EVENTS, *place(folder))


def batch(*numbers: int, partition: int = 0):
    found = [read_row(archive.EVENTS, m.value(), m.headers()) for m in messages(numbers, partition=partition)]
    return arrow_batch(archive.EVENTS, [row for row in found if row is not None])


def ids(folder: Path) -> list[str]:
    return sorted(again(folder).delta.to_pyarrow_table(columns=["id"]).column("id").to_pylist())


def test_rows_and_offsets_are_there_together(table: Table, tmp_path: Path) -> None:
    assert table.position(ZERO) is None
    table.append([batch(0, 1), batch(2)], {ZERO: Move(None, 3)})
    table.append([batch(7, partition=1)], {ZERO: Move(3, 4), ONE: Move(None, 8)})
    found = again(tmp_path)
    assert (found.position(ZERO), found.position(ONE)) == (4, 8)
    assert ids(tmp_path) == ["e0", "e1", "e2", "e7"]


def test_offsets_may_move_without_rows(table: Table, tmp_path: Path) -> None:
    table.append([], {ZERO: Move(None, 9)}, note={"why": {"records": 4}})
    assert again(tmp_path).position(ZERO) == 9
    assert table.delta.history(1)[0]["why"] == {"records": 4}


def test_of_two_writers_with_the_same_records_one_is_refused(table: Table, tmp_path: Path) -> None:
    other = again(tmp_path)
    table.append([batch(0, 1)], {ZERO: Move(None, 2)})
    with pytest.raises(Outrun) as refused:
        other.append([batch(0, 1)], {ZERO: Move(None, 2)})
    assert refused.value.found == {ZERO: 2}
    assert ids(tmp_path) == ["e0", "e1"]


def test_a_writer_that_slept_through_the_commit_itself_is_refused(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has compared, then sleeps while another commits: delta-rs itself has to notice, several commits later too."""
    zombie = again(tmp_path)
    compare = Table._compare

    def compare_and_sleep(self: Table, moves) -> None:
        compare(self, moves)
        monkeypatch.undo()
        table.append([batch(0, 1)], {ZERO: Move(None, 2)})
        table.append([batch(5, partition=1)], {ONE: Move(None, 6)})

    monkeypatch.setattr(Table, "_compare", compare_and_sleep)
    with pytest.raises(Outrun) as refused:
        zombie.append([batch(0, 1)], {ZERO: Move(None, 2)})
    assert refused.value.found == {ZERO: 2}
    assert ids(tmp_path) == ["e0", "e1", "e5"]


def test_writers_of_different_partitions_pass_one_another(table: Table, tmp_path: Path) -> None:
    other = again(tmp_path)
    table.append([batch(0)], {ZERO: Move(None, 1)})
    other.append([batch(5, partition=1)], {ONE: Move(None, 6)})
    assert ids(tmp_path) == ["e0", "e5"]


def test_a_commit_whose_outcome_was_not_heard_is_not_done_twice(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_and_fail(*args, **kwargs) -> None:
        write_deltalake(*args, **kwargs)
        raise OSError("connection reset")

    monkeypatch.setattr("analytics.archive.table.write_deltalake", write_and_fail)
    with pytest.raises(Unwritable):
        table.append([batch(0)], {ZERO: Move(None, 1)})
    monkeypatch.undo()
    with pytest.raises(Outrun) as refused:
        table.append([batch(0)], {ZERO: Move(None, 1)})
    assert refused.value.found == {ZERO: 1}
    assert ids(tmp_path) == ["e0"]


def test_offsets_outlive_checkpoints_and_the_log_they_replace(table: Table, tmp_path: Path) -> None:
    table.append([batch(0)], {ZERO: Move(None, 1)})
    for number in range(60):
        table.append([batch(number, partition=1)], {ONE: Move(number or None, number + 1)})
    log = tmp_path / "events" / "_delta_log"
    assert list(log.glob("*.checkpoint.parquet"))
    for number in range(50):  # as a week makes go away
        (log / f"{number:020}.json").unlink()
    assert again(tmp_path).position(ZERO) == 1


def test_a_column_that_came_later_is_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older = ArchiveTable(name="events", topics=archive.EVENTS.topics, by="time", columns=archive.EVENTS.columns[:-1])
    open_table(older, *place(tmp_path))
    found = again(tmp_path)
    found.append([batch(0)], {ZERO: Move(None, 1)})
    assert found.delta.schema().fields[-1].name == "rule"


def test_a_column_of_another_type_is_refused(tmp_path: Path) -> None:
    other = ArchiveTable(
        name="events",
        topics=archive.EVENTS.topics,
        by="time",
        columns=(*archive.EVENTS.columns[:-1], Column("rule", "integer")),
    )
    open_table(other, *place(tmp_path))
    with pytest.raises(PreconditionError, match="column rule of"):
        again(tmp_path)


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unreachable, match="HUBBUB_ARCHIVE_LOCATION"):
        open_table(archive.EVENTS, Archive(location=str(tmp_path / "file")), Runtime())


def test_a_table_that_is_broken_is_unwritable(table: Table, tmp_path: Path) -> None:
    log = tmp_path / "events" / "_delta_log"
    (log / f"{1:020}.json").write_text("{")
    with pytest.raises(Unwritable):
        table.append([batch(0)], {ZERO: Move(None, 1)})
    with pytest.raises(DeltaError):
        DeltaTable(str(tmp_path / "events"))


def test_a_commit_that_a_power_loss_emptied_was_never_made(table: Table, tmp_path: Path) -> None:
    table.append([batch(0)], {ZERO: Move(None, 1)})
    table.append([batch(1)], {ZERO: Move(1, 2)})
    (tmp_path / "events" / "_delta_log" / f"{2:020}.json").write_bytes(b"")
    found = again(tmp_path)
    assert found.position(ZERO) == 1
    found.append([batch(1)], {ZERO: Move(1, 2)})
    assert ids(tmp_path) == ["e0", "e1"]


def test_a_table_that_is_gone_is_not_begun_anew(table: Table, tmp_path: Path) -> None:
    """As where a disk is no longer mounted: what would be written there is lost when it comes back."""
    table.append([batch(0)], {ZERO: Move(None, 1)})
    (tmp_path / "events").rename(tmp_path / "away")
    with pytest.raises(Unwritable):
        table.append([batch(1)], {ZERO: Move(1, 2)})
    assert not (tmp_path / "events").exists()
    (tmp_path / "away").rename(tmp_path / "events")
    table.append([batch(1)], {ZERO: Move(1, 2)})
    assert ids(tmp_path) == ["e0", "e1"]
