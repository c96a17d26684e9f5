"""Channels of a week on real Spark: against a recount in plain Python, and cases worked out by hand."""

from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pyspark.sql import SparkSession

from analytics.reports.registry import REPORTS
from analytics.reports.spans import Span
from tests.integration.analytics.archived import Fact, community, fact, write
from tests.integration.analytics.places import Place, sections_of

DAY = date(2026, 4, 1)
MONDAY = datetime(2026, 3, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
WEEK = timedelta(days=7)


def of_week(day: date = DAY, zone: str = "UTC") -> Span:
    (span,) = REPORTS["channels"].spans(day, day, ZoneInfo(zone))
    return span


@pytest.fixture(scope="module")
def weeks() -> list[Fact]:
    return community(seed=8, start=MONDAY - WEEK - timedelta(days=1), days=15, count=6_000)


@pytest.fixture(scope="module")
def lived_in(tmp_path_factory: pytest.TempPathFactory, delta: SparkSession, weeks: list[Fact]) -> Place:
    root = tmp_path_factory.mktemp("weeks")
    write(root, weeks)
    return Place(root, delta)


def recount(facts: list[Fact], tenant: str, span: Span) -> dict[str, dict[str, Any]]:
    """By channel, and for all of them under an empty name: what is counted, one event after the other."""
    first: dict[tuple[bool, str], Fact] = {}
    for event, outcome in sorted(facts, key=lambda f: f[0].received_at or f[0].time):
        if event.tenant == tenant:
            first.setdefault((outcome == "events", event.id), (event, outcome))
    down = {e.message_id for e, _ in first.values() if e.type == "message.blocked"}
    found: dict[str, dict[str, Any]] = defaultdict(lambda: defaultdict(Counter))
    begins = datetime.combine(span.day - WEEK, datetime.min.time(), span.zone)
    for event, outcome in first.values():
        if event.is_bot or event.channel_id is None or not begins <= event.time < span.end:
            continue
        local = event.time.astimezone(span.zone)
        is_message = event.type in ("message.sent", "message.edited")
        gone = outcome != "events" or (is_message and event.target in down)
        for name in (event.channel_id, ""):
            row = found[name]
            if event.time < span.start:
                row["sent_before"][""] += event.type == "message.sent" and not gone
                continue
            if is_message and not event.late:
                row["tried"][""] += 1
                row["flagged"][""] += gone
            row["reactions"][""] += event.type == "reaction.added"
            if event.type == "message.sent" and not gone:
                row["people"][event.author] += 1
                row["hours"][local.hour] += 1
                row["days"][local.date()] += 1
                row["channels"][event.channel_id] += 1
    return found


@pytest.mark.parametrize(("zone", "tenant"), [("UTC", "acme"), ("Europe/Berlin", "acme"), ("Asia/Kathmandu", "other")])
def test_channels_are_what_a_recount_finds(lived_in: Place, weeks: list[Fact], zone: str, tenant: str) -> None:
    span = of_week(zone=zone)
    expected = recount(weeks, tenant, span)
    document = lived_in.document("channels", span, tenant)
    figures, sections = document.figures, sections_of(document)
    whole = expected.pop("")
    rows = {row["channel"]: row for row in sections["channels"]}
    assert set(rows) == {name for name, row in expected.items() if row["tried"][""] or row["reactions"][""]}
    for name, row in [(name, rows[name]) for name in rows] + [("", dict(figures))]:
        counted = expected[name] if name else whole
        sent, before = counted["people"].total(), counted["sent_before"][""]
        assert (row["sent"], row["sent_before"], row["reactions"]) == (sent, before, counted["reactions"][""])
        assert (row["contributors"], row["active_days"]) == (len(counted["people"]), len(counted["days"]))
        flagged = 100 * counted["flagged"][""] / counted["tried"][""] if counted["tried"][""] else None
        assert row["flagged_percent"] == (flagged and pytest.approx(flagged, abs=0.051))
        change = 100 * (sent - before) / before if before else None
        assert row["change_percent"] == (change and pytest.approx(change, abs=0.051))
        if sent:
            assert row["reaction_rate"] == pytest.approx(counted["reactions"][""] / sent, abs=0.0051)
            assert row["messages_per_sender"] == pytest.approx(sent / len(counted["people"]), abs=0.0051)
            assert row["peak_factor"] == pytest.approx(24 * max(counted["hours"].values()) / sent, abs=0.0051)
    sent = {name: row["people"].total() for name, row in expected.items()}
    shares = [number / sum(sent.values()) for number in sent.values()]
    assert figures["concentration"] == pytest.approx(sum(share**2 for share in shares), abs=0.00051)
    assert figures["active_channels"] == sum(number > 0 for number in sent.values())
    alive = {name for name, row in expected.items() if len(row["people"]) > 1}
    assert figures["alive_channels"] == len(alive)
    assert {name for name, row in rows.items() if row["alive"] == "yes"} == alive
    by_day = [len({c for c, r in expected.items() if r["days"][span.day + timedelta(days=n)]}) for n in range(7)]
    assert [row["active_channels"] for row in sections["days"]] == by_day
    assert sum(row["sent"] for row in sections["days"]) == figures["sent"]


def said(number: int, channel: str, who: str, moment: datetime = MONDAY, outcome: str = "events", **more: Any) -> Fact:
    return fact(number, moment, outcome, channel_id=channel, user_id=who, **more)


def test_a_week_of_four_channels_worked_out_by_hand(place: Place) -> None:
    about: dict[str, Any] = {"type": "reaction.added", "message_id": "e1"}
    write(
        place.root,
        [
            # Six of ann and bob, four of them at nine o'clock on two days; two the week before; two reactions.
            *(said(n, "busy", "ann", MONDAY + 9 * HOUR) for n in (1, 2, 3)),
            said(4, "busy", "bob", MONDAY + 24 * HOUR + 9.5 * HOUR),
            *(said(n, "busy", "bob", MONDAY + (n + 8) * HOUR) for n in (5, 6)),
            *(said(n, "busy", "cem", MONDAY - HOUR) for n in (7, 8)),
            *(said(9, "busy", "dan", MONDAY, **about), said(10, "busy", "eve", MONDAY, **about)),
            # Two held, one of which was released since; one blocked; one taken down since.
            said(11, "busy", "eve", MONDAY + 12 * HOUR, late=True),
            said(12, "busy", "hubbub", MONDAY + 30 * HOUR, type="message.blocked", message_id="e13"),
            said(13, "busy", "mal", MONDAY + 20 * HOUR),
            # One alone, and new; a bot and a join are nothing.
            said(20, "lonely", "ann", MONDAY + 50 * HOUR),
            said(21, "bots", "bot", MONDAY, is_bot=True),
            said(22, "hall", "ann", MONDAY, type="channel.joined"),
            # Gone quiet, on the Sunday before; and one that already was.
            *(said(n, "asleep", "ann", MONDAY - HOUR) for n in (30, 31)),
            said(32, "forgotten", "ann", MONDAY - 8 * 24 * HOUR),
        ],
    )
    write(place.root, [said(11, "busy", "eve", MONDAY + 12 * HOUR, "held"), said(14, "busy", "mal", MONDAY, "held")])
    write(place.root, [said(15, "busy", "mal", MONDAY, "blocked")])
    document = place.document("channels", of_week())
    sections = sections_of(document)
    assert [row["channel"] for row in sections["channels"]] == ["busy", "lonely"]
    assert sections["channels"][0] == {
        "channel": "busy",
        "sent": 7,
        "sent_before": 2,
        "change_percent": 250.0,
        "contributors": 3,
        "messages_per_sender": 2.33,
        "reactions": 2,
        "reaction_rate": 0.29,
        # Of ten: six, the three that a rule stopped, and the one taken down.
        "flagged_percent": 40.0,
        # Four of seven within one hour of the clock: 24 * 4 / 7.
        "peak_factor": 13.71,
        "active_days": 2,
        "alive": "yes",
    }
    lonely = sections["channels"][1]
    assert [lonely[n] for n in ("sent", "sent_before", "change_percent", "alive")] == [1, 0, None, "no"]
    assert [(row["channel"], row["sent"]) for row in sections["new"]] == [("lonely", 1)]
    assert [(row["channel"], row["sent_before"]) for row in sections["quiet"]] == [("asleep", 2)]
    figures = document.figures
    assert [figures[n] for n in ("active_channels", "alive_channels", "new_channels", "quiet_channels")] == [2, 1, 1, 1]
    # (7/8)^2 + (1/8)^2; eight against four; three people, of whom ann is in both.
    assert (figures["concentration"], figures["change_percent"], figures["contributors"]) == (0.781, 100.0, 3)
    assert [row["active_channels"] for row in sections["days"]] == [1, 1, 1, 0, 0, 0, 0]


def test_a_week_that_is_not_over_is_held_against_as_much_of_the_one_before(place: Place) -> None:
    write(
        place.root,
        [
            said(1, "a", "ann", MONDAY - WEEK + 10 * HOUR),
            said(2, "a", "ann", MONDAY - WEEK + 30 * HOUR),
            said(3, "b", "ann", MONDAY - WEEK + 30 * HOUR),
            said(4, "a", "ann", MONDAY + HOUR),
        ],
    )
    write(place.root, [said(9, "a", "ann", MONDAY, "held")])
    monday = place.document("channels", of_week(), as_of=MONDAY + 24 * HOUR)
    assert [monday.figures[n] for n in ("sent", "sent_before", "change_percent", "quiet_channels")] == [1, 1, 0.0, 0]
    assert not monday.final
    over = place.document("channels", of_week())
    assert [over.figures[n] for n in ("sent", "sent_before", "change_percent", "quiet_channels")] == [1, 3, -66.7, 1]


def test_the_week_in_which_the_clocks_change_begins_at_its_own_midnight(place: Place) -> None:
    # Of 167 hours: from Sunday 23:00 UTC on, the week before it from Sunday 23:00 as well.
    begins = datetime(2026, 3, 22, 23, tzinfo=UTC)
    ends = datetime(2026, 3, 29, 22, tzinfo=UTC)
    write(place.root, [said(n, "a", "ann", begins + n * timedelta(milliseconds=1)) for n in (-1, 0)])
    write(place.root, [said(n + 10, "a", "ann", ends + n * timedelta(milliseconds=1)) for n in (-1, 0)])
    write(place.root, [said(n + 20, "a", "ann", begins - WEEK + n * timedelta(milliseconds=1)) for n in (-1, 0)])
    write(place.root, [said(30, "a", "ann", begins, "held")])
    span = of_week(date(2026, 3, 25), "Europe/Berlin")
    assert (span.start, span.end) == (begins, ends)
    figures = place.document("channels", span).figures
    assert (figures["sent"], figures["sent_before"]) == (2, 2)
    after = place.document("channels", of_week(date(2026, 4, 1), "Europe/Berlin")).figures
    assert (after["sent"], after["sent_before"]) == (1, 2)


def test_weeks_without_anything(place: Place) -> None:
    write(place.root, [said(1, "a", "ann"), said(2, "a", "ann", MONDAY, "held")])
    document = place.document("channels", of_week(date(2026, 6, 1)))
    assert [document.figures[n] for n in ("sent", "active_channels", "concentration")] == [0, 0, None]
    assert [len(section.rows) for section in document.sections] == [7, 0, 0, 0, 0]
