"""Sessions by hand: what ends one, what cuts one, and what counts as engaged."""

from datetime import UTC, datetime, timedelta

from analytics.stays import Stay

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)


def told(*minutes: float) -> list[tuple[bool, float]]:
    """Of each event after the first: whether a session began, and the engaged minutes before it."""
    moments = [NOON + timedelta(minutes=minute) for minute in minutes]
    stay = Stay(moments[0], moments[0])
    signs = [stay.take(moment) for moment in moments[1:]]
    return [(sign.began, sign.engaged / timedelta(minutes=1)) for sign in signs]


def test_the_example_of_the_report() -> None:
    assert told(0, 4, 31, 70) == [(False, 4), (False, 5), (True, 0)]


def test_thirty_idle_minutes_are_not_too_long() -> None:
    assert told(0, 30, 60.001) == [(False, 5), (True, 0)]


def test_a_day_cuts_a_session_and_the_next_day_cuts_it_again() -> None:
    events = [20 * n for n in range(3 * 72 + 1)]
    began = [events[n + 1] for n, (new, _) in enumerate(told(*events)) if new]
    assert began == [24 * 60, 48 * 60, 72 * 60]


def test_a_session_is_over_when_nothing_could_be_part_of_it() -> None:
    stay = Stay(NOON, NOON)
    assert not stay.is_over(NOON + timedelta(minutes=30))
    assert stay.is_over(NOON + timedelta(minutes=30, milliseconds=1))
