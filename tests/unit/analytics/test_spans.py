"""Calendar days where clocks change, and the archive's days they touch."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from analytics.reports.spans import Grain, Span, days, starting


def span(day: str, zone: str) -> Span:
    return Span(day=date.fromisoformat(day), zone=ZoneInfo(zone))


@pytest.mark.parametrize(
    ("day", "zone", "hours"),
    [
        ("2026-03-14", "UTC", 24),
        ("2026-03-29", "Europe/Berlin", 23),
        ("2026-10-25", "Europe/Berlin", 25),
        ("2026-03-14", "Asia/Kathmandu", 24),
        ("2026-10-04", "Australia/Lord_Howe", 24),  # half an hour is skipped: the last hour is short
        ("2018-11-04", "America/Sao_Paulo", 23),  # midnight itself is skipped
    ],
)
def test_a_day_has_the_hours_its_clock_shows(day: str, zone: str, hours: int):
    found = span(day, zone)
    assert len(found.steps()) == hours
    assert found.steps()[0] == found.start
    assert all(found.reads(hour) for hour in found.steps())
    assert not found.reads(found.end)


def test_a_day_touches_the_archives_days_it_overlaps():
    assert span("2026-03-14", "UTC").utc_days == (date(2026, 3, 14), date(2026, 3, 14))
    assert span("2026-03-14", "Europe/Berlin").utc_days == (date(2026, 3, 13), date(2026, 3, 14))
    assert span("2026-03-14", "America/New_York").utc_days == (date(2026, 3, 14), date(2026, 3, 15))


def test_days_follow_one_another_without_gap():
    for zone in ("Europe/Berlin", "America/Sao_Paulo", "Pacific/Apia"):
        for day in ("2011-12-29", "2018-11-03", "2026-03-28"):
            first = span(day, zone)
            second = Span(day=next(d for d in days(first.day, date(2030, 1, 1)) if d > first.day), zone=first.zone)
            assert first.end == second.start


def test_a_range_includes_both_ends():
    assert list(days(date(2026, 2, 27), date(2026, 3, 1))) == [
        date(2026, 2, 27),
        date(2026, 2, 28),
        date(2026, 3, 1),
    ]
    assert list(days(date(2026, 3, 1), date(2026, 2, 27))) == []


def test_a_day_starts_at_local_midnight():
    assert span("2026-03-14", "Asia/Kathmandu").start == datetime(2026, 3, 13, 18, 15, tzinfo=UTC)


def test_periods_are_those_that_the_days_lie_in():
    first, last = date(2026, 2, 27), date(2026, 3, 2)
    assert list(starting("day", first, last)) == [(day, 1) for day in days(first, last)]
    assert list(starting("week", first, last)) == [(date(2026, 2, 23), 7), (date(2026, 3, 2), 7)]
    assert list(starting("month", first, last)) == [(date(2026, 2, 1), 28), (date(2026, 3, 1), 31)]


def test_a_month_has_a_step_for_each_day_wherever_the_clocks_change():
    month = Span(day=date(2026, 3, 1), zone=ZoneInfo("Europe/Berlin"), count=31, before=timedelta(days=30))
    assert [step.date() for step in month.steps()] == list(days(month.day, date(2026, 3, 31)))
    assert {step.hour for step in month.steps()} == {0}
    assert month.end == datetime(2026, 3, 31, 22, tzinfo=UTC)
    assert month.utc_days == (date(2026, 1, 29), date(2026, 3, 31))


@pytest.mark.parametrize(
    ("grain", "day", "starts"),
    [
        ("day", "2026-03-30", ["2026-03-28T23:00:00", "2026-03-29T22:00:00"]),
        ("week", "2026-03-30", ["2026-03-22T23:00:00", "2026-03-29T22:00:00"]),
        ("month", "2026-04-01", ["2026-02-28T23:00:00", "2026-03-31T22:00:00"]),
    ],
)
def test_the_periods_before_are_the_calendars(grain: Grain, day: str, starts: list[str]):
    found = Span(day=date.fromisoformat(day), zone=ZoneInfo("Europe/Berlin"), grain=grain)
    assert [start.astimezone(UTC).replace(tzinfo=None).isoformat() for start in found.periods(2)] == starts
    assert found.periods(40)[-1] == found.start
    assert len(set(found.periods(40))) == 40


def test_months_go_back_over_the_years():
    months = Span(day=date(2026, 2, 1), zone=ZoneInfo("UTC"), count=28, grain="month").periods(15)
    assert [f"{start:%Y-%m-%d}" for start in months[:4]] == ["2024-12-01", "2025-01-01", "2025-02-01", "2025-03-01"]


def test_without_before_everything_there_is_is_read():
    whole = Span(day=date(2026, 3, 2), zone=ZoneInfo("Asia/Kathmandu"), count=7, grain="week", before=None)
    assert whole.reads(datetime(1970, 1, 1, tzinfo=UTC))
    assert not whole.reads(whole.end)
    assert whole.utc_days[1] == date(2026, 3, 8)
