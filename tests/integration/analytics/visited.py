"""People who come and go for some days, and what one pass over their events makes of it: sessions in plain Python."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

import msgspec

from analytics.reports.spans import Span
from infra.contracts.events import Event
from tests.integration.analytics.archived import Fact, fact

IDLE, CAP, ATTENTION = timedelta(minutes=30), timedelta(hours=24), timedelta(minutes=5)


@dataclass
class Visit:
    """One session: the moments of its events."""

    person: str
    moments: list[datetime] = field(default_factory=list)

    @property
    def length(self) -> timedelta:
        return self.moments[-1] - self.moments[0]

    @property
    def engaged(self) -> timedelta:
        pairs = zip(self.moments, self.moments[1:], strict=False)
        return sum((min(later - earlier, ATTENTION) for earlier, later in pairs), timedelta())


def comings(seed: int, start: datetime, days: int) -> list[Fact]:
    """Two tenants: visits of one or two devices, ids of sessions that can be believed and that cannot, sleepless ones,
    bots, visitors without a name, copies, receipts that devices send, and messages taken down or deleted since."""
    random = Random(seed)
    facts: list[Fact] = []
    end = start + timedelta(days=days)

    def see(who: str, moment: datetime, **fields: Any) -> None:
        kind = random.choice(("message.sent", "receipt.read", "reaction.added", "receipt.delivered", "track.opened"))
        about = {"message_id": "m"} if kind not in ("message.sent", "track.opened") else {}
        moment = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
        tenant = "acme" if int(who[1:]) % 3 else "other"
        found = fact(len(facts), moment, **{"type": kind, "tenant": tenant, "user_id": who, **about, **fields})
        facts.append(found)
        if random.random() < 0.03:
            late = moment + timedelta(minutes=5)
            facts.append((msgspec.structs.replace(found[0], time=late, received_at=late), "events"))
        if kind == "message.sent" and random.random() < 0.08:
            how = random.choice(("message.deleted", "message.blocked"))
            later = moment + timedelta(hours=random.randrange(40))
            who = who if how == "message.deleted" else "hubbub"
            facts.append(
                fact(len(facts), later, type=how, tenant=tenant, user_id=who, message_id=found[0].id, context=None)
            )

    for person in range(24):
        who = f"u{person}"
        moment = start + timedelta(minutes=random.randrange(600))
        visit = 0
        while moment < end:
            visit += 1
            device = random.choice(("phone", {"id": "laptop", "model": "x"}, None))
            # By its own visit; the same as before; the same for everybody; or none.
            session = random.choice((f"{who}-{visit}", f"{who}-{visit // 2}", f"s{visit % 5}", None))
            other = random.random() < 0.2
            for n in range(random.randrange(1, 25)):
                at = f"{session}-{n % 2}" if other and session else session
                context = {"session_id": at, "device": device} if random.random() < 0.9 else {"device": device}
                anonymous = random.random() < 0.1
                names = {"user_id": None, "anonymous_id": who} if anonymous else {}
                see(who, moment, context=context, is_bot=person == 7 or None, **names)
                moment += timedelta(minutes=random.choice((0.2, 1, 3, 8, 15, 29.9)))
            moment += timedelta(minutes=random.choice((2, 12, 30, 45, 300, 700)))
    for n in range(int(timedelta(days=3) / timedelta(minutes=25))):
        see("u1", start + timedelta(hours=5) + n * timedelta(minutes=25), context={"device": "sleepless"})
    random.shuffle(facts)
    return facts


def visits(facts: Sequence[Fact], tenant: str, span: Span) -> list[Visit]:
    """The sessions that began in the span."""
    first: dict[str, Event] = {}
    for event, outcome in sorted(facts, key=lambda f: f[0].received_at or f[0].time):
        if event.tenant == tenant and outcome == "events":
            first.setdefault(event.id, event)
    gone = {event.message_id for event in first.values() if event.type == "message.blocked"}
    of_device: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in sorted(first.values(), key=lambda e: (e.time, e.id)):
        silent = event.type in ("message.blocked", "receipt.delivered") or event.is_bot
        taken_down = event.type in ("message.sent", "message.edited") and event.target in gone
        if not silent and not taken_down and span.since <= event.time < span.until:
            of_device[event.author, _device(event)].append(event)
    times: dict[str, int] = defaultdict(int)
    for events in of_device.values():
        for session in _taken_up(events):
            times[session] += 1
    believed = {session for session, count in times.items() if count == 1}
    found = [v for (who, _), events in of_device.items() for v in _stays(who, events, believed)]
    return [visit for visit in found if span.start <= visit.moments[0] < span.end]


def _device(event: Event) -> str:
    device = (event.context or {}).get("device")
    if isinstance(device, dict):
        device = device["id"]
    return device or event.anonymous_id or ""


def _taken_up(events: Iterable[Event]) -> Iterable[str]:
    """The ids of one device's events, each as often as it begins anew."""
    current, previous = None, None
    for event in events:
        if previous is not None and event.time - previous > IDLE:
            current = None
        session = (event.context or {}).get("session_id")
        if session is not None and session != current:
            yield session
            current = session
        previous = event.time


def _stays(who: str, events: Iterable[Event], believed: set[str]) -> Iterable[Visit]:
    visit: Visit | None = None
    current, began = None, datetime.min
    for event in events:
        session = (event.context or {}).get("session_id")
        session = session if session in believed else None
        idle = visit is None or event.time - visit.moments[-1] > IDLE
        if idle or (session is not None and current is not None and session != current):
            if visit is not None:
                yield visit
            visit, began, current = Visit(who), event.time, None
        elif event.time - began >= CAP:
            assert visit is not None
            yield visit
            visit = Visit(who)
            while event.time - began >= CAP:
                began += CAP
        assert visit is not None
        visit.moments.append(event.time)
        current = session or current
    if visit is not None:
        yield visit
