"""Sessions on real Spark: against one pass over the events in plain Python, and cases worked out by hand."""

from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from statistics import median, quantiles
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pyspark.sql import SparkSession

from analytics.reports.registry import REPORTS
from analytics.reports.spans import Span
from tests.integration.analytics.archived import Fact, fact, write
from tests.integration.analytics.places import Place, sections_of
from tests.integration.analytics.visited import comings, visits

DAY = date(2026, 3, 29)
FIRST = datetime(2026, 3, 25, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
NOON = datetime(2026, 3, 29, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
ENDS = (1, 5, 15, 30, 60, 180, 480, 1_440)


def of_day(day: date = DAY, zone: ZoneInfo | None = None) -> Span:
    (span,) = REPORTS["sessions"].spans(day, day, zone or ZoneInfo("UTC"))
    return span


@pytest.fixture(scope="module")
def week() -> list[Fact]:
    return comings(seed=11, start=FIRST, days=7)


@pytest.fixture(scope="module")
def visited(tmp_path_factory: pytest.TempPathFactory, delta: SparkSession, week: list[Fact]) -> Place:
    root = tmp_path_factory.mktemp("visited")
    write(root, week)
    return Place(root, delta)


@pytest.mark.parametrize("day", [DAY, DAY - timedelta(days=1)])
@pytest.mark.parametrize(("zone", "tenant"), [("UTC", "acme"), ("Europe/Berlin", "acme"), ("Asia/Kathmandu", "other")])
def test_sessions_are_what_one_pass_over_the_events_finds(
    visited: Place, week: list[Fact], day: date, zone: str, tenant: str
) -> None:
    span = of_day(day, ZoneInfo(zone))
    found = visits(week, tenant, span)
    assert len(found) > 20
    document = visited.document("sessions", span, tenant)
    figures, sections = document.figures, sections_of(document)
    lengths = [visit.length.total_seconds() for visit in found]
    engaged: dict[str, float] = defaultdict(float)
    for visit in found:
        engaged[visit.person] += visit.engaged.total_seconds()
    assert (figures["sessions"], figures["people"]) == (len(found), len(engaged))
    assert figures["sessions_per_person"] == pytest.approx(len(found) / len(engaged), abs=0.006)
    assert figures["median"] == pytest.approx(median(lengths), abs=0.06)
    assert figures["p90"] == pytest.approx(quantiles(lengths, n=10, method="inclusive")[-1], abs=0.06)
    assert figures["engaged"] == pytest.approx(sum(engaged.values()), abs=0.06)
    assert figures["engaged_per_person"] == pytest.approx(median(engaged.values()), abs=0.06)
    hours = Counter((visit.moments[0] - span.start) // timedelta(hours=1) for visit in found)
    assert {n: row["sessions"] for n, row in enumerate(sections["hours"]) if row["sessions"]} == hours
    by_length = Counter(next(end for end in ENDS if visit.length < end * MINUTE) for visit in found)
    assert [row["sessions"] for row in sections["lengths"]] == [by_length[end] for end in ENDS if by_length[end]]
    assert sum(row["engaged"] for row in sections["lengths"]) == pytest.approx(sum(engaged.values()), abs=0.5)
    ranked = sorted(engaged.items(), key=lambda item: (-round(item[1], 1), item[0]))[:10]
    assert [row["user"] for row in sections["top_users"]] == [who for who, seconds in ranked if seconds]
    assert document.final
    # The traps are in it.
    assert any(visit.moments[-1] >= span.end for visit in found)


def at(number: int, minutes: float, who: str = "ann", session: str | None = None, **fields: Any) -> Fact:
    """A message so many minutes after noon."""
    device = fields.pop("device", "phone")
    context = {"device": device, **({"session_id": session} if session else {})}
    return fact(number, NOON + minutes * MINUTE, user_id=who, **{"context": context, **fields})


def counted(place: Place, span: Span | None = None) -> dict[str, Any]:
    return dict(place.document("sessions", span or of_day()).figures)


def test_thirty_minutes_are_no_gap_and_a_millisecond_more_is_one(place: Place) -> None:
    write(place.root, [at(1, 0), at(2, 30), at(3, 31), at(4, 61), at(5, 91 + 1 / 60_000)])
    write(place.root, [at(6, 0, "bob"), at(7, 30 + 1 / 60_000, "bob"), at(8, 33, "bob")])
    figures = counted(place)
    # ann's first is of 61 minutes, of which 5 + 1 + 5 engaged; her last, bob's two are apart.
    assert (figures["sessions"], figures["people"], figures["sessions_per_person"]) == (4, 2, 2.0)
    # 61 min, 0, 0, and 3 min less a millisecond.
    assert (figures["median"], figures["p90"]) == (90.0, 2_616.0)
    assert (figures["engaged"], figures["engaged_per_person"]) == (840.0, 420.0)


def test_a_session_over_midnight_is_one_and_counts_on_the_day_it_began(place: Place) -> None:
    midnight = datetime(2026, 3, 28, 23, tzinfo=UTC)
    write(place.root, [fact(n, midnight + minutes * MINUTE) for n, minutes in enumerate((-10, 5, 20, 90))])
    first = counted(place, of_day(DAY - timedelta(days=1), BERLIN))
    assert [first[n] for n in ("sessions", "people", "median", "engaged")] == [1, 1, 1_800.0, 600.0]
    second = place.document("sessions", of_day(DAY, BERLIN))
    assert (second.figures["sessions"], second.figures["median"]) == (1, 0.0)
    assert [row["start"] for row in sections_of(second)["hours"] if row["sessions"]] == ["2026-03-29T01:00:00+01:00"]


def test_the_night_the_clocks_change_has_no_hour_and_no_gap(place: Place) -> None:
    # 01:55 and 03:05 by the clock are ten minutes apart.
    write(place.root, [fact(1, datetime(2026, 3, 29, 0, 55, tzinfo=UTC))])
    write(place.root, [fact(2, datetime(2026, 3, 29, 1, 5, tzinfo=UTC))])
    document = place.document("sessions", of_day(DAY, BERLIN))
    assert (document.figures["sessions"], document.figures["median"], document.figures["engaged"]) == (1, 600.0, 300.0)
    hours = sections_of(document)["hours"]
    assert len(hours) == 23
    assert [row["start"] for row in hours if row["sessions"]] == ["2026-03-29T01:00:00+01:00"]


def test_who_never_sleeps_has_a_session_a_day_from_when_they_began(place: Place) -> None:
    began = NOON - timedelta(hours=48)
    write(place.root, [fact(n, began + n * 20 * MINUTE) for n in range(181)])  # for sixty hours
    middle, last = counted(place, of_day(DAY - timedelta(days=1))), counted(place)
    # From noon to 11:40, 71 gaps; then from noon to midnight, 36 gaps; of each gap 5 minutes.
    assert [middle[n] for n in ("sessions", "median", "engaged")] == [1, 85_200.0, 21_300.0]
    assert [last[n] for n in ("sessions", "median", "engaged")] == [1, 43_200.0, 10_800.0]
    assert counted(place, of_day(DAY + timedelta(days=1)))["sessions"] == 0


def test_two_devices_are_two_sessions_and_engage_twice(place: Place) -> None:
    laptop: dict[str, Any] = {"device": {"id": "laptop", "model": "x"}}
    write(place.root, [at(1, 0), at(2, 4), at(3, 1, **laptop), at(4, 3, **laptop)])
    # Nameless, a visitor is their browser; a person without a device is at one they do not name.
    write(place.root, [fact(5, NOON, user_id=None, anonymous_id="v1"), fact(6, NOON + MINUTE, anonymous_id="v1")])
    document = place.document("sessions", of_day())
    figures = document.figures
    assert [figures[n] for n in ("sessions", "people", "engaged")] == [4, 2, 360.0]
    (first,) = sections_of(document)["top_users"]
    assert (first["user"], first["sessions"], first["engaged"]) == ("ann", 3, 360.0)
    lengths = {row["length"]: (row["sessions"], row["people"]) for row in sections_of(document)["lengths"]}
    assert lengths == {"00:00 to 00:01": (2, 2), "00:01 to 00:05": (2, 1)}


def test_another_id_of_the_client_begins_another_session_where_both_can_be_believed(place: Place) -> None:
    write(
        place.root,
        [
            # Two: of five minutes, with an event that names none, and of two.
            *(at(1, 0, "ann", "a"), at(2, 3, "ann"), at(3, 5, "ann", "a"), at(4, 6, "ann", "b"), at(5, 8, "ann", "b")),
            # One: two windows of a browser take turns.
            *(at(10 + n, n, "bob", f"w{n % 2}") for n in range(6)),
            # One each: cem's second id is dan's as well, and eve has it on two devices.
            *(at(20, 0, "cem", "c"), at(21, 1, "cem", "shared"), at(22, 0, "dan", "shared")),
            *(at(30, 0, "eve", "e"), at(31, 1, "eve", "both"), at(32, 1, "eve", "both", device="tablet")),
            # Three: an idle gap within an id ends the session and what the id says, so that nothing parts f and g.
            *(at(40, 0, "fay", "f"), at(41, 40, "fay", "f"), at(42, 41, "fay", "g"), at(43, 80, "fay", "h")),
        ],
    )
    rows = sections_of(place.document("sessions", of_day()))["top_users"]
    assert {row["user"]: (row["sessions"], row["engaged"]) for row in rows} == {
        "ann": (2, 420.0),
        "bob": (1, 300.0),
        "cem": (1, 60.0),
        "eve": (2, 60.0),
        "fay": (3, 60.0),
    }
    assert counted(place)["people"] == 6


def test_what_was_done_counts_and_what_nobody_did_does_not(place: Place) -> None:
    write(
        place.root,
        [
            # Deleted since, and imported as history: both are signs of ann.
            *(at(1, 0), at(2, 2, type="message.deleted", message_id="e1"), at(3, 4, historical=True)),
            # What the device sends by itself; a bot; what a moderator took down since; the copy of an event.
            at(4, 25, type="receipt.delivered", message_id="e9"),
            at(5, 10, "bot", is_bot=True),
            *(at(6, 20, "eve"), fact(7, NOON + timedelta(days=3), type="message.blocked", message_id="e6")),
            at(3, 9, received_at=NOON + 60 * MINUTE),
        ],
    )
    write(place.root, [(at(8, 20)[0], "held"), (at(9, 22)[0], "blocked")])
    figures = counted(place)
    assert [figures[n] for n in ("sessions", "people", "median", "engaged")] == [1, 1, 240.0, 240.0]


def test_a_day_without_anybody(place: Place) -> None:
    write(place.root, [at(1, 0)])
    document = place.document("sessions", of_day(date(2026, 4, 20)))
    assert [document.figures[n] for n in ("sessions", "people", "engaged")] == [0, 0, 0]
    assert [document.figures[n] for n in ("sessions_per_person", "median", "p90", "engaged_per_person")] == [None] * 4
    assert [len(section.rows) for section in document.sections] == [24, 0, 0]
