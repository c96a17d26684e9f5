"""Each report of the registry agrees with itself and can be shown in every format, full and empty."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from analytics.reports import facts
from analytics.reports.counting import documents
from analytics.reports.coverage import Coverage
from analytics.reports.job import rendered
from analytics.reports.registry import REPORTS
from analytics.reports.report import Report
from infra.contracts.reports import Document

AS_OF = datetime(2026, 6, 1, tzinfo=UTC)
TEXTS = {"channel", "person", "rule", "time", "yes or no"}

reports = pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)


def made(report: Report, rows: list[dict[str, Any]]) -> Document:
    (span,) = report.spans(date(2026, 4, 1), date(2026, 4, 1), ZoneInfo("Europe/Berlin"))
    versions = {table.name: 3 for table in report.tables}
    (document,) = documents(report, rows, ["acme"], span, Coverage(as_of=AS_OF, at=AS_OF), versions)
    return document


def one_each(report: Report) -> Iterator[dict[str, Any]]:
    """A row for the total and one for each section, with a value in every column."""
    cells = {c.name: f"<{c.name}>" if c.unit in TEXTS else 1 for c in report.columns}
    for section in {facts.TOTAL, *(shape.section for shape in report.shapes)}:
        key = "1" if section == facts.STEP else "<k>"
        yield {"tenant": "acme", "section": section, "key": key, "of": 1, **cells}


@reports
def test_what_is_shown_is_declared_once(report: Report):
    names = [column.name for column in report.columns]
    assert len(set(names)) == len(names)
    assert set(report.headline) <= set(report.figures) <= set(names)
    shapes = [shape.name for shape in report.shapes]
    assert len(set(shapes)) == len(shapes)
    for shape in report.shapes:
        assert {*shape.columns, *shape.order} <= set(names)
        assert shape.key not in shape.columns
        assert shape.kind == "series" or shape.most > 0
        if shape.kind == "ranking":
            assert shape.columns[0] == shape.order[0], "a ranking is by what its bars show"


@reports
def test_every_format_holds_a_full_report_and_an_empty_one(report: Report):
    full, empty = made(report, list(one_each(report))), made(report, [])
    assert all(section.rows for section in full.sections)
    assert not any(section.rows for section in empty.sections if section.kind in ("ranking", "table"))
    for document in (full, empty):
        bodies = rendered(document)
        assert msgspec.json.decode(bodies["json"], type=Document) == document
        lists = sum(len(section.rows) for section in document.sections)
        assert len(bodies["csv"].splitlines()) == 2 + lists
        assert bodies["html"].count("data-figure=") == len(report.figures)
        assert "<k>" not in bodies["html"]
