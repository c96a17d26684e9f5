"""The page and the sheet: everything that was counted is there, in words too, and nothing a user wrote is markup."""

import base64
import csv
import hashlib
import io
import re
from datetime import UTC, date, datetime
from html.parser import HTMLParser
from zoneinfo import ZoneInfo

import msgspec
import pytest

from analytics.reports.charts import chart, nice
from analytics.reports.counting import documents
from analytics.reports.coverage import Coverage
from analytics.reports.job import rendered
from analytics.reports.page import page
from analytics.reports.registry import REPORTS
from analytics.reports.sheet import sheet
from infra.contracts.reports import Document
from tests.unit.analytics.reported import CHANNELS, PEOPLE, daily, week

HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "=cmd|' /C calc'!A0", "a&b", "\u202egnp.exe")
_VOID = {"meta", "img", "br", "link", "input"}


class Outline(HTMLParser):
    """Elements with their attributes, the text in each, and whether all of them were closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", data.strip()))

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        return [
            a for t, a in self.elements if t == tag and all(a.get(k.strip("_")) == v for k, v in attributes.items())
        ]

    def of(self, tag: str) -> list[str]:
        return [text for t, text in self.texts if t == tag]


@pytest.fixture(scope="module")
def document() -> Document:
    return daily()


@pytest.fixture(scope="module")
def outline(document: Document) -> Outline:
    return Outline(page([document]))


def test_every_element_is_closed_and_every_figure_shown(document: Document, outline: Outline):
    assert outline.open == []
    shown = {a["data-figure"] for a in outline.all("dd") if "data-figure" in a}
    assert shown == set(document.figures)
    assert f"{document.figures['sent']:,}" in outline.of("dd")
    assert "Saturday, 14 March 2026" in outline.of("h1")
    assert document.columns[0].meaning in outline.of("dd")


def test_it_says_as_of_when_how_complete_and_whether_final(outline: Outline):
    assert outline.all("span", class_="pill final")
    assert any(text.startswith("Everything accepted before 15 Mar 2026, 02:17:04 CET") for text in outline.of("span"))
    unknown = Outline(page([daily(as_of=None)]))
    assert unknown.all("span", class_="pill incomplete")
    early = Outline(page([daily(as_of=datetime(2026, 3, 14, 20, tzinfo=UTC))]))
    assert early.all("span", class_="pill open")


def test_charts_are_also_words_and_tables(document: Document, outline: Outline):
    hours = next(s for s in document.sections if s.name == "hours")
    drawn = [a["aria-label"] or "" for a in outline.all("svg", role="img")]
    assert [label.split(":")[0] for label in drawn] == ["Messages", "Reactions", "Active"]
    assert f"{sum(int(row['sent'] or 0) for row in hours.rows):,} in all, most at 21:00" in drawn[0]
    assert len(outline.all("rect", class_="col") + outline.all("rect", class_="col peak")) >= 3 * 20
    # Twenty-four hours and every channel, each with a header cell.
    assert len(outline.all("th", scope="row")) == 24 + len(CHANNELS)
    assert {a["tabindex"] for a in outline.all("div", class_="scroll")} == {"0"}


def test_it_needs_nothing_else_and_lets_nothing_run(document: Document):
    html = page([document])
    assert not re.search(r"(src|href)=[\"']?(https?:|//)", html)
    assert "<script" not in html
    assert " style=" not in html
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"default-src &#39;none&#39;; style-src &#39;sha256-{digest}&#39;" in html


def test_how_much_the_archive_holds_of_others_is_in_no_format(document: Document):
    stored = rendered(document)
    assert msgspec.json.decode(stored["json"])["archive"] == {"versions": {"events": 1_442, "held": 1_440}}
    assert not any("archived rows" in body for body in stored.values())


def test_what_users_wrote_stays_text():
    outline = Outline(page([daily(channels=HOSTILE, people=HOSTILE)]))
    assert not outline.all("script")
    assert not outline.all("img")
    assert HOSTILE[0] in outline.of("th")
    assert HOSTILE[1] in outline.of("span")


def test_several_days_begin_with_an_overview():
    documents = week()
    outline = Outline(page(documents))
    assert len(outline.all("article")) == 7
    anchors = {a["id"] for a in outline.all("article")}
    assert {(a["href"] or "").removeprefix("#") for a in outline.all("a")} == anchors
    (overview,) = outline.all("section", class_="panel overview")
    assert overview["aria-label"] == "Days of demo"


def test_the_sheet_has_a_row_for_each_thing_counted(document: Document):
    rows = list(csv.DictReader(io.StringIO(sheet([document]))))
    assert len(rows) == 1 + 24 + 10 + 10 + len(CHANNELS)
    (total,) = [row for row in rows if row["section"] == "total"]
    assert (total["sent"], total["peak_hour"]) == (str(document.figures["sent"]), "2026-03-14T21:00:00+01:00")
    assert (total["final"], total["complete"], total["revision"]) == ("true", "true", "1")
    assert total["as_of"] == "2026-03-15T01:17:04+00:00"
    people = [row["key"] for row in rows if row["section"] == "top_users"]
    assert people == list(PEOPLE[:10])
    assert sheet([]).count("\n") == 1


def test_no_cell_of_the_sheet_is_a_formula():
    rows = csv.DictReader(io.StringIO(sheet([daily(channels=HOSTILE)])))
    assert "'=cmd|' /C calc'!A0" in {row["key"] for row in rows}


def test_several_days_are_one_sheet():
    rows = list(csv.DictReader(io.StringIO(sheet(week(date(2026, 3, 15), 3)))))
    assert [row["period"] for row in rows if row["section"] == "total"] == ["2026-03-13", "2026-03-14", "2026-03-15"]


def test_bars_stand_on_a_round_scale():
    for value in (0, 1, 2, 3, 7, 11, 99, 597, 1_001, 123_456):
        top = nice(value)
        assert top >= max(value, 2)
        assert top % 2 == 0
        assert top <= max(2, value * 2.5)
    bars = chart([0, 3, 6, 6], ["a", "b", "c", "d"], every=2)
    assert [bar.note for bar in bars.bars] == ["b", "c", "d"]
    assert [bar.peak for bar in bars.bars] == [False, True, True]
    assert bars.bars[1].height == 100
    assert [label for _, label in bars.ticks] == ["a", "c"]
    assert chart([], [], every=3).bars == []


def abstaining() -> Document:
    """A churn report that says nothing, and why."""
    report = REPORTS["churn"]
    (span,) = report.spans(date(2026, 3, 14), date(2026, 3, 14), ZoneInfo("UTC"))
    (document,) = documents(report, [], ["demo"], span, Coverage(as_of=span.end, at=span.end), {})
    return document


def test_a_figure_in_words_is_a_sentence_and_none_where_there_is_none(document: Document):
    found = abstaining()
    outline = Outline(page([found]))
    assert found.figures["abstained"] in outline.of("span")
    assert "No prediction" in outline.of("span")
    assert "abstained" not in {a.get("data-figure") for a in outline.all("dd")}
    predicted = msgspec.structs.replace(found, figures={**found.figures, "abstained": None})
    assert "No prediction" not in Outline(page([predicted])).of("span")


def test_a_tenant_of_whom_nothing_is_known_is_told_so_in_every_format():
    found = rendered(abstaining())
    assert msgspec.json.decode(found["json"])["figures"]["abstained"].startswith("0 days of history")
    (total,) = csv.DictReader(io.StringIO(found["csv"]))
    assert total["abstained"] == "0 days of history; 42 are needed, three times 14"
    assert (total["history"], total["auc"]) == ("0", "")
