"""A heat map is shaded by its shares, says in words what can still change, and is the same page, sheet and document."""

import csv
import io
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from analytics.reports import visits
from analytics.reports.counting import documents
from analytics.reports.coverage import Coverage
from analytics.reports.heatmap import SHADES, tiles
from analytics.reports.page import page
from analytics.reports.registry import REPORTS
from analytics.reports.sheet import sheet
from infra.contracts.reports import OPEN, Column, Document
from tests.unit.analytics.reported import retention
from tests.unit.analytics.test_report_page import Outline

SHARE = Column(name="w0", label="W0", meaning="came", unit="percent", optional=True)
LATER = Column(name="w1", label="W1", meaning="came later", unit="percent", optional=True)
SIZE = Column(name="size", label="People", meaning="people", unit="people")
MARK = Column(name=OPEN, label="Open from", meaning="what is open", unit="column", optional=True)


@pytest.fixture(scope="module")
def document() -> Document:
    return retention()


@pytest.mark.parametrize(
    ("share", "shade"),
    [(0.0, 0), (0.1, 1), (10.0, 1), (10.1, 2), (50.0, 5), (90.1, 10), (100.0, 10), (0, 0), (100, 10)],
)
def test_a_tile_is_darker_the_more_came(share: float, shade: int):
    (tile,) = tiles([SHARE], {"w0": share, OPEN: None})
    assert (tile.shade, tile.text, tile.open) == (shade, f"{share:.1f}", False)


def test_what_is_open_is_open_from_there_on_and_what_is_not_there_is_empty():
    columns = [SIZE, SHARE, LATER, MARK]
    found = tiles(columns, {"size": 1_200, "w0": 100.0, "w1": 4.25, OPEN: "w1"})
    assert [(tile.text, tile.open) for tile in found] == [("1,200", False), ("100.0", False), ("4.2", True)]
    both = tiles(columns, {"size": 3, "w0": 100.0, "w1": 0.0, OPEN: "w0"})
    assert [tile.open for tile in both] == [False, True, True]
    nobody = tiles(columns, {"size": 0, "w0": None, "w1": None, OPEN: None})
    assert [(tile.text, tile.shade) for tile in nobody] == [("0", None), ("", None), ("", None)]


def test_the_page_shades_each_share_by_a_class_that_its_style_has(document: Document):
    html = page([document])
    outline = Outline(html)
    assert outline.open == []
    assert " style=" not in html
    shades = {name for a in outline.all("td") for name in (a.get("class") or "").split() if name.startswith("h")}
    assert len(shades) > 3
    assert shades <= {f"h{n}" for n in range(SHADES + 1)}
    assert all(f".heat .h{n} {{" in html for n in range(1, SHADES + 1))
    assert len(outline.all("table", class_="heat")) == 2
    assert len(outline.all("tr", class_="mean")) == 2
    opened = [a for a in outline.all("td") if "open" in (a.get("class") or "").split()]
    assert opened
    assert {a["title"] for a in opened} == {"not over yet"}
    assert len([text for text in outline.of("td") if text.endswith("*")]) == len(opened)
    assert "open" not in outline.of("th")


def test_cohorts_are_days_of_the_calendar_and_have_a_size_when_nobody_came(document: Document):
    first_time, _ = document.sections
    *cohorts, mean = first_time.rows
    assert [row["cohort"] for row in cohorts][-2:] == ["2026-03-02", "2026-03-09"]
    assert len(cohorts) == visits.PERIODS["week"]
    assert cohorts[0] == {"cohort": "2025-12-15", "size": 0, "open": None} | {f"w{n}": None for n in range(13)}
    assert mean["cohort"] == "mean"
    assert first_time.omitted == 0


def test_the_sheet_has_a_row_for_each_cohort_and_their_mean(document: Document):
    rows = [row for row in csv.DictReader(io.StringIO(sheet([document]))) if row["section"] == "first_time"]
    assert [row["key"] for row in rows][-2:] == ["2026-03-09", "mean"]
    assert (rows[-2]["w0"], rows[-2]["open"], rows[-2]["w1"]) == ("100.0", "w0", "")


def test_periods_of_a_lifecycle_begin_when_its_clocks_say():
    zone = ZoneInfo("Europe/Berlin")
    for name, key, first, last in (
        ("lifecycle", "week", "2026-01-05T00:00:00+01:00", "2026-03-30T00:00:00+02:00"),
        ("lifecycle-daily", "day", "2026-03-18T00:00:00+01:00", "2026-04-01T00:00:00+02:00"),
        ("lifecycle-monthly", "month", "2025-04-01T00:00:00+02:00", "2026-04-01T00:00:00+02:00"),
    ):
        (span,) = REPORTS[name].spans(date(2026, 4, 1), date(2026, 4, 1), zone)
        coverage = Coverage(as_of=span.end, at=span.end)
        steps: list[dict[str, Any]] = [
            {"tenant": "demo", "section": "step", "key": str(n), "active": n, "new": n} for n in (0, 2)
        ]
        (document,) = documents(REPORTS[name], steps, ["demo"], span, coverage, {})
        (series,) = document.sections
        assert (series.rows[0][key], series.rows[-1][key]) == (first, last)
        assert [row["active"] for row in series.rows] == [0, 0, 2, *[0] * (visits.PERIODS[span.grain] - 3)]
        outline = Outline(page([document]))
        shown = {"week": "30 Mar", "day": "Wed 1 Apr", "month": "Apr 2026"}[key]
        assert shown in outline.of("th")
        assert datetime.fromisoformat(last) == span.start
