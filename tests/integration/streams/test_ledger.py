"""The ledger over real engines: it names the minute and the stage of a lost record, and sees it healed."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import NewPartitions

from infra.contracts import codec, placement, tables, topics
from infra.contracts.events import Event
from infra.contracts.ledger import Stage, State
from infra.contracts.windows import MINUTE
from infra.runtime.cassandra import Database, connect
from infra.runtime.clock import SystemClock
from infra.runtime.kafka import DeliveringProducer, admin, producer_config
from infra.runtime.settings import Cassandra, Kafka
from streams.ledger.auditor import Auditor
from streams.ledger.reader import Reader
from streams.ledger.settings import LedgerSettings
from streams.ledger.store import STATEMENTS, Store
from streams.router.book import RuleBook
from streams.router.deliveries import Output
from streams.router.routing import Record, Router
from tests.integration.streams.running import wait_until

#: Long enough for a minute to be over and settled.
AHEAD = timedelta(minutes=3)
#: More than any partition here ever holds.
DONE = 1_000


class ClockAhead(SystemClock):
    """The machine's clock, some minutes later: what is appended now is of a minute that is over."""

    def now(self) -> datetime:
        return super().now() + AHEAD


class Pipeline:
    """Ingest and router by hand: what is written, and how far each stage says it is."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._producer = DeliveringProducer(producer_config(kafka, "test"))
        self._admin = admin(kafka)
        self._router = Router(topics.INGEST, kafka, RuleBook())
        self.appended: list[datetime] = []

    def accept(self, tenant: str, *texts: str) -> list[Output]:
        """Append one frame to partition 2 of `ingest`; what the router makes of it, not written yet."""
        now = datetime.now(UTC)
        events = [
            Event(
                id=f"e-{len(self.appended)}-{number}",
                type="message.sent",
                time=now,
                channel_id=f"c-{number}",
                user_id="ada",
                text=text,
                tenant=tenant,
            )
            for number, text in enumerate(texts)
        ]
        value = codec.frame([codec.encode(event) for event in events])
        reports: list[Any] = []
        self._producer.produce(
            self._kafka.topic("ingest"), value, partition=2, on_delivery=lambda error, m: reports.append((error, m))
        )
        wait_until(lambda: bool(reports), 30)
        ((error, message),) = reports
        assert error is None
        at = datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)
        self.appended.append(at)
        record = Record(topic="ingest", partition=2, offset=message.offset(), appended_at=at, value=value)
        return self._router.route(record).outputs

    def write(self, outputs: list[Output]) -> None:
        reports: list[Any] = []
        for output in outputs:
            self._producer.produce(
                output.topic,
                output.value,
                key=output.key,
                headers=output.headers,
                on_delivery=lambda error, _: reports.append(error),
            )
        wait_until(lambda: len(reports) == len(outputs), 30)
        assert reports == [None] * len(outputs)

    def commit(self, role: str, topic: str, partitions: range, offset: int) -> None:
        """What this role says it has done."""
        places = [TopicPartition(self._kafka.topic(topic), number, offset) for number in partitions]
        request = [ConsumerGroupTopicPartitions(self._kafka.group(role), places)]
        for done in self._admin.alter_consumer_group_offsets(request).values():
            assert all(place.error is None for place in done.result(20).topic_partitions or [])

    def add_partition(self, topic: str) -> None:
        for done in self._admin.create_partitions([NewPartitions(self._kafka.topic(topic), 9)]).values():
            done.result(20)

    def close(self) -> None:
        self._producer.close(5)


@pytest.fixture
def database(cassandra: Cassandra) -> Iterator[Database]:
    database = connect(cassandra)
    yield database
    database.close()


@pytest.fixture
def pipeline(own_kafka: Kafka) -> Iterator[Pipeline]:
    pipeline = Pipeline(own_kafka)
    yield pipeline
    pipeline.close()


class Audit:
    """An auditor that is stepped by the test, and what it has stored."""

    def __init__(self, kafka: Kafka, database: Database) -> None:
        database.prepare(STATEMENTS)
        self._database = database
        self._reader = Reader(kafka)
        self.auditor = Auditor(self._reader, Store(database), LedgerSettings(), ClockAhead())
        self.auditor.start()

    def rows(self, tenant: str, start: datetime) -> list[tuple[Any, ...]]:
        found = self._database.session.execute(
            self._database.prepared(tables.LEDGER_MINUTES),
            (tenant, placement.day(start), start, start + MINUTE.width),
        )
        return list(found)

    def wait_for(self, tenant: str, start: datetime, state: State, stage: Stage | None) -> tuple[Any, ...]:
        """Step until the minute is stored so; its row."""

        def so() -> bool:
            self.step()
            return [row[8:10] for row in self.rows(tenant, start)] == [(state.value, stage and stage.value)]

        wait_until(so, 40)
        ((_, *row),) = self.rows(tenant, start)
        return tuple(row)

    @property
    def fatal(self) -> str | None:
        return self._reader.fatal

    def step(self) -> None:
        self.auditor.read()
        self.auditor.check()

    def has_ended(self) -> bool:
        """Whether one more step leaves it in need of a restart."""
        self.step()
        return self.fatal is not None

    def close(self) -> None:
        self._reader.close()


def test_a_lost_record_is_named_by_minute_and_stage_and_heals(
    own_kafka: Kafka, database: Database, pipeline: Pipeline
) -> None:
    whole = pipeline.accept("acme", "hello", "good morning")
    pipeline.write(whole)
    pipeline.write(whole)  # a killed router writes all of it again
    part = pipeline.accept("acme", "this one", "is lost")
    (lost,) = [o for o in part if o.topic.endswith("events")][1:]
    pipeline.write([output for output in part if output is not lost])
    start = MINUTE.start(pipeline.appended[1])
    same = MINUTE.start(pipeline.appended[0]) == start
    accepted = 4 if same else 2

    audit = Audit(own_kafka, database)
    try:
        # The router has not said that it is done with the second record.
        pipeline.commit("router", "ingest", range(2, 3), 1)
        row = audit.wait_for("acme", start, State.LATE, Stage.TOPICS)
        assert row[:2] == (accepted, accepted - 1)

        pipeline.commit("router", "ingest", range(2, 3), 2)
        row = audit.wait_for("acme", start, State.DIFFERENT, Stage.TOPICS)
        assert row[:7] == (accepted, accepted - 1, 0, 0, 0, 0, 0)
        assert row[9:] == (accepted, accepted - 1, "ingest/2/1")

        pipeline.write([lost])
        row = audit.wait_for("acme", start, State.LATE, Stage.HISTORY)
        assert row[:2] == (accepted, accepted)
        pipeline.commit("history", "events", range(8), DONE)
        audit.wait_for("acme", start, State.LATE, Stage.ANALYTICS)
        offsets = {own_kafka.topic("events"): {str(number): DONE for number in range(8)}}
        now = datetime.now(UTC)
        database.session.execute(
            database.prepared(tables.PUT_PROGRESS),
            (tables.METRICS_QUERY, 1, now, msgspec.json.encode(offsets).decode(), now, 0, 0, now),
        )
        row = audit.wait_for("acme", start, State.BALANCED, None)
        assert row == (accepted, accepted, 0, 0, 0, 0, 0, "balanced", None, None, None, None)
    finally:
        audit.close()

    # The next process begins where this one was done, and the same minute is the same again.
    lost_again = pipeline.accept("acme", "never accounted for")
    pipeline.write([output for output in lost_again if output.topic.endswith("events")])
    pipeline.commit("router", "ingest", range(2, 3), 3)
    start = MINUTE.start(pipeline.appended[2])
    database.session.execute(
        database.prepared(tables.PUT_LEDGER_PROGRESS), (MINUTE.start(pipeline.appended[0]), now, now)
    )
    audit = Audit(own_kafka, database)
    try:
        row = audit.wait_for("acme", start, State.DIFFERENT, Stage.ROUTER)
        assert row[11] == "ingest/2/2"
        assert row[9] - row[10] == 1
        assert audit.fatal is None
        pipeline.add_partition("signals")
        wait_until(audit.has_ended, 40)
    finally:
        audit.close()
