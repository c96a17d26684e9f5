"""`hubbub report` prints what is stored, says how much it had to count, and refuses what it cannot make."""

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from analytics.reports.counting import documents
from analytics.reports.coverage import Coverage
from analytics.reports.registry import REPORTS
from analytics.reports.spans import Span
from infra.cli import app, report
from infra.contracts.reports import Document
from tests.unit.analytics.reported import daily, retention

RANGE = ("--from", "2026-03-13", "--to", "2026-03-14")


def parity(off: int) -> Document:
    """A parity of a final day with so many metrics off."""
    span = Span(day=date(2026, 3, 14), zone=ZoneInfo("UTC"))
    numbers = {"streamed": 97, "exact": 100, "drift": -3, "drift_percent": -3.0, "allowed": 0, "of": 1}
    rows = [
        {"tenant": "acme", "section": "total", "key": "", "off": off, "compared": 1},
        {"tenant": "acme", "section": "metric", "key": "messages_sent", **numbers},
    ]
    later = span.end + timedelta(hours=1)
    coverage = Coverage(as_of=later, at=later)
    (found,) = documents(REPORTS["parity"], rows, ["acme"], span, coverage, {})
    return found


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the command over two days of one tenant, of which one is due."""
    stored: dict[str, Any] = {"daily": lambda day: daily(day, tenant="acme"), "parity": lambda day: parity(1)}
    asked: dict[str, Any] = {}

    class Job:
        def plan(self, found: Any, first: date, last: date, tenants: Any, *, again: bool) -> Any:
            asked.update(report=found.name, first=first, last=last, tenants=tenants, again=again)
            return SimpleNamespace(tasks=[SimpleNamespace(tenants={"acme": "new"})])

        def make(self, plan: Any) -> Iterator[Any]:
            yield from plan.tasks

    @contextmanager
    def job(*_: Any) -> Iterator[Any]:
        yield Job(), SimpleNamespace(document=lambda tenant, name, day: stored[name](day))

    monkeypatch.setattr(report, "_job", job)
    monkeypatch.setattr(report, "_zones", lambda kafka, tenant: {"acme": ZoneInfo("UTC")})
    monkeypatch.setattr(report, "running_addresses", lambda: None)

    def run(*words: str) -> Any:
        return CliRunner().invoke(app, ["report", *words], env={"COLUMNS": "300"})

    return SimpleNamespace(run=run, asked=asked, stored=stored)


def lines(text: str) -> Sequence[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_a_table_has_days_side_by_side_and_the_lists_after_it(made):
    done = made.run("daily", *RANGE)
    assert done.exit_code == 0
    sent = [f"{daily(date(2026, 3, day), tenant='acme').figures['sent']:,}" for day in (13, 14)]
    printed = lines(done.stdout)
    assert printed[0] == "2026-03-13 acme 2026-03-14 acme"
    assert printed[2] == "STATE final final"
    assert f"Messages {sent[0]} {sent[1]}" in printed
    assert "2026-03-14 acme: top channels" in done.stdout
    assert "daily: 1 counted, 1 as they were" in done.stderr
    assert made.asked["last"] == date(2026, 3, 14)


def test_many_days_have_a_line_each_with_the_first_figures(made):
    done = made.run("daily", "--from", "2026-03-10", "--to", "2026-03-14")
    (line,) = (line for line in lines(done.stdout) if line.startswith("2026-03-13 acme 2026"))
    figures = daily(date(2026, 3, 13), tenant="acme").figures
    assert line.startswith(f"2026-03-13 acme 2026-03-15 01:17Z final {figures['sent']:,} {figures['active']:,}")


def test_json_and_csv_are_for_scripts(made):
    done = made.run("daily", *RANGE, "--json")
    found = msgspec.json.decode(done.stdout, type=list[Document])
    assert [document.period for document in found] == ["2026-03-13", "2026-03-14"]
    sheet = made.run("daily", *RANGE, "--format", "csv").stdout
    assert sheet.startswith("report,tenant,period,")


def test_a_day_that_was_made_before_a_number_was_counted_stands_beside_the_others(made):
    def of_then(day: date) -> Document:
        found = daily(day, tenant="acme")
        if day.day != 13:
            return found
        columns = tuple(column for column in found.columns if column.name != "joins")
        sections = tuple(
            msgspec.structs.replace(section, columns=tuple(name for name in section.columns if name != "joins"))
            for section in found.sections
        )
        figures = {name: cell for name, cell in found.figures.items() if name != "joins"}
        return msgspec.structs.replace(found, columns=columns, sections=sections, figures=figures)

    made.stored["daily"] = of_then
    joins = daily(date(2026, 3, 14), tenant="acme").figures["joins"]
    assert f"Joins – {joins:,}" in lines(made.run("daily", *RANGE).stdout)
    rows = list(csv.DictReader(io.StringIO(made.run("daily", *RANGE, "--format", "csv").stdout)))
    assert [row["joins"] for row in rows if row["section"] == "total"] == ["", str(joins)]


def test_a_heat_map_has_a_line_a_cohort_and_marks_what_is_not_over(made):
    found = retention()
    made.stored["retention"] = lambda day: found
    done = made.run("retention", "--from", "2026-03-12")
    assert done.exit_code == 0
    shown = lines(done.stdout)
    first_time = found.sections[0]
    last, mean = first_time.rows[-2:]
    assert f"2026-03-09 {last['size']:,} 100.0*" in shown
    assert any(line.startswith(f"mean {mean['size']:,} 100.0 {mean['w1']:.1f} ") for line in shown)
    assert "* not over yet, and not in the mean" in shown
    assert "COHORT PEOPLE W0 W1" in "\n".join(shown)
    assert "OPEN" not in done.stdout


def test_a_page_is_written_to_a_file(made, tmp_path: Path):
    out = tmp_path / "daily.html"
    done = made.run("daily", "--from", "2026-03-14", "--format", "html", "--out", str(out))
    assert done.exit_code == 0
    assert out.read_text().startswith("<!doctype html>")
    assert made.asked["first"] == made.asked["last"] == date(2026, 3, 14)
    assert made.run("daily", "--out", str(out)).exit_code == 2


def test_a_parquet_file_has_typed_columns(made, tmp_path: Path):
    out = tmp_path / "daily.parquet"
    assert made.run("daily", *RANGE, "--format", "parquet", "--out", str(out)).exit_code == 0
    table = parquet.read_table(out)
    kinds = {name: str(table.schema.field(name).type) for name in ("as_of", "sent", "messages_per_sender", "peak_hour")}
    moment = "timestamp[us, tz=UTC]"
    assert kinds == {"as_of": moment, "sent": "int64", "messages_per_sender": "double", "peak_hour": moment}
    figures = [daily(date(2026, 3, day), tenant="acme").figures for day in (13, 14)]
    totals = [row for row in table.to_pylist() if row["section"] == "total"]
    assert [row["sent"] for row in totals] == [found["sent"] for found in figures]
    assert [row["peak_hour"] for row in totals] == [
        datetime.fromisoformat(str(found["peak_hour"])) for found in figures
    ]
    assert {row["section"] for row in table.to_pylist()} >= {"total", "hours", "channels"}
    nowhere = made.run("daily", *RANGE, "--format", "parquet")
    assert nowhere.exit_code == 2
    assert "--out" in nowhere.output


def test_a_metric_that_is_off_on_a_final_day_ends_with_1(made):
    done = made.run("parity", "--from", "2026-03-14")
    assert done.exit_code == 1
    assert "messages_sent 97 100 -3 -3.00 0" in "\n".join(lines(done.stdout))
    made.stored["parity"] = lambda day: parity(0)
    assert made.run("parity", "--from", "2026-03-14").exit_code == 0


def test_what_cannot_be_made_is_said_by_name(made):
    unknown = made.run("yearly")
    assert unknown.exit_code == 2
    assert f"one of {', '.join(REPORTS)}" in " ".join(unknown.output.split())
    backwards = made.run("daily", "--from", "2026-03-14", "--to", "2026-03-13")
    assert backwards.exit_code == 2
    assert "is before --from" in backwards.output
    assert made.run("daily", "--from", "yesterday").exit_code == 2


def test_the_help_names_every_report():
    described = CliRunner().invoke(app, ["report", "--help"]).output
    # However the terminal's width breaks the line.
    assert f"Which:{','.join(REPORTS)}." in "".join(described.split())
