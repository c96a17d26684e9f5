"""`hubbub archive` shows how the tables stand, says what is gone and how to go on, and names what it cannot do."""

from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from analytics.archive import standing
from analytics.archive.feed import Feed
from analytics.archive.standing import Offsets, Standing
from analytics.archive.table import open_table
from infra.cli import app
from infra.contracts import archive
from infra.runtime.errors import PreconditionError
from tests.unit.analytics.archive.records import messages, place

WHOLE = Offsets(partition="events/0", archived=40, first=3, end=45, lag=5, gone=False, gap=0)
GONE = Offsets(partition="events/1", archived=40, first=52, end=60, lag=8, gone=True, gap=12)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs `hubbub archive` on an archive of this test's own, with nothing else running."""
    monkeypatch.setenv("HUBBUB_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("HUBBUB_ARCHIVE_LOCATION", str(tmp_path))
    return lambda *words: CliRunner().invoke(app, ["archive", *words], env={"COLUMNS": "120"})


def stand(monkeypatch: pytest.MonkeyPatch, *offsets: Offsets) -> None:
    table = Standing(
        table="events",
        version=7,
        rows=1_234,
        files=3,
        bytes=5_678,
        days=2,
        first_day=date(2026, 3, 1),
        last_day=date(2026, 3, 2),
        lag=sum(each.lag or 0 for each in offsets),
        gap=sum(each.gap for each in offsets),
        offsets=list(offsets),
    )
    monkeypatch.setattr(standing, "standings", lambda reader, kafka: [table])


def test_tables_are_shown_with_their_lag(run, monkeypatch):
    stand(monkeypatch, WHOLE)
    done = run("status")
    assert done.exit_code == 0
    assert "1,234" in done.stdout
    assert done.stdout.split()[-1] == "5"


def test_what_is_gone_is_told_with_the_way_on_and_exits_1(run, monkeypatch):
    stand(monkeypatch, WHOLE, GONE)
    done = run("status")
    assert done.exit_code == 1
    assert "12 records are gone. `hubbub archive skip events/1` goes on without them." in done.output


def test_json_holds_every_partition(run, monkeypatch, tmp_path):
    stand(monkeypatch, WHOLE)
    found = msgspec.json.decode(run("status", "--json").stdout)
    assert found["location"] == str(tmp_path)
    assert found["tables"][0]["offsets"] == [msgspec.to_builtins(WHOLE)]


def test_without_an_archive_it_says_what_to_run(run):
    done = run("maintain")
    assert isinstance(done.exception, PreconditionError)
    assert "hubbub run archive" in str(done.exception)


def test_maintenance_tells_what_it_did(run, tmp_path):
    for table in archive.TABLES:
        open_table(table, *place(tmp_path))
    feed = Feed(open_table(archive.EVENTS, *place(tmp_path)), "", 0.0)
    feed.assign(("events", 0))
    for number in range(3):
        for message in messages([number]):
            feed.take(message, 0.0)  # type: ignore[arg-type]
        feed.commit(0.0)
    events, held, verdicts = msgspec.json.decode(run("maintain", "--json").stdout)
    assert (events["days"], events["files_before"], events["files_after"]) == (1, 3, 1)
    assert held["days"] == verdicts["days"] == 0
    assert "TABLE" in run("maintain").stdout


@pytest.mark.parametrize("name", ["events", "signals/0", "events/x", "/0"])
def test_only_partitions_that_are_archived_can_be_skipped(run, name):
    done = run("skip", name)
    assert done.exit_code == 2
    assert "no partition that is archived" in done.output
