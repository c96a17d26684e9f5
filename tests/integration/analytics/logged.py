"""Events put straight into the topics the query reads, and what a recount of them gives."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from analytics.rollups import estimate
from infra.contracts import codec
from infra.contracts.events import HEARTBEAT, Event
from infra.contracts.metrics import COUNTS, DISTINCTS, TENANT_SCOPE, channel_scope
from infra.contracts.records import Action, Held, Verdict
from infra.contracts.tables import MEASURE_COLUMNS
from infra.contracts.topics import EVENTS, HELD
from infra.contracts.windows import GRAINS
from infra.runtime.cassandra import Database
from infra.runtime.kafka import DeliveringProducer, producer_config
from infra.runtime.settings import Kafka

PARTITIONS = EVENTS.partitions
#: (scope, grain, start, measure) → number.
Totals = dict[tuple[str, str, datetime, str], int]


def event(number: int, moment: datetime, **fields: Any) -> Event:
    """A message, unless told otherwise."""
    return Event(
        **{
            "id": f"event-{number}",
            "type": "message.sent",
            "time": moment,
            "tenant": "acme",
            "channel_id": f"c{number % 3}",
            "user_id": f"u{number % 7}",
            "text": "hello",
            **fields,
        }
    )


@dataclass
class Log:
    """Writes to the topics; `counted` is what ought to be counted."""

    kafka: Kafka
    counted: list[tuple[Event, str]] = field(default_factory=list)

    def send(self, *events: Event, count: bool = True) -> None:
        """Put accepted events into `events`."""
        self._produce(EVENTS.name, ((codec.encode(e), hash(e.channel_id) % PARTITIONS) for e in events))
        if count:
            self.counted += [(e, "events") for e in events]

    def hold(self, action: Action, *events: Event) -> None:
        """Put events into `held`."""
        verdict = Verdict(action=action, rule="block-list", version=1, reason="listed word")
        records = (msgspec.json.encode(Held(event=e, verdict=verdict)) for e in events)
        self._produce(HELD.name, ((record, 0) for record in records))
        self.counted += [(e, "held" if action is Action.HOLD else "blocked") for e in events]

    def beat(self, moment: datetime, partitions: Iterable[int] = range(PARTITIONS)) -> None:
        """A heartbeat in each of these partitions, as the router writes them. A running query may split several."""
        beats = (
            (Event(id=f"heartbeat-{p}", type=HEARTBEAT, time=moment, user_id="hubbub", tenant=""), p)
            for p in partitions
        )
        self._produce(EVENTS.name, ((codec.encode(e), p) for e, p in beats))

    def spoil(self, *values: bytes | None) -> None:
        """Put bytes that are no event into both topics."""
        for topic in (EVENTS.name, HELD.name):
            self._produce(topic, ((value, 1) for value in values))

    def _produce(self, topic: str, records: Iterable[tuple[bytes | None, int]]) -> None:
        producer = DeliveringProducer(producer_config(self.kafka, "test"))
        for value, partition in records:
            producer.produce(self.kafka.topic(topic), value, partition=partition)
        assert producer.close(30) == 0

    def totals(self) -> Totals:
        """Every window of the tenant and its channels, recounted."""
        counts: Counter[tuple[str, str, datetime, str]] = Counter()
        people: dict[tuple[str, str, datetime, str], set[str]] = defaultdict(set)
        for e, outcome in {(e.id, outcome): (e, outcome) for e, outcome in self.counted}.values():
            for scope in (TENANT_SCOPE, channel_scope(e.channel_id or "")):
                for grain in GRAINS:
                    key = (scope, grain.name, grain.start(e.time))
                    for measure in COUNTS:
                        if measure.takes(e, outcome):
                            counts[*key, measure.name] += 1
                    for measure in DISTINCTS:
                        if measure.takes(e, outcome):
                            people[*key, measure.name].add(e.author)
        return {**counts, **{key: len(names) for key, names in people.items()}}

    def tallies(self) -> dict[tuple[str, datetime, str], tuple[int, int]]:
        """(grain, start, user) → messages sent and reactions added, recounted."""
        found: dict[tuple[str, datetime, str], tuple[int, int]] = {}
        for e, outcome in {(e.id, outcome): (e, outcome) for e, outcome in self.counted}.values():
            if outcome != "events" or e.type not in ("message.sent", "reaction.added"):
                continue
            for grain in GRAINS:
                key = (grain.name, grain.start(e.time), e.author)
                sent, reactions = found.get(key, (0, 0))
                found[key] = (sent + (e.type == "message.sent"), reactions + (e.type == "reaction.added"))
        return found


def stored_totals(database: Database) -> Totals:
    """Every window in the table, and that each estimate is its sketch's."""
    columns = ", ".join(MEASURE_COLUMNS)
    found: Totals = {}
    for scope, grain, start, *values in database.session.execute(
        f"SELECT scope, grain, window_start, {columns} FROM metric_windows WHERE tenant = 'acme' ALLOW FILTERING"
    ):
        row = dict(zip(MEASURE_COLUMNS, values, strict=True))
        for measure in DISTINCTS:
            assert row[measure.name] == estimate(row[f"{measure.name}_sketch"])
        for name in (m.name for m in (*COUNTS, *DISTINCTS)):
            if row[name]:
                found[scope, grain, start.replace(tzinfo=UTC), name] = row[name]
    return found


def stored_tallies(database: Database, kind: str = "user") -> dict[tuple[str, datetime, str], tuple[int, int]]:
    """Every member of every window in the table."""
    rows = database.session.execute(
        "SELECT kind, grain, window_start, member, sent, reactions FROM window_members"
        " WHERE tenant = 'acme' ALLOW FILTERING"
    )
    return {
        (grain, start.replace(tzinfo=UTC), member): (sent or 0, reactions or 0)
        for found, grain, start, member, sent, reactions in rows
        if found == kind
    }


def minutes(start: datetime, count: int) -> list[datetime]:
    """A moment in each of so many minutes."""
    return [start + timedelta(minutes=n) for n in range(count)]
