"""A seeded community of some months in which people come, and leave: some fade away before they do, some just stop."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from analytics.reports.outcomes import HORIZON
from tests.integration.analytics.archived import Fact, fact, write

START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 120
LAST = (START + timedelta(days=DAYS - 1)).date()
CHANNELS = 12
#: Days over which somebody fades.
FADING = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """`rate` is the chance of a day to be active on; `left` is the first day on which they never are."""

    name: str
    rate: float
    talk: int
    channels: tuple[str, ...]
    joined: int
    left: int
    fades: bool

    def chance(self, day: int) -> float:
        if not self.joined <= day < self.left:
            return 0
        remaining = self.left - day
        return self.rate * min(1, 0.1 + remaining / FADING) if self.fades else self.rate


def people(random: Random, count: int, days: int) -> list[Person]:
    found = []
    for number in range(count):
        joined = random.randrange(-60, days - 20)
        found.append(
            Person(
                name=f"u{number:03}",
                rate=random.uniform(0.25, 0.9),
                talk=random.randint(1, 3),
                channels=tuple(f"c{min(int(random.paretovariate(0.8)), CHANNELS)}" for _ in range(3)),
                joined=joined,
                left=max(joined, 0) + 5 + int(random.expovariate(1 / 70)),
                fades=random.random() < 0.7,
            )
        )
    return found


def lived(
    random: Random, persons: Iterable[Person], start: datetime, days: int, tenant: str = "acme"
) -> Iterator[Fact]:
    """What they did on so many days: messages, some of them replies, and reactions to the day's messages."""
    number = 0
    for day in range(days):
        said: list[tuple[str, str]] = []
        for person in persons:
            if random.random() >= person.chance(day):
                continue
            for _ in range(random.randint(1, person.talk)):
                number += 1
                about = random.choice(said) if said and random.random() < 0.4 else None
                fields: dict[str, Any] = {"channel_id": random.choice(person.channels)}
                if about is not None and random.random() < 0.5:
                    fields |= {"type": "reaction.added", "message_id": about[0], "channel_id": about[1], "text": None}
                else:
                    fields["reply_to"] = about and about[0]
                    said.append((f"{tenant}-{number}", fields["channel_id"]))
                moment = start + timedelta(days=day, seconds=random.randrange(86_400))
                yield fact(number, moment, id=f"{tenant}-{number}", tenant=tenant, user_id=person.name, **fields)


def active(facts: Iterable[Fact], tenant: str = "acme") -> dict[str, set[date]]:
    """The days on which each person was."""
    found: dict[str, set[date]] = {}
    for event, _ in facts:
        if event.tenant == tenant and event.user_id is not None:
            found.setdefault(event.user_id, set()).add(event.time.date())
    return found


class Known:
    """The plain count of who was at risk on a day, and who of them left."""

    def __init__(self, facts: Iterable[Fact], tenant: str = "acme") -> None:
        self.days = active(facts, tenant)

    def at_risk(self, day: date) -> set[str]:
        return {who for who, days in self.days.items() if any(0 <= (day - d).days < HORIZON for d in days)}

    def left(self, day: date) -> set[str]:
        stayed = {who for who, days in self.days.items() if any(0 < (d - day).days <= HORIZON for d in days)}
        return self.at_risk(day) - stayed


def auc(risks: Mapping[str, float], left: Collection[str]) -> float:
    """The chance that who left has more than who stayed, by comparing every two."""
    gone = [risks[who] for who in left]
    stayed = [risk for who, risk in risks.items() if who not in left]
    return sum((a > b) + (a == b) / 2 for a in gone for b in stayed) / (len(gone) * len(stayed))


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """Who is in `acme`, and everything that will have happened there a horizon after the last day."""

    persons: list[Person]
    whole: list[Fact]


def planted(root: Path, count: int) -> Planted:
    """An archive of so many people of `acme`, and of other tenants, that ends with the last day.

    Of `small` there are forty; nobody can know the people of `coin`, who come by throwing one.
    """
    persons = people(Random(7), count, DAYS)
    whole = list(lived(Random(8), persons, START, DAYS + HORIZON))
    coin = [
        Person(name=f"k{n:03}", rate=0.06, talk=1, channels=("c1",), joined=0, left=999, fades=False)
        for n in range(300)
    ]
    write(root, (found for found in whole if found[0].time.date() <= LAST))
    write(root, lived(Random(9), coin, START, DAYS, "coin"))
    write(root, lived(Random(10), people(Random(10), 40, DAYS), START, DAYS, "small"))
    return Planted(persons=persons, whole=whole)
