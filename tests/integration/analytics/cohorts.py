"""People who come again or not, and retention and lifecycle counted one person after the other in plain Python."""

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from itertools import groupby
from random import Random
from zoneinfo import ZoneInfo

from analytics.reports.spans import Span
from tests.integration.analytics.archived import ACTIVE, Fact, community, fact

#: Of a day the calendar period it lies in.
LABELS: dict[str, Callable[[date], object]] = {
    "day": lambda day: day,
    "week": lambda day: day.isocalendar()[:2],
    "month": lambda day: (day.year, day.month),
}


def joining(start: datetime, days: int) -> list[Fact]:
    """A community that somebody new joins every day, who comes again or not."""
    random, found = Random(11), community(seed=11, start=start, days=days, count=1_600)
    for n in range(days):
        moments = [start + timedelta(days=n + away) for away in (0, 1, 6, 8, 33) if not away or random.random() < 0.4]
        found += [fact(10_000 + 10 * n + k, moment, user_id=f"n{n}") for k, moment in enumerate(moments)]
    return found


class People:
    """Who was active in which period, and who wrote. Periods are numbered through from an early one to the span's."""

    def __init__(self, facts: Sequence[Fact], tenant: str, span: Span, zone: ZoneInfo) -> None:
        self._periods = [list(g) for _, g in groupby(_calendar(date(2025, 1, 1), span), LABELS[span.grain])]
        number = {day: n for n, of in enumerate(self._periods) for day in of}
        self.last = number[span.day]
        self.days: dict[str, set[date]] = {}
        self.came: dict[str, set[int]] = {}
        self.wrote: dict[str, set[int]] = {}
        for event in _first(facts, tenant):
            day = event[0].time.astimezone(zone).date()
            if day not in number or event[0].author is None:
                continue
            self.days.setdefault(event[0].author, set()).add(day)
            self.came.setdefault(event[0].author, set()).add(number[day])
            if event[0].type == "message.sent":
                self.wrote.setdefault(event[0].author, set()).add(number[day])

    def label(self, number: int) -> str:
        return self._periods[number][0].isoformat()

    def cohort(self, number: int, *, first: bool) -> set[str]:
        return {who for who, periods in self.wrote.items() if (min(periods) == number if first else number in periods)}

    def retained(self, cohort: set[str], number: int) -> int:
        return sum(number in self.came[who] for who in cohort)

    def r30(self, today: date) -> int:
        recent = [[d for d in days if timedelta(0) <= today - d < timedelta(days=60)] for days in self.days.values()]
        return sum(bool(days) and max(days) - min(days) > timedelta(days=30) for days in recent)

    def lifecycle(self, number: int) -> dict[str, int]:
        found = dict.fromkeys(("active", "new", "returning", "resurrecting", "dormant"), 0)
        for periods in self.came.values():
            if number in periods:
                found["active"] += 1
                earlier = {n for n in periods if n < number}
                state = "new" if not earlier else "returning" if number - 1 in earlier else "resurrecting"
                found[state] += 1
            elif number - 1 in periods:
                found["dormant"] += 1
        return found


def _first(facts: Sequence[Fact], tenant: str) -> list[Fact]:
    """What makes people active: of copies the first received, without bots and what was stopped or taken down."""
    first: dict[str, Fact] = {}
    for event, outcome in sorted(facts, key=lambda f: f[0].received_at or f[0].time):
        if outcome == "events" and event.tenant == tenant:
            first.setdefault(event.id, (event, outcome))
    down = {event.message_id for event, _ in first.values() if event.type == "message.blocked"}
    return [
        (event, outcome)
        for event, outcome in first.values()
        if event.type in ACTIVE
        and not event.is_bot
        and not (event.type in ("message.sent", "message.edited") and event.target in down)
    ]


def _calendar(first: date, span: Span) -> list[date]:
    last = span.day + timedelta(days=span.count)
    return [first + timedelta(days=n) for n in range((last - first).days)]
