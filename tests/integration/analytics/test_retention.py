"""Retention and lifecycle on real Spark, against people followed one by one, and small cases worked out by hand."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pyspark.sql import SparkSession

from analytics.reports import visits
from analytics.reports.registry import REPORTS
from analytics.reports.snapshot import Snapshot
from analytics.reports.spans import Span
from infra.contracts.reports import Document
from tests.integration.analytics.archived import Fact, fact, write
from tests.integration.analytics.cohorts import People, joining
from tests.integration.analytics.places import Place

BERLIN = ZoneInfo("Europe/Berlin")
#: The clocks of Berlin change on it, a Sunday.
DAY = date(2026, 3, 29)
START = datetime(2025, 12, 5, 3, tzinfo=UTC)
STATES = ("active", "new", "returning", "resurrecting", "dormant")


@pytest.fixture(scope="module")
def facts() -> list[Fact]:
    return joining(START, 130)


@pytest.fixture(scope="module")
def lived_in(tmp_path_factory: pytest.TempPathFactory, delta: SparkSession, facts: list[Fact]) -> Place:
    root = tmp_path_factory.mktemp("lived-in")
    write(root, facts)
    return Place(root, delta)


@pytest.fixture
def place(tmp_path: Path, delta: SparkSession) -> Place:
    return Place(tmp_path / "archive", delta)


def rows(document: Document, name: str) -> list[dict[str, Any]]:
    return [dict(row) for section in document.sections if section.name == name for row in section.rows]


def of_week(place: Place, day: date, as_of: datetime | None = None) -> tuple[Document, Document]:
    (span,) = REPORTS["retention"].spans(day, day, BERLIN)
    return place.document("retention", span, as_of=as_of), place.document("lifecycle", span, as_of=as_of)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize("name", ["retention", "retention-daily", "retention-monthly"])
def test_cohorts_are_retained_as_following_each_person_finds(
    lived_in: Place, facts: list[Fact], name: str, zone: str
) -> None:
    (span,) = REPORTS[name].spans(DAY, DAY, ZoneInfo(zone))
    as_of = span.start + timedelta(hours=5)
    document = lived_in.document(name, span, as_of=as_of)
    people, count, letter = People(facts, "acme", span, ZoneInfo(zone)), visits.PERIODS[span.grain], span.grain[0]
    cohorts = range(people.last - count + 1, people.last + 1)
    for section, first in (("first_time", True), ("recurring", False)):
        *found, mean = rows(document, section)
        sums = {n: [0, 0] for n in range(count)}
        assert [row["cohort"] for row in found] == [people.label(number) for number in cohorts]
        for row, number in zip(found, cohorts, strict=True):
            cohort = people.cohort(number, first=first)
            assert row["size"] == len(cohort)
            for n in range(count):
                came = people.retained(cohort, number + n)
                if number + n > people.last or not cohort:
                    assert row[f"{letter}{n}"] is None
                    continue
                assert row[f"{letter}{n}"] == pytest.approx(100 * came / len(cohort), abs=0.051)
                if number + n < people.last:
                    sums[n] = [sums[n][0] + came, sums[n][1] + len(cohort)]
            assert row["open"] == (f"{letter}{people.last - number}" if cohort else None)
        assert sum(row["size"] for row in found) == mean["size"] > 5
        for n, (came, size) in sums.items():
            assert mean[f"{letter}{n}"] == (pytest.approx(100 * came / size, abs=0.051) if size else None)
        assert 0 < mean[f"{letter}1"] < 100
    first_time = rows(document, "first_time")[-1]
    assert {n: document.figures[n] for n in document.figures if n != "r30"} == {
        n: first_time[n] for n in document.figures if n != "r30"
    }
    assert document.figures["r30"] == people.r30(span.day)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize("name", ["lifecycle", "lifecycle-daily", "lifecycle-monthly"])
def test_everybody_active_is_new_returning_or_resurrecting(
    lived_in: Place, facts: list[Fact], name: str, zone: str
) -> None:
    (span,) = REPORTS[name].spans(DAY, DAY, ZoneInfo(zone))
    document = lived_in.document(name, span)
    people, count = People(facts, "acme", span, ZoneInfo(zone)), visits.PERIODS[span.grain]
    found = rows(document, f"{span.grain}s")
    for row, number in zip(found, range(people.last - count + 1, people.last + 1), strict=True):
        assert row[span.grain].startswith(people.label(number))
        assert {state: row[state] for state in STATES} == people.lifecycle(number)
        assert row["new"] + row["returning"] + row["resurrecting"] == row["active"]
    # Who was there before either returned or went dormant.
    for before, row in pairwise(found):
        assert row["returning"] + row["dormant"] == before["active"]
    assert {name: sum(row[name] for row in found) > 0 for name in STATES} == dict.fromkeys(STATES, True)
    assert document.figures == {state: found[-1][state] for state in STATES}


def at(moment: str) -> datetime:
    return datetime.fromisoformat(moment).replace(tzinfo=UTC)


#: Weeks of Berlin: A begins on 16, B on 23 and C on 30 March. B ends at 22:00 UTC, an hour earlier than it began.
EXAMPLE = [
    *(fact(n, at("2026-03-18 12:00"), user_id=who) for n, who in enumerate(("ann", "bob", "cem"))),
    fact(3, at("2026-03-29 21:59:59"), user_id="ann"),
    fact(4, at("2026-03-25 12:00"), user_id="bob", type="receipt.read", message_id="e0"),
    fact(5, at("2026-03-22 23:00"), user_id="dan"),
    fact(6, at("2026-03-29 22:00"), user_id="dan"),
    fact(7, at("2026-03-31 12:00"), user_id="ann"),
]
#: C is not over.
AS_OF = at("2026-04-01 00:00")
WEEK_C = date(2026, 3, 30)


def test_the_example_is_as_the_documentation_works_it_out(place: Place) -> None:
    write(place.root, EXAMPLE)
    retention, lifecycle = of_week(place, WEEK_C, AS_OF)
    *_, before, a, b, c, mean = rows(retention, "first_time")
    shares = ("cohort", "size", "w0", "w1", "w2", "w3", "open")
    assert [before[n] for n in shares] == ["2026-03-09", 0, None, None, None, None, None]
    assert [a[n] for n in shares] == ["2026-03-16", 3, 100.0, 66.7, 33.3, None, "w2"]
    assert [b[n] for n in shares] == ["2026-03-23", 1, 100.0, 100.0, None, None, "w1"]
    assert [c[n] for n in shares] == ["2026-03-30", 0, None, None, None, None, None]
    assert [mean[n] for n in shares] == ["mean", 4, 100.0, 66.7, None, None, None]
    *_, a, b, c, mean = rows(retention, "recurring")
    assert [a[n] for n in shares] == ["2026-03-16", 3, 100.0, 66.7, 33.3, None, "w2"]
    assert [b[n] for n in shares] == ["2026-03-23", 2, 100.0, 100.0, None, None, "w1"]
    assert [c[n] for n in shares] == ["2026-03-30", 2, 100.0, None, None, None, "w0"]
    assert [mean[n] for n in shares] == ["mean", 7, 100.0, 66.7, None, None, None]
    *_, a, b, c = rows(lifecycle, "weeks")
    assert [a[n] for n in STATES] == [3, 3, 0, 0, 0]
    assert [b[n] for n in STATES] == [3, 1, 2, 0, 1]
    assert [c[n] for n in STATES] == [2, 0, 2, 0, 1]
    # Once C is over its shares are in the mean: of Ann, Bob, Cem and Dan three came after a week.
    over, _ = of_week(place, WEEK_C, at("2026-04-06 00:00"))
    *_, a, b, c, mean = rows(over, "first_time")
    assert [mean[n] for n in shares] == ["mean", 4, 100.0, 75.0, 33.3, None, None]
    assert {row["open"] for row in (a, b, c, mean)} == {None}


def test_bots_and_what_was_blocked_begin_nothing_and_the_first_copy_counts(place: Place) -> None:
    down: dict[str, Any] = {"type": "message.blocked", "message_id": "e20", "user_id": "hubbub"}
    first, _ = fact(30, at("2026-03-22 22:59:58"), user_id="gus")
    later = at("2026-03-22 23:00:30")
    write(
        place.root,
        [
            *EXAMPLE,
            fact(10, at("2026-03-18 12:00"), user_id="bot", is_bot=True),
            fact(11, at("2026-03-26 12:00"), user_id="bot", is_bot=True),
            fact(12, at("2026-03-18 12:00"), "blocked", user_id="eve"),
            # Eve's first message was taken down two weeks later: hers is the one in B.
            fact(20, at("2026-03-18 12:00"), user_id="eve"),
            fact(21, at("2026-03-26 12:00"), user_id="eve"),
            fact(22, at("2026-04-01 12:00"), **down),
            # Joined, read, and never wrote.
            fact(23, at("2026-03-18 12:00"), user_id="fay", type="channel.joined"),
            (first, "events"),
            fact(30, later, user_id="gus"),
        ],
    )
    retention, lifecycle = of_week(place, WEEK_C, AS_OF)
    *_, a, b, _, mean = rows(retention, "first_time")
    # A: Ann, Bob, Cem and Gus. B: Dan and Eve.
    assert [a[n] for n in ("size", "w1", "w2")] == [4, 50.0, 25.0]
    assert [b[n] for n in ("size", "w1")] == [2, 50.0]
    assert [mean[n] for n in ("size", "w1")] == [6, 50.0]
    *_, a, b, c = rows(lifecycle, "weeks")
    assert [a[n] for n in STATES] == [5, 5, 0, 0, 0]
    assert [b[n] for n in STATES] == [4, 2, 2, 0, 3]
    assert [c[n] for n in STATES] == [2, 0, 2, 0, 2]


def test_a_first_message_that_arrives_late_moves_its_writer_to_an_older_cohort(place: Place) -> None:
    write(place.root, EXAMPLE)
    (span,) = REPORTS["retention"].spans(WEEK_C, WEEK_C, BERLIN)
    tables = REPORTS["retention"].tables
    before = Snapshot(place.reader, tables)
    # Imported when C has begun, of a year before: Dan is no newcomer of B, but back after a long time.
    years_ago = at("2024-02-29 12:00")
    write(place.root, [fact(40, years_ago, user_id="dan", historical=True, received_at=AS_OF)])
    after = Snapshot(place.reader, tables)
    assert after.extent(span, tables).rows["events"] == before.extent(span, tables).rows["events"] + 1
    retention, lifecycle = of_week(place, WEEK_C, AS_OF)
    *_, b, _, mean = rows(retention, "first_time")
    assert (b["size"], mean["size"]) == (0, 3)
    assert [row["size"] for row in rows(retention, "recurring")[-4:]] == [3, 2, 2, 7]
    *_, b, _ = rows(lifecycle, "weeks")
    assert [b[n] for n in STATES] == [3, 0, 2, 1, 1]
    # A message of years ago that is taken down is noticed as well.
    blocked = fact(41, AS_OF, type="message.blocked", message_id="e40", user_id="hubbub")
    write(place.root, [blocked])
    (removal,) = Snapshot(place.reader, tables).removals([span], AS_OF)
    assert (removal.tenant, removal.sent) == ("acme", years_ago)


def test_r30_is_who_came_on_two_days_more_than_30_apart_of_60(place: Place) -> None:
    today = datetime(2026, 3, 11, 22, 59, tzinfo=UTC)  # a Wednesday, a minute before midnight in Berlin

    def on(number: int, who: str, *ago: int) -> list[Fact]:
        return [fact(100 * number + n, today - timedelta(days=n), user_id=who) for n in ago]

    write(
        place.root,
        [
            *on(1, "thirty", 0, 30),
            *on(2, "more", 0, 31),
            *on(3, "oldest", 28, 59),
            *on(4, "too old", 0, 60),
            *on(5, "often", 0, 1, 2, 3, 29),
            *on(6, "gone", 40, 55),
        ],
    )
    (span,) = REPORTS["retention"].spans(today.date(), today.date(), BERLIN)
    assert place.document("retention", span, as_of=today).figures["r30"] == 2
    # The day after begins: the one of 59 days ago is forgotten, nobody else is added.
    assert place.document("retention", span, as_of=today + timedelta(minutes=2)).figures["r30"] == 1


def test_a_community_without_anybody_has_its_cohorts_all_the_same(place: Place) -> None:
    write(place.root, [fact(1, at("2026-03-18 12:00"), is_bot=True)])
    retention, lifecycle = of_week(place, WEEK_C)
    assert retention.figures == {"r30": 0, "size": 0, "w1": None, "w4": None, "w12": None}
    assert [row["size"] for row in rows(retention, "first_time")] == [0] * 14
    assert set(lifecycle.figures.values()) == {0}
    span = Span(day=WEEK_C, zone=BERLIN, count=7, grain="week")
    assert rows(lifecycle, "weeks")[-1]["week"] == span.start.astimezone(BERLIN).isoformat()
