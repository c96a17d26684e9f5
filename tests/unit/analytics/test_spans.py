"""Calendar days where clocks change, and the archive's days they touch."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from analytics.reports.spans import Span, days


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
    assert len(found.hours()) == hours
    assert found.hours()[0] == found.start
    assert all(found.reads(hour) for hour in found.hours())
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
