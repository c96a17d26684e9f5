"""An archive of a few seeded days, written as Delta tables, and what a recount in plain Python makes of it."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from arro3.core import Table
from deltalake import write_deltalake

from analytics.archive.rows import arrow_batch, read_row
from analytics.archive.table import open_table
from analytics.reports.spans import Span
from infra.contracts import archive
from infra.contracts.archive import ArchiveTable
from infra.contracts.events import Event, to_ms
from infra.contracts.records import Action, Judged
from infra.runtime.settings import Archive, Runtime

#: Facts of one commit.
_COMMIT = 50_000
#: An event and what became of it: `events`, `held` or `blocked`.
Fact = tuple[Event, str]
ACTIVE = {"message.sent", "message.edited", "reaction.added", "receipt.read", "channel.joined"}


def fact(number: int, moment: datetime, outcome: str = "events", **fields: Any) -> Fact:
    """A message, unless told otherwise."""
    event = Event(
        **{
            "id": f"e{number}",
            "type": "message.sent",
            "time": moment,
            "tenant": "acme",
            "channel_id": "general",
            "user_id": "ann",
            "text": "hello",
            "received_at": moment + timedelta(milliseconds=20),
            **fields,
        }
    )
    return event, outcome


def community(seed: int, start: datetime, days: int, count: int) -> list[Fact]:
    """Some days of two tenants: every type, bots, copies, visitors, deletes days later, words that were stopped."""
    random = Random(seed)
    facts: list[Fact] = []
    sent: list[Event] = []
    span = timedelta(days=days)
    for number in range(count):
        moment = start + span * random.random()
        moment = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
        kind = random.choices(
            (
                *("message.sent", "message.edited", "message.deleted", "reaction.added", "reaction.removed"),
                *("receipt.read", "channel.joined", "channel.left", "session.started", "track.opened"),
            ),
            (50, 5, 5, 12, 1, 10, 6, 3, 4, 4),
        )[0]
        who = f"u{int(random.paretovariate(1.1)) % 60}"
        fields: dict[str, Any] = {
            "type": kind,
            "tenant": random.choice(("acme", "other")),
            "channel_id": None if kind.startswith(("session", "track")) else f"c{int(random.paretovariate(1)) % 12}",
            "user_id": who if random.random() > 0.1 else None,
            "anonymous_id": who,
            "is_bot": True if random.random() < 0.05 else None,
        }
        if kind in ("message.edited", "message.deleted", "reaction.added", "receipt.read") and sent:
            about = random.choice(sent)
            fields |= {"tenant": about.tenant, "channel_id": about.channel_id, "message_id": about.target}
            moment = max(moment, about.time) if random.random() < 0.9 else about.time - timedelta(seconds=30)
        if kind == "message.sent" and random.random() < 0.2:
            fields["message_id"] = f"m{number}"
        if kind == "message.sent" and number % 4 == 0:
            # Every other begins a thread, and the rest answer.
            fields["thread_id"] = fields.get("message_id", f"e{number}") if number % 8 else f"e{number - 1}"
        outcome = "events"
        if kind in ("message.sent", "message.edited") and random.random() < 0.06:
            outcome = random.choice(("held", "blocked"))
        found = fact(number, moment, outcome, **fields)
        facts.append(found)
        if outcome == "events" and kind == "message.sent":
            sent.append(found[0])
        if random.random() < 0.05:
            # A client's repetition: received later, its time corrected to something else.
            event = found[0]
            assert event.received_at is not None
            later = event.received_at + timedelta(seconds=random.randrange(1, 600))
            copy = msgspec.structs.replace(event, received_at=later, time=event.time + timedelta(seconds=2))
            facts.append((copy, outcome))
    for number, event in enumerate(random.sample(sent, count // 100), start=count):
        later = event.time + (start + span - event.time) * random.random()
        place: dict[str, Any] = {"tenant": event.tenant, "channel_id": event.channel_id, "message_id": event.target}
        facts.append(fact(number, later, type="message.blocked", user_id="hubbub", **place))
    random.shuffle(facts)
    return facts


def write(
    root: Path, facts: Iterable[Fact], rules: Mapping[str, str] | None = None, judged: Iterable[Judged] = ()
) -> None:
    """Append to the archive's tables. `rules` are those that touched events which were not stopped, by id."""
    waiting = iter(facts)
    while chunk := list(islice(waiting, _COMMIT)):
        for table in (archive.EVENTS, archive.HELD):
            rows = [
                _row(table, event, outcome, (rules or {}).get(event.id))
                for event, outcome in chunk
                if (outcome == "events") == (table is archive.EVENTS)
            ]
            _append(root, table, rows)
    # As the archive role leaves it where no rule has found anything.
    open_table(archive.VERDICTS, Archive(location=str(root)), Runtime())
    noted = [read_row(archive.VERDICTS, msgspec.json.encode(verdict), []) for verdict in judged]
    _append(root, archive.VERDICTS, [row for row in noted if row is not None])


def _append(root: Path, table: ArchiveTable, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        batches = [arrow_batch(table, rows)]
        write_deltalake(f"{root}/{table.name}", Table.from_batches(batches), mode="append", partition_by=["day"])


def _row(table: ArchiveTable, event: Event, outcome: str, rule: str | None) -> tuple[Any, ...]:
    values = {
        **{name: getattr(event, name, None) for name in table.names},
        "day": (event.time.astimezone(UTC).date() - date(1970, 1, 1)).days,
        "properties": json.dumps(event.properties) if event.properties else None,
        "context": json.dumps(event.context) if event.context else None,
        "rule": rule,
    }
    if table is archive.HELD:
        action = Action.HOLD if outcome == "held" else Action.BLOCK
        values |= {"action": action.value, "rule": "block-list", "rule_version": 1, "reason": "listed", "matches": 1}
    return tuple(values[name] for name in table.names)


def recount(facts: Sequence[Fact], tenant: str, span: Span, *, moderated: bool = True) -> dict[str, Any]:
    """The figures of `daily`, its channels and its hours, counted one event after the other."""
    first: dict[tuple[bool, str | None, str], Fact] = {}
    for event, outcome in sorted(facts, key=lambda f: f[0].received_at or f[0].time):
        first.setdefault((outcome == "events", event.tenant, event.id), (event, outcome))
    deleted, taken_down = (
        {e.message_id for e, _ in first.values() if e.tenant == tenant and e.type == f"message.{how}"}
        for how in ("deleted", "blocked")
    )
    numbers: dict[tuple[str, str], dict[str, Any]] = defaultdict(lambda: defaultdict(int))
    people: dict[tuple[str, str], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for event, judged in first.values():
        if event.tenant != tenant or event.is_bot or not span.start <= event.time < span.end:
            continue
        if event.type == "message.blocked":
            continue
        gone = moderated and event.type in ("message.sent", "message.edited") and event.target in taken_down
        outcome = "blocked" if gone and judged == "events" else judged
        hour = str((to_ms(event.time) - to_ms(span.start)) // 3_600_000)
        places = [("total", ""), ("hour", hour)]
        if event.channel_id is not None:
            places.append(("channel", event.channel_id))
        for place in places:
            row, who = numbers[place], people[place]
            if outcome != "events":
                row[outcome] += event.type in ("message.sent", "message.edited")
                continue
            who["present"].add(event.author)
            if event.type in ACTIVE:
                who["active"].add(event.author)
            if event.type == "reaction.added" or (event.type == "message.sent" and event.is_reply):
                who["responders"].add(event.author)
            match event.type:
                case "message.sent":
                    row["sent"] += 1
                    row["net"] += event.target not in deleted | taken_down
                    who["contributors"].add(event.author)
                case "message.edited":
                    row["edited"] += 1
                case "message.deleted":
                    row["deleted"] += 1
                case "reaction.added":
                    row["reactions"] += 1
                case "channel.joined":
                    row["joins"] += 1
                case "channel.left":
                    row["leaves"] += 1
    found: dict[str, dict[str, dict[str, int]]] = {"total": {}, "hour": {}, "channel": {}}
    for section, key in {*numbers, *people}:
        counted = {**numbers[section, key], **{name: len(names) for name, names in people[section, key].items()}}
        found[section][key] = {name: n for name, n in counted.items() if n}
    return found
