"""A history writer as a process of its own, the topics before it and the tables behind it as a test sees them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from infra.contracts import codec, headers, placement, topics
from infra.contracts.events import Event
from infra.runtime.cassandra import Database
from infra.runtime.kafka import DeliveringProducer, Headers, admin, apply_topics, producer_config
from infra.runtime.settings import Cassandra, Kafka
from tests.integration.streams.running import free_port, wait_until

INPUTS = (topics.EVENTS, topics.EVENTS_BACKFILL, topics.HELD)
_COMMAND = "import sys; from streams.history.role import run; sys.exit(run())"
#: Tables whose rows carry a tenant, and those of their columns that have write times.
_TABLES = {
    "messages": ("envelope", "src", "rule", "edit", "deleted_at", "blocked_at"),
    "channel_buckets": (),
    "message_index": ("channel_id", "sent_at"),
    "pending_changes": ("envelope", "src"),
    "reactions": ("active",),
    "read_marks": ("sent_at", "message_id"),
    "channels_by_user": ("joined_at", "member"),
    "channels": ("created_at", "name", "last_activity"),
    "held_messages": ("envelope", "verdict", "src", "position", "released", "rejected"),
    "review_decisions": ("decision",),
    "user_reviews": ("action", "released", "rejected", "blocked"),
    "dirty_days": ("marked_at", "removed_at"),
}


class HistoryProcess:
    """One history writer under its own topic prefix. `kill` is SIGKILL; `start` brings it back under the same name."""

    def __init__(self, kafka: Kafka, cassandra: Cassandra, log: Path) -> None:
        self.kafka = kafka
        self.log = log
        self._port = free_port()
        self._environment = {
            **os.environ,
            "HUBBUB_KAFKA_TOPIC_PREFIX": kafka.topic_prefix,
            "HUBBUB_CASSANDRA_KEYSPACE": cassandra.keyspace,
            "HUBBUB_CASSANDRA_PORT": str(cassandra.port),
            "HUBBUB_CASSANDRA_REQUEST_TIMEOUT": str(cassandra.request_timeout),
            "HUBBUB_HISTORY_PORT": str(self._port),
            "HUBBUB_LOG_FORMAT": "json",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, **settings: str) -> None:
        with self.log.open("ab") as log:
            environment = {**self._environment, **settings}
            self._process = subprocess.Popen([sys.executable, "-c", _COMMAND], env=environment, stdout=log, stderr=log)
        wait_until(lambda: bool(self.report()["ready"]), 60)

    def report(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()[-4000:]
        try:
            return dict(httpx.get(f"http://127.0.0.1:{self._port}/readyz", timeout=2).json())
        except httpx.HTTPError:
            return {"ready": False, "lag": None}

    def metric(self, name: str) -> float:
        """The sum of one metric over its labels."""
        text = httpx.get(f"http://127.0.0.1:{self._port}/metrics", timeout=2).text
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.split("{")[0].split(" ")[0] == name)

    def wait_written(self, seconds: float = 60) -> None:
        """Until everything in its topics is written and committed."""
        wait_until(lambda: uncommitted(self.kafka) == 0, seconds)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(20)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None


@contextmanager
def history(kafka: Kafka, cassandra: Cassandra, log: Path) -> Iterator[HistoryProcess]:
    """A started writer over topics of its own, killed at the end if the test left it running."""
    apply_topics(kafka, [*INPUTS, topics.DLQ])
    process = HistoryProcess(kafka, cassandra, log)
    process.start()
    try:
        yield process
    finally:
        if process.running:
            process.kill()


def publish(
    kafka: Kafka,
    records: Iterable[Event | bytes | None],
    topic: topics.Topic = topics.EVENTS,
    kind: bytes | None = None,
) -> None:
    """Write records as the router does, and wait until they are stored. Bytes go as they are, into partition 0."""
    found: Headers = [] if kind is None else [(headers.KIND, kind)]
    producer = DeliveringProducer(producer_config(kafka, "test"))
    for number, record in enumerate(records):
        if isinstance(record, Event):
            source: list[tuple[str, str | bytes | None]] = [(headers.SRC, b"ingest/0/%d/0" % number)]
            key = placement.key(record.tenant or "", record)
            producer.produce(kafka.topic(topic.name), codec.encode(record), key=key, headers=source)
        else:
            producer.produce(kafka.topic(topic.name), record, partition=0, headers=found)
    assert producer.close(30) == 0


def partitions(kafka: Kafka) -> list[TopicPartition]:
    return [TopicPartition(kafka.topic(t.name), n) for t in INPUTS for n in range(t.partitions)]


def uncommitted(kafka: Kafka) -> int:
    """Records behind the group's committed offsets."""
    client: AdminClient = admin(kafka)
    group = kafka.group("history")
    (asked,) = client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group, partitions(kafka))]).values()
    committed = {(p.topic, p.partition): p.offset for p in asked.result(10).topic_partitions or []}
    ends = client.list_offsets({p: OffsetSpec.latest() for p in partitions(kafka)})
    return sum(end.result(10).offset - max(0, committed.get((p.topic, p.partition), 0)) for p, end in ends.items())


def rewind(kafka: Kafka) -> None:
    """Back to offset 0. A static member keeps the group busy until its session is over."""
    target = [TopicPartition(p.topic, p.partition, 0) for p in partitions(kafka)]
    client = admin(kafka)

    def rewound() -> bool:
        request = [ConsumerGroupTopicPartitions(kafka.group("history"), target)]
        (done,) = client.alter_consumer_group_offsets(request).values()
        try:
            return all(p.error is None for p in done.result(10).topic_partitions or [])
        except KafkaException:
            return False

    wait_until(rewound, 40)


def snapshot(database: Database, tenant: str) -> dict[str, list[str]]:
    """Every row of the tenant in every table of history, with the write time of each cell."""
    found = {}
    schema = database.cluster.metadata.keyspaces[database.session.keyspace].tables
    for table, cells in _TABLES.items():
        columns = ", ".join([*schema[table].columns, *(f"writetime({cell})" for cell in cells)])
        query = f"SELECT {columns} FROM {table} WHERE tenant = %s ALLOW FILTERING"
        found[table] = sorted(repr(row) for row in database.session.execute(query, (tenant,)))
    return found
