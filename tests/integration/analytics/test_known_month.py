"""A month whose every number was worked out by hand, by day, week and month, from the archive and from the stream."""

import asyncio
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pyspark.sql import SparkSession

from analytics.reports.job import Job
from analytics.reports.registry import REPORTS
from analytics.reports.runs import Runs
from analytics.settings import Analytics
from api.numbers.windows import Span, read_numbers
from infra.contracts.metrics import COUNTS, DISTINCTS, METRICS, TENANT_SCOPE
from infra.contracts.reports import Document
from infra.contracts.tables import MEASURE_COLUMNS, WINDOWS
from infra.contracts.windows import DAY
from infra.runtime.archive import ArchiveReader
from infra.runtime.cassandra import Database
from infra.runtime.clock import SystemClock
from infra.runtime.settings import Archive, Cassandra, Kafka, Runtime
from tests.integration.analytics.archived import write
from tests.integration.analytics.known import BERLIN, month
from tests.integration.analytics.places import Place, sections_of
from tests.integration.analytics.streamed import stream

AS_OF = datetime(2026, 4, 10, tzinfo=UTC)


@pytest.fixture(scope="module")
def lived_in(tmp_path_factory: pytest.TempPathFactory, delta: SparkSession) -> Place:
    root = tmp_path_factory.mktemp("month")
    facts = month()
    for part in range(0, len(facts), 7):  # as several commits
        write(root, facts[part : part + 7])
    return Place(root, delta)


def report(
    place: Place, name: str, day: int, month: int = 3, tenant: str = "acme", as_of: datetime = AS_OF
) -> Document:
    """The report of the period of this day."""
    of = date(2026, month, day)
    (span,) = REPORTS[name].spans(of, of, BERLIN)
    return place.document(name, span, tenant, as_of=as_of)


def figures(document: Document, **expected: Any) -> None:
    """The document has these."""
    assert {name: document.figures[name] for name in expected} == expected


def test_monday(lived_in: Place) -> None:
    day = report(lived_in, "daily", 2)
    figures(
        day,
        **{"sent": 5, "net": 4, "edited": 1, "deleted": 1, "held": 1, "blocked": 0, "reactions": 2},
        **{"active": 3, "contributors": 3, "responders": 1, "present": 3, "messages_per_sender": 1.67},
        **{"active_channels": 2, "alive_channels": 2, "peak_sent": 3, "peak_hour": "2026-03-02T10:00:00+01:00"},
    )
    figures(report(lived_in, "daily", 3), sent=1, active=2, contributors=1)


def test_what_was_blocked_a_day_later_is_gone_from_its_day(lived_in: Place) -> None:
    # Bob answers ann.
    figures(report(lived_in, "daily", 11), sent=2, net=2, blocked=1, active=2, contributors=2, responders=1)
    figures(report(lived_in, "daily", 12), sent=0, present=0)


def test_the_day_the_clocks_change_has_23_hours_and_what_came_late(lived_in: Place) -> None:
    day = report(lived_in, "daily", 29)
    figures(day, sent=3, active=2, peak_hour="2026-03-29T01:00:00+01:00", peak_sent=1)
    hours = sections_of(day)["hours"]
    assert [row["start"][11:16] for row in hours if row["sent"]] == ["01:00", "03:00", "12:00"]
    assert len(hours) == 23


def test_the_first_week(lived_in: Place) -> None:
    week = report(lived_in, "weekly", 4)
    # Three came on Monday and two on Tuesday; all three are active within seven days of every day.
    figures(week, sent=6, active=3, contributors=3, mean_dau=0.7, stickiness=23.8)
    sections = sections_of(week)
    assert [row["dau"] for row in sections["days"]] == [3, 2, 0, 0, 0, 0, 0]
    assert [(row["wau"], row["mau"]) for row in sections["days"]] == [(3, 3)] * 7
    assert {row["days"]: row["people"] for row in sections["active_days"]} == {"01": 1, "02": 2}


def test_the_month(lived_in: Place) -> None:
    whole = report(lived_in, "monthly", 15)
    figures(whole, sent=12, net=11, held=1, blocked=1, edited=1, active=4, contributors=4, mean_dau=0.3)
    days = {row["day"][8:10]: row for row in sections_of(whole)["days"]}
    assert {day: row["dau"] for day, row in days.items() if row["dau"]} == {"02": 3, "03": 2, "11": 2, "29": 2, "31": 1}
    assert days["29"]["wau"] == 2
    # Ann, bob and cem within thirty days, and dan.
    assert days["29"]["mau"] == 4
    # Of the 30 days that end with the 31st, the 2nd is the first.
    assert days["31"]["mau"] == 4


def test_sessions(lived_in: Place) -> None:
    monday = report(lived_in, "sessions", 2)
    # Ann 10:00 to 10:20 and over midnight for 15 minutes, bob once, cem for a minute. Engaged: 3 + 5 + 5 minutes,
    # 5, nothing, and 1.
    figures(monday, sessions=4, people=3, sessions_per_person=1.33, engaged=1_140.0, engaged_per_person=60.0)
    figures(report(lived_in, "sessions", 3), sessions=1, people=1)
    # 25 minutes lie between 01:45 and 03:10 that night.
    night = report(lived_in, "sessions", 29)
    figures(night, sessions=2, people=2, engaged=300.0)
    assert max(row["engaged"] for row in sections_of(night)["top_users"]) == 300.0


def test_response_times(lived_in: Place) -> None:
    monday = report(lived_in, "response-times", 2)
    # Ann waits for bob ten minutes; nobody answers bob, nor ann at night; cem took his question back.
    figures(monday, waits=3, answered=1, unanswered=2, waiting=0, answered_percent=33.3, median=600.0)
    assert {row["message"] for row in sections_of(monday)["unanswered"]} == {"e3", "e10"}
    # What eve said does not count as an answer, nor as a question.
    figures(report(lived_in, "response-times", 11), waits=2, answered=1, unanswered=1, median=1_800.0)
    figures(report(lived_in, "response-times", 3), waits=0, answered=0)


def test_response_times_where_threads_are_opened_again_and_between_two(lived_in: Place) -> None:
    tuesday = report(lived_in, "response-times", 17, tenant="other")
    # Answered are kim in the thread after 20 minutes, lee after 10, and kim by sam after 21 hours, since they are two.
    # What max says to lee's question ends nothing any more; sam twice and max wait in the open for 8 hours, and kim for
    # lee, who is half an hour late, for 24.
    figures(tuesday, waits=7, answered=3, unanswered=4, waiting=0, answered_percent=42.9, median=1_200.0)
    figures(tuesday, within_5m=0, within_15m=1, within_1h=1, within_8h=0, within_24h=1)
    unanswered = {row["message"]: row["waited"] for row in sections_of(tuesday)["unanswered"]}
    assert unanswered == {**dict.fromkeys(("e102", "e106", "e107"), 28_800.0), "e110": 86_400.0}
    # The thread that kim opens again is answered after 5 minutes, not after 25 hours; nobody answers sam, sam and lee.
    figures(report(lived_in, "response-times", 18, tenant="other"), waits=4, answered=1, unanswered=3, median=300.0)
    # The next morning at eight the two between two may still be answered.
    morning = datetime(2026, 3, 19, 8, tzinfo=BERLIN).astimezone(UTC)
    early = report(lived_in, "response-times", 18, tenant="other", as_of=morning)
    figures(early, waits=4, answered=1, unanswered=1, waiting=2, answered_percent=50.0)
    figures(report(lived_in, "daily", 17, tenant="other"), sent=7, active=4)


def test_a_month_of_a_few_people_foretells_nothing(lived_in: Place) -> None:
    churn = report(lived_in, "churn", 31)
    # From the 2nd to the 31st; from the 18th on came ann, dan and cem, of the desk kim, sam and lee.
    figures(churn, abstained="30 days of history; 42 are needed, three times 14", people=3, expected=None, auc=None)
    assert sections_of(churn)["people"] == []
    of_desk = report(lived_in, "churn", 31, tenant="other")
    figures(of_desk, abstained="15 days of history; 42 are needed, three times 14", people=3, at_risk=None)
    channels = report(lived_in, "next-channel", 31)
    # Since the 4th ann, bob, dan and cem wrote; ann alone in both channels, and three are needed.
    figures(channels, people=4, suggested=0, channels=0)
    assert sections_of(channels)["people"] == []


def test_lifecycle(lived_in: Place) -> None:
    names = ("active", "new", "returning", "resurrecting", "dormant")
    expected = {
        (3, 2): (3, 3, 0, 0, 0),
        (3, 9): (2, 0, 2, 0, 1),
        (3, 16): (0, 0, 0, 0, 2),
        (3, 23): (2, 1, 0, 1, 0),
        (3, 30): (1, 0, 0, 1, 2),
    }
    for (of, day), numbers in expected.items():
        figures(report(lived_in, "lifecycle", day, of), **dict(zip(names, numbers, strict=True)))


def test_retention(lived_in: Place) -> None:
    document = report(lived_in, "retention", 25)
    # Ann came on the 2nd and on the 29th: that is less than thirty days apart.
    assert document.figures["r30"] == 0
    rows = {str(row["cohort"])[:10]: row for row in sections_of(document)["first_time"]}
    first, last = rows["2026-03-02"], rows["2026-03-23"]
    assert (first["size"], first["w0"], first["w1"], first["w2"], first["w3"]) == (3, 100.0, 66.7, 0.0, 33.3)
    assert (last["size"], last["w0"]) == (1, 100.0)
    assert (rows["mean"]["size"], rows["mean"]["w1"], rows["mean"]["w3"]) == (4, 66.7, 33.3)


def test_channels_and_moderation_of_the_first_week(lived_in: Place) -> None:
    week = report(lived_in, "channels", 4)
    figures(week, sent=6, contributors=3, active_channels=2, alive_channels=2, sent_before=0, new_channels=2)
    # Three of six in each of two channels: (1/2)² + (1/2)². One of seven messages and an edit was held: 1 of 8.
    figures(week, concentration=0.5, flagged_percent=12.5, reaction_rate=0.33, messages_per_sender=2.0)


def test_the_stream_counts_it_and_what_it_could_not_know_is_corrected(
    analytics: Analytics,
    java_home: Path,
    topics: Kafka,
    keyspace: Cassandra,
    database: Database,
    delta: SparkSession,
    tmp_path: Path,
) -> None:
    """In UTC days: what ann says on Tuesday at 00:05 in Berlin is of Monday."""
    stream(month(), topics, keyspace, analytics, java_home, tmp_path)

    def days(source: str) -> dict[int, dict[str, int]]:
        since, until = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
        period = DAY.period_of(since)
        assert period == DAY.period_of(until)
        bound = ("acme", TENANT_SCOPE, DAY.name, period, source, since, until)
        found = {}
        for row in database.session.execute(database.prepared(WINDOWS).bind(bound)):
            values = dict(zip(MEASURE_COLUMNS, row[1:-2], strict=True))
            found[row[0].day] = {m.name: values[m.name] for m in (*COUNTS, *DISTINCTS) if values[m.name]}
        return found

    def shown(name: str) -> dict[int, float | None]:
        """The metric by day, as the API reads it."""
        span = Span(DAY, datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC))
        found = asyncio.run(read_numbers(database, "acme", TENANT_SCOPE, span, (METRICS[name],)))
        return {number.start.day: number.value for number in found[name]}

    monday = {
        **{"sent": 6, "edited": 1, "deleted": 1, "held": 1, "reactions": 2},
        **{"contributors": 3, "active": 3, "responders": 1},
    }
    streamed = {
        2: monday,
        3: {"active": 1},
        11: {"sent": 3, "contributors": 3, "active": 3, "responders": 1},
        29: {"sent": 3, "contributors": 2, "active": 2},
        31: {"sent": 1, "contributors": 1, "active": 1},
    }
    assert days("stream") == streamed
    # Ann, bob, cem and eve until the 11th, and dan on the 29th.
    mau = shown("mau")
    assert {day: mau[day] for day in streamed} == {2: 3, 3: 3, 11: 4, 29: 5, 31: 5}
    job = Job(
        runs=Runs(database),
        reader=ArchiveReader(Archive(), Runtime(data_dir=tmp_path)),
        kafka=topics,
        clock=SystemClock(),
        spark=lambda: delta,
        publish=lambda point: None,
    )
    for name in ("parity", "backfill"):
        for day in streamed:
            of = date(2026, 3, day)
            list(job.make(job.plan(REPORTS[name], of, of, {"acme": ZoneInfo("UTC")})))
    assert {Runs(database).document("acme", "parity", date(2026, 3, day)).figures["off"] for day in streamed} == {0}
    assert days("batch") == {
        **streamed,
        11: {"sent": 2, "blocked": 1, "contributors": 2, "active": 2, "responders": 1},
    }
    # Six of three; two reactions to six; one of six, an edit and one held. On the 11th one of three was taken down.
    assert shown("messages_per_sender") == {2: 2.0, 3: None, 11: 1.0, 29: 1.5, 31: 1.0}
    assert shown("reaction_rate") == {2: 0.333333, 3: None, 11: 0.0, 29: 0.0, 31: 0.0}
    assert shown("flagged_rate") == {2: 0.125, 3: None, 11: 0.333333, 29: 0.0, 31: 0.0}
    # Three of six within one hour, two of two, one of three, and the only one.
    assert shown("peak_hour_factor") == {2: 12.0, 3: None, 11: 24.0, 29: 8.0, 31: 24.0}
    assert shown("dau") == {2: 3, 3: 1, 11: 2, 29: 2, 31: 1}
    # Of the 2nd until the 8th, of the 3rd for a day more, of the 11th until the 17th; then ann and dan, and cem.
    week = {**dict.fromkeys(range(2, 9), 3), 9: 1, **dict.fromkeys(range(11, 18), 2), 29: 2, 30: 2, 31: 3}
    assert shown("wau") == week
    assert shown("mau") == {**dict.fromkeys(range(2, 29), 3), **dict.fromkeys(range(29, 32), 4)}
    came = {day: share for day, share in shown("stickiness").items() if share}
    assert came == {2: 1.0, 3: 0.333333, 11: 0.666667, 29: 0.5, 31: 0.25}
