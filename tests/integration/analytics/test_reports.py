"""Reports on real Spark over real Delta tables, against a recount in plain Python. Needs no server."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pyspark.sql import DataFrame, SparkSession

from analytics.reports import facts, parity
from analytics.reports.registry import REPORTS
from analytics.reports.snapshot import Snapshot, is_after
from analytics.reports.spans import Span
from infra.contracts.metrics import DISTINCTS, MEASURES, METRICS
from tests.integration.analytics.archived import Fact, community, fact, recount, write
from tests.integration.analytics.places import Place, sections_of

UTC_ZONE = ZoneInfo("UTC")
FIRST = datetime(2026, 3, 27, tzinfo=UTC)
DAY = date(2026, 3, 29)
NOON = datetime(2026, 3, 29, 12, tzinfo=UTC)
NUMBERS = {"sent", "net", "edited", "deleted", "held", "blocked", "reactions", "joins", "leaves"}
PEOPLE = {"active", "contributors", "responders", "present"}


@pytest.fixture(scope="module")
def days() -> list[Fact]:
    return community(seed=5, start=FIRST, days=5, count=6_000)


@pytest.fixture(scope="module")
def lived_in(tmp_path_factory: pytest.TempPathFactory, delta: SparkSession, days: list[Fact]) -> Place:
    root = tmp_path_factory.mktemp("lived-in")
    for part in range(0, len(days), 1_500):
        write(root, days[part : part + 1_500])
    return Place(root, delta)


@pytest.mark.parametrize("tenant", ["acme", "other"])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/New_York"])
def test_daily_is_what_a_recount_finds(lived_in: Place, days: list[Fact], tenant: str, zone: str) -> None:
    span = Span(day=DAY, zone=ZoneInfo(zone))
    expected = recount(days, tenant, span)
    assert expected["total"][""]["sent"] > 100
    assert expected["total"][""]["net"] < expected["total"][""]["sent"]
    document = lived_in.document("daily", span, tenant)
    figures = document.figures
    assert {n: figures[n] for n in NUMBERS | PEOPLE if figures[n]} == expected["total"][""]
    assert figures["messages_per_sender"] == round(figures["sent"] / figures["contributors"], 2)  # type: ignore[operator]
    channels = next(s for s in document.sections if s.name == "channels")
    assert {str(row["channel"]): {n: row[n] for n in NUMBERS | PEOPLE if row[n]} for row in channels.rows} == expected[
        "channel"
    ]
    assert figures["active_channels"] == sum("sent" in row for row in expected["channel"].values())
    assert figures["alive_channels"] == sum(row.get("contributors", 0) > 1 for row in expected["channel"].values())
    hours = next(s for s in document.sections if s.name == "hours")
    assert len(hours.rows) == (23 if zone == "Europe/Berlin" else 24)
    assert [row["sent"] for row in hours.rows] == [
        expected["hour"].get(str(n), {}).get("sent", 0) for n in range(len(hours.rows))
    ]
    peak = max(range(len(hours.rows)), key=lambda n: (int(hours.rows[n]["sent"] or 0), -n))
    assert figures["peak_hour"] == hours.rows[peak]["start"]
    assert figures["peak_sent"] == hours.rows[peak]["sent"]


@pytest.mark.parametrize("name", ["weekly", "monthly"])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_a_week_and_a_month_are_what_a_recount_finds(lived_in: Place, days: list[Fact], name: str, zone: str) -> None:
    (span,) = REPORTS[name].spans(DAY, DAY, ZoneInfo(zone))
    expected = recount(days, "acme", span)
    document = lived_in.document(name, span)
    figures, sections = document.figures, sections_of(document)
    assert {n: figures[n] for n in NUMBERS | PEOPLE if figures[n]} == expected["total"][""]
    assert {str(row["channel"]): {n: row[n] for n in NUMBERS | PEOPLE if row[n]} for row in sections["channels"]} == (
        expected["channel"]
    )
    rolling = {"dau": 1, "wau": 7, "mau": 30}
    rates = []
    for n, row in enumerate(sections["days"]):
        day = span.day + timedelta(days=n)
        assert row["day"].startswith(day.isoformat())
        found = {
            of: recount(days, "acme", Span(day=day - timedelta(days=back - 1), zone=span.zone, count=back))
            for of, back in rolling.items()
        }
        people = {of: counted["total"].get("", {}).get("active", 0) for of, counted in found.items()}
        assert {of: row[of] for of in rolling} == people
        assert row["sent"] == found["dau"]["total"].get("", {}).get("sent", 0)
        rates += [people["dau"] / people["mau"]] if people["mau"] else []
    assert figures["mean_dau"] == round(sum(row["dau"] for row in sections["days"]) / span.count, 1)
    assert figures["stickiness"] == pytest.approx(100 * sum(rates) / len(rates), abs=0.05)
    came = {int(row["days"]): row["people"] for row in sections["active_days"]}
    assert sum(came.values()) == figures["active"]
    assert sum(n * people for n, people in came.items()) == sum(row["dau"] for row in sections["days"])
    peak = max(sections["days"], key=lambda row: row["sent"])
    assert (figures["peak_day"], figures["peak_sent"]) == (peak["day"], peak["sent"])


def test_the_first_copy_counts_on_its_own_day(place: Place) -> None:
    midnight = datetime(2026, 3, 30, tzinfo=UTC)
    first, _ = fact(1, midnight - timedelta(seconds=1), received_at=midnight + timedelta(seconds=1))
    write(place.root, [(first, "events"), fact(1, midnight + timedelta(seconds=3), user_id="bob")])
    write(place.root, [fact(2, NOON, "held")])
    for day, sent in ((DAY, 1), (DAY + timedelta(days=1), 0)):
        assert place.document("daily", Span(day=day, zone=UTC_ZONE)).figures["sent"] == sent


def test_net_forgets_what_was_deleted_a_week_later_by_a_bot(place: Place) -> None:
    span = Span(day=DAY, zone=UTC_ZONE)
    about: dict[str, Any] = {"type": "message.deleted", "message_id": "e1", "is_bot": True}
    later = NOON + timedelta(days=7)
    write(place.root, [fact(1, NOON), fact(2, NOON, message_id="m2"), fact(3, NOON, "held"), fact(4, later, **about)])
    figures = place.document("daily", span).figures
    assert (figures["sent"], figures["net"], figures["deleted"], figures["held"]) == (2, 1, 0, 1)


def test_what_a_moderator_took_down_was_blocked_and_what_was_released_was_sent(place: Place) -> None:
    span = Span(day=DAY, zone=UTC_ZONE)
    later = NOON + timedelta(days=2)
    about: dict[str, Any] = {"message_id": "e1", "type": "message.blocked", "user_id": "hubbub"}
    write(
        place.root, [fact(1, NOON), fact(2, NOON, user_id="bob"), fact(3, NOON, type="message.edited", message_id="e1")]
    )
    write(place.root, [fact(4, NOON, "held", user_id="eve")])
    before = place.document("daily", span).figures
    assert [before[n] for n in ("sent", "net", "edited", "blocked", "held", "contributors")] == [2, 2, 1, 0, 1, 2]
    write(place.root, [fact(5, later, **about), fact(4, NOON, user_id="eve", late=True)])
    after = place.document("daily", span).figures
    assert [after[n] for n in ("sent", "net", "edited", "blocked", "held", "contributors")] == [2, 2, 0, 2, 1, 2]
    assert place.document("daily", Span(day=later.date(), zone=UTC_ZONE)).figures["present"] == 0


def test_a_day_without_events_is_a_day_of_zeros(place: Place) -> None:
    write(place.root, [fact(1, NOON), fact(2, NOON, "held")])
    document = place.document("daily", Span(day=date(2026, 4, 20), zone=UTC_ZONE))
    assert {document.figures[name] for name in NUMBERS | PEOPLE} == {0}
    assert document.figures["peak_hour"] is None
    assert [len(section.rows) for section in document.sections] == [24, 0, 0, 0]


def test_lists_are_ordered_and_say_what_they_omit(place: Place) -> None:
    names = [f"c{n:02}" for n in range(30)]
    write(place.root, [fact(n * 100 + k, NOON, channel_id=name) for n, name in enumerate(names) for k in range(n + 1)])
    write(place.root, [fact(9_000, NOON, "held", channel_id="quiet")])
    sections = {s.name: s for s in place.document("daily", Span(day=DAY, zone=UTC_ZONE)).sections}
    assert [row["channel"] for row in sections["top_channels"].rows] == names[:-11:-1]
    assert sections["top_channels"].omitted == 21
    assert len(sections["channels"].rows) == 31
    assert sections["channels"].omitted == 0
    assert [row["user"] for row in sections["top_users"].rows] == ["ann"]


def test_what_was_added_or_taken_away_since_is_noticed(place: Place) -> None:
    span = Span(day=DAY, zone=ZoneInfo("Asia/Kathmandu"))
    tables = REPORTS["daily"].tables
    write(place.root, [fact(1, NOON), fact(2, NOON, "held"), fact(3, NOON + timedelta(days=3))])
    write(place.root, [fact(9, NOON)])
    before = Snapshot(place.reader, tables).extent(span, tables)
    place.reader.open(tables[0]).optimize.compact()
    after = Snapshot(place.reader, tables).extent(span, tables)
    assert after.versions != before.versions
    assert after.rows == before.rows == {"events": 2, "held": 1}
    write(place.root, [fact(4, NOON + timedelta(days=5), type="message.deleted", message_id="e1")])
    snapshot = Snapshot(place.reader, tables)
    assert snapshot.extent(span, tables).rows == before.rows
    (removal,) = snapshot.removals([span], NOON + timedelta(hours=1))
    assert (removal.tenant, removal.sent) == ("acme", NOON)
    assert is_after(removal, NOON + timedelta(days=4))
    assert not is_after(removal, NOON + timedelta(days=6))
    assert snapshot.removals([span], NOON + timedelta(days=6)) == []


def test_a_block_takes_edits_away_on_their_own_day_and_a_delete_does_not(place: Place) -> None:
    later = NOON + timedelta(days=1)
    tables = REPORTS["daily"].tables
    write(place.root, [fact(1, NOON), fact(2, later, type="message.edited", message_id="e1"), fact(3, NOON, "held")])
    edited = Span(day=later.date(), zone=UTC_ZONE)
    before = place.document("daily", edited).figures
    write(place.root, [fact(4, later + timedelta(days=1), type="message.deleted", message_id="e1")])
    assert Snapshot(place.reader, tables).removals([edited], later) == []
    write(place.root, [fact(5, later + timedelta(days=2), type="message.blocked", message_id="e1", user_id="hubbub")])
    (removal,) = Snapshot(place.reader, tables).removals([edited], later)
    assert (removal.tenant, removal.sent) == ("acme", later)
    after = place.document("daily", edited).figures
    assert [(f["edited"], f["blocked"]) for f in (before, after)] == [(1, 0), (0, 1)]


def test_response_times_are_those_of_the_conversations(place: Place) -> None:
    minute = timedelta(minutes=1)

    def said(
        number: int, minutes: float, who: str, channel: str = "help", outcome: str = "events", **more: Any
    ) -> Fact:
        return fact(number, NOON + minutes * minute, outcome, user_id=who, channel_id=channel, **more)

    write(
        place.root,
        [
            # Not moved by a follow-up, nor ended by a bot, an edit, a held reply or one taken down: 10 minutes.
            said(1, 0, "ann"),
            said(2, 1, "ann"),
            said(3, 2, "bot", is_bot=True),
            said(4, 3, "cem", type="message.edited", message_id="e1"),
            (said(5, 4, "dan")[0], "held"),
            said(6, 5, "eve"),
            said(7, 10, "bob"),
            # Ends the wait of e7, and is itself taken back before an answer.
            said(8, 12, "ann"),
            said(9, 13, "ann", type="message.deleted", message_id="e8"),
            # Another thread is another conversation; a reply that names what it answers leaves the other wait alone.
            said(10, 0, "fay", thread_id="t"),
            said(11, 1, "gus", thread_id="t", reply_to="e99"),
            said(12, 2, "ann", thread_id="t", reply_to="e11"),
            # Nobody answered within eight hours; where two talk there is a day.
            said(13, 0, "ann", "quiet"),
            said(14, 9 * 60, "bob", "quiet"),
            said(15, 0, "ann", "dm", properties={"channel_type": "direct"}),
            said(16, 9 * 60, "bob", "dm"),
            said(17, 30 * 60, "hubbub", type="message.blocked", message_id="e6"),
            # The first message of a thread is answered in it: 4 minutes, whatever else is said there.
            said(18, 0, "ann", "desk"),
            said(19, 1, "ann", "desk", thread_id="e18"),
            said(20, 4, "bob", "desk", thread_id="e18"),
            said(21, 5, "cem", "desk", thread_id="e18", reply_to="e20"),
        ],
    )
    (span,) = REPORTS["response-times"].spans(DAY, DAY, UTC_ZONE)
    document = place.document("response-times", span)
    figures, sections = document.figures, sections_of(document)
    # e1, e7, e10 to e12, e13 to e16, e18 to e21: e8 was taken back.
    assert {n: figures[n] for n in ("waits", "answered", "unanswered", "waiting")} == {
        "waits": 13,
        "answered": 7,
        "unanswered": 6,
        "waiting": 0,
    }
    # 10 min, 2 min, 1 min, 9 h, and at the desk 4 min, 3 min and 1 min.
    assert (figures["median"], figures["answered_percent"]) == (180.0, 53.8)
    assert [figures[n] for n in ("within_1m", "within_5m", "within_15m", "within_8h", "within_24h")] == [2, 3, 1, 0, 1]
    assert {row["user"]: row["answered"] for row in sections["answerers"]} == {"ann": 2, "bob": 4, "cem": 1}
    waiting = {row["message"]: (row["channel"], row["author"]) for row in sections["unanswered"]}
    assert waiting["e13"] == ("quiet", "ann")
    assert set(waiting) == {"e10", "e12", "e13", "e14", "e16", "e21"}
    assert sections["hours"][12]["waits"] == 11
    assert document.final


def test_a_wait_counts_on_the_day_it_began_whenever_it_is_answered(place: Place) -> None:
    zone = ZoneInfo("Europe/Berlin")
    midnight = datetime(2026, 3, 29, 22, tzinfo=UTC)
    write(
        place.root,
        [
            fact(1, midnight - timedelta(minutes=30)),
            fact(2, midnight + timedelta(minutes=10), user_id="ann"),
            fact(3, midnight + timedelta(minutes=30), user_id="bob"),
        ],
    )
    day, next_day = REPORTS["response-times"].spans(DAY, DAY + timedelta(days=1), zone)
    assert (day.end, day.until) == (midnight, midnight + timedelta(hours=24))
    first, second = place.document("response-times", day), place.document("response-times", next_day)
    assert (first.figures["waits"], first.figures["median"]) == (1, 3_600.0)
    assert [row["start"] for row in sections_of(first)["hours"] if row["waits"]] == ["2026-03-29T23:00:00+02:00"]
    assert (second.figures["waits"], second.figures["unanswered"], second.figures["median"]) == (1, 1, None)
    (waits,) = sections_of(second)["unanswered"]
    assert (waits["message"], waits["since"], waits["waited"]) == ("e3", "2026-03-30 00:30:00", 28_800.0)


def streamed(delta: SparkSession, rows: list[tuple[Any, ...]]) -> dict[str, DataFrame]:
    return {parity.STREAMED: delta.createDataFrame(rows, parity.STREAMED_SCHEMA)}


def test_parity_finds_what_the_stream_missed_and_leaves_estimates_their_error(
    lived_in: Place, days: list[Fact], delta: SparkSession
) -> None:
    span = Span(day=DAY, zone=UTC_ZONE)
    expected = recount(days, "acme", span, moderated=False)
    rows = {"": expected["total"][""], **expected["channel"]}
    windows = [["acme", name, *(row.get(m.name, 0) for m in MEASURES)] for name, row in rows.items()]
    whole = windows[0]
    people = 2 + next(n for n, m in enumerate(MEASURES) if m is DISTINCTS[0])
    whole[people] += 1  # within the error
    whole[2] -= 3  # three messages were late
    found = lived_in.rows("parity", span, streamed(delta, [tuple(w) for w in windows]))
    mine = {(row["section"], row["key"]): row for row in found if row["tenant"] == "acme"}
    total = mine[facts.TOTAL, ""]
    # Messages, and the two ratios that are by messages alone.
    assert (total["off"], total["compared"]) == (3, len([m for m in METRICS.values() if m.is_of_window]))
    sent = mine[parity.METRIC, "messages_sent"]
    assert (sent["drift"], sent["allowed"], sent["exact"]) == (-3, 0, expected["total"][""]["sent"])
    assert (sent["channels"], sent["channels_off"], sent["worst"]) == (
        sum("sent" in c for c in expected["channel"].values()),
        0,
        0,
    )
    contributors = mine[parity.METRIC, "contributors"]
    assert contributors["drift"] == 1
    assert contributors["allowed"] >= 1
    rate = mine[parity.METRIC, "reaction_rate"]
    reactions = expected["total"][""]["reactions"]
    assert rate["streamed"] == pytest.approx(reactions / (sent["exact"] - 3), abs=0.00005)
    assert rate["exact"] == pytest.approx(reactions / sent["exact"], abs=0.00005)
    assert (rate["allowed"], rate["channels_off"]) == (0, 0)
    # As far as its people may be fewer than they are, which is further than three messages make.
    each = mine[parity.METRIC, "messages_per_sender"]
    people = contributors["exact"]
    assert each["allowed"] == pytest.approx(
        sent["exact"] / (people - contributors["allowed"]) - sent["exact"] / people, abs=0.00005
    )
    # Nothing was streamed of the other tenant, so there is nothing to divide by.
    other = {row["key"]: row for row in found if row["tenant"] == "other" and row["section"] == parity.METRIC}
    assert {name for name, row in other.items() if row["streamed"] is None} == {
        *("messages_per_sender", "reaction_rate", "flagged_rate")
    }
    assert {row["streamed"] for row in other.values()} == {0, None}


def test_parity_leaves_out_what_was_imported_and_finds_windows_of_nothing(place: Place, delta: SparkSession) -> None:
    write(place.root, [fact(1, NOON), fact(2, NOON, historical=True), fact(3, NOON, "held", historical=None)])
    span = Span(day=DAY, zone=UTC_ZONE)
    counts = {"sent": 1, "held": 1, "contributors": 1, "active": 1}
    window = tuple(counts.get(m.name, 0) for m in MEASURES)
    ghost = tuple(5 if m.name == "sent" else 0 for m in MEASURES)
    found = place.rows(
        "parity",
        span,
        streamed(delta, [("acme", "", *window), ("acme", "general", *window), ("acme", "ghost", *ghost)]),
    )
    sent = next(row for row in found if row["key"] == "messages_sent")
    assert (sent["exact"], sent["drift"], sent["channels_off"], sent["worst"]) == (1, 0, 1, 5)
    assert next(row for row in found if row["section"] == facts.TOTAL)["off"] == 1


def test_parity_allows_for_what_was_released_and_counts_what_was_taken_down(place: Place, delta: SparkSession) -> None:
    about: dict[str, Any] = {"message_id": "e1", "type": "message.blocked", "user_id": "hubbub"}
    write(place.root, [fact(1, NOON), fact(2, NOON, late=True), fact(3, NOON, **about), fact(2, NOON, "held")])
    counts = {"sent": 1, "held": 1, "contributors": 1, "active": 1}
    window = tuple(counts.get(m.name, 0) for m in MEASURES)
    found = place.rows(
        "parity",
        Span(day=DAY, zone=UTC_ZONE),
        streamed(delta, [("acme", "", *window), ("acme", "general", *window)]),
    )
    sent = next(row for row in found if row["key"] == "messages_sent")
    assert (sent["exact"], sent["streamed"], sent["allowed"], sent["channels_off"]) == (2, 1, 1, 0)
    assert next(row for row in found if row["section"] == facts.TOTAL)["off"] == 0
