"""What SQL finds in the month that was worked out by hand, and in the examples beside the rules."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from infra.contracts.reports import Cell
from tests.bench.recount import Place, Recount
from tests.integration.analytics.archived import Fact, fact
from tests.integration.analytics.known import BERLIN, month

AS_OF = datetime(2026, 4, 10, tzinfo=UTC)
NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recount]:
    with closing(Recount(month(), tmp_path_factory.mktemp("month"))) as recount:
        yield recount


def week(of: date, count: int, as_of: datetime = AS_OF, zone: ZoneInfo = BERLIN) -> dict[str, Any]:
    """The calendar week that begins on this day, and those before it."""
    return {
        **{"tenant": "acme", "zone": zone, "grain": "week", "last": of, "end": of + timedelta(days=7)},
        **{"count": count, "as_of": as_of},
    }


def row(found: dict[Place, Cell], section: str, key: str = "") -> dict[str, Cell]:
    return {name: value for (of, of_key, name), value in found.items() if (of, of_key) == (section, key)}


def test_cohorts_of_the_month(known: Recount) -> None:
    found = known.retention(figures=["size", "w1", "w4"], **week(date(2026, 3, 23), 4))
    assert row(found, "first_time", "2026-03-02") == {"size": 3, "w0": 100, "w1": 66.7, "w2": 0, "w3": 33.3}
    assert row(found, "first_time", "2026-03-23") == {"size": 1, "w0": 100}
    assert row(found, "first_time", "mean") == {"size": 4, "w0": 100, "w1": 66.7, "w2": 0, "w3": 33.3}
    # Ann came on the 2nd and on the 29th: that is less than thirty days apart.
    assert row(found, "figures") == {"r30": 0, "size": 4, "w1": 66.7}


@pytest.mark.parametrize(
    ("day", "numbers"),
    [(2, (3, 3, 0, 0, 0)), (9, (2, 0, 2, 0, 1)), (16, (0, 0, 0, 0, 2)), (23, (2, 1, 0, 1, 0)), (30, (1, 0, 0, 1, 2))],
)
def test_states_of_the_month(known: Recount, day: int, numbers: tuple[int, ...]) -> None:
    states = ("active", "new", "returning", "resurrecting", "dormant")
    assert row(known.lifecycle(**week(date(2026, 3, day), 1)), "figures") == dict(zip(states, numbers, strict=True))


def test_sessions_of_the_month(known: Recount) -> None:
    def day(number: int) -> dict[Place, Cell]:
        start, end = (datetime(2026, 3, n, tzinfo=BERLIN) for n in (number, number + 1))
        return known.sessions(tenant="acme", start=start, end=end)

    monday = row(day(2), "figures")
    assert [monday[name] for name in ("sessions", "people", "engaged", "engaged_per_person")] == [4, 3, 1_140, 60]
    assert row(day(29), "figures")["engaged"] == 300


def test_thirty_days_apart_are_not_more_than_thirty(tmp_path: Path) -> None:
    facts = [fact(n, NOON - timedelta(days=days), user_id=who) for n, (who, days) in enumerate(VISITS)]
    with closing(Recount(facts, tmp_path)) as recount:
        found = recount.retention(figures=[], **week(date(2026, 3, 2), 1, as_of=NOON + timedelta(hours=1)))
    # Bob came 31 days apart; cem, too, but 60 days ago is too long ago. Nobody wrote for the first time this week.
    assert row(found, "figures") == {"r30": 1, "size": 0}


VISITS = (("ann", 0), ("ann", 30), ("bob", 0), ("bob", 31), ("cem", 60), ("cem", 29))


def test_the_session_that_metrics_tells_of(tmp_path: Path) -> None:
    facts = [fact(n, NOON + timedelta(minutes=minutes)) for n, minutes in enumerate((0, 4, 31, 70))]
    figures = sessions(facts, tmp_path)
    assert [figures[name] for name in ("sessions", "engaged", "p90")] == [2, 540, 1_674]


@pytest.mark.parametrize(
    ("said", "count"),
    [
        (("a", None, "a", "b", "b"), 2),
        (("v", "w", "v", "w", "v"), 1),
        ((None, "a", "b", "c", None), 3),
        (("a", "b", "a", "c", "d"), 3),
    ],
)
def test_ids_that_take_turns_are_not_believed(tmp_path: Path, said: tuple[str | None, ...], count: int) -> None:
    facts = [fact(n, NOON + timedelta(minutes=n), context={"session_id": name}) for n, name in enumerate(said)]
    assert sessions(facts, tmp_path)["sessions"] == count


def sessions(facts: list[Fact], folder: Path) -> dict[str, Cell]:
    """The figures of the day."""
    start = NOON - timedelta(hours=12)
    with closing(Recount(facts, folder)) as recount:
        return row(recount.sessions(tenant="acme", start=start, end=start + timedelta(days=1)), "figures")
