"""Kafka clients with one set of defaults: a producer that reports every delivery, consumers that commit only what
they are told to, and the topics of the contract.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import structlog
from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from infra.contracts import headers as h
from infra.contracts.topics import TOPICS, Topic
from infra.runtime.errors import PreconditionError, Undelivered, Unreachable
from infra.runtime.settings import Kafka

log = structlog.get_logger("hubbub.kafka")

#: How long a full queue is waited for before it is tried again.
_ROOM_SECONDS: Final = 0.1

Headers = h.Headers


def is_fatal(error: KafkaError) -> bool:
    """Whether the client that reported this can only be replaced.

    A consumer that was fenced reports it among its messages under a code that does not call itself fatal.
    """
    return error.fatal() or error.code() == KafkaError._FATAL


def client_config(settings: Kafka, client_id: str) -> dict[str, Any]:
    """What every librdkafka client shares."""
    config: dict[str, Any] = {
        "bootstrap.servers": settings.bootstrap,
        "client.id": client_id,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 1_000,
        **settings.security,
    }
    if secret := settings.password.get_secret_value():
        config["sasl.password"] = secret
    return config


def producer_config(settings: Kafka, client_id: str, **overrides: Any) -> dict[str, Any]:
    """An idempotent acks=all producer whose partitioner agrees with Java's, aiokafka's and `placement.partition`."""
    return {
        **client_config(settings, client_id),
        "acks": "all",
        "enable.idempotence": True,
        "partitioner": "murmur2_random",
        "compression.type": "lz4",
        "linger.ms": 2,
        "batch.num.messages": 10_000,
        "message.max.bytes": 5 * 1024 * 1024,
        "delivery.timeout.ms": 30_000,
        "queue.buffering.max.kbytes": 64 * 1024,
        "queue.buffering.max.messages": 200_000,
        **overrides,
    }


def consumer_config(settings: Kafka, client_id: str, group: str, **overrides: Any) -> dict[str, Any]:
    """A consumer that starts at the earliest record and stores no offset by itself."""
    return {
        **client_config(settings, client_id),
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": False,
        "fetch.message.max.bytes": 5 * 1024 * 1024,
        "session.timeout.ms": 10_000,
        "heartbeat.interval.ms": 3_000,
        **overrides,
    }


class DeliveringProducer:
    """A librdkafka producer with one poll thread. Thread safe.

    With `threaded=False` there is no thread and the owner calls `poll`: where one thread both produces at full speed
    and needs the reports, a second one would fight it for the interpreter over every report.

    `produce` does not block unless told to: `BufferError` says the queue is full, which is the caller's sign to slow
    down. Each delivery callback runs on the poll thread and must only hand over. A fatal error (a fenced or broken
    idempotent producer) sets `fatal` and calls `on_fatal` from that thread; the owner should stop and be restarted,
    since no record can be delivered any more.
    """

    def __init__(
        self, config: dict[str, Any], *, on_fatal: Callable[[str], None] | None = None, threaded: bool = True
    ) -> None:
        self._on_fatal = on_fatal
        self._producer = Producer({**config, "error_cb": self._on_error})
        self._stopping = threading.Event()
        self.fatal: str | None = None
        self._thread = threading.Thread(target=self._poll, name="kafka-deliveries", daemon=True) if threaded else None
        if self._thread is not None:
            self._thread.start()

    def produce(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int = -1,
        headers: Headers | None = None,
        on_delivery: Callable[[KafkaError | None, Message], None] | None = None,
        wait: float = 0.0,
    ) -> None:
        """Queue one record. Raises `BufferError` when the queue is full, `KafkaException` when it can never go.

        With `wait`, a full queue is waited for, at most so many seconds: for tools that have nothing else to do.
        """
        deadline = time.monotonic() + wait
        while True:
            try:
                self._producer.produce(
                    topic, value=value, key=key, partition=partition, headers=headers or [], on_delivery=on_delivery
                )
            except BufferError:
                if time.monotonic() >= deadline:
                    raise
                self._producer.flush(_ROOM_SECONDS)
            else:
                return

    def poll(self) -> int:
        """Run the callbacks of reports that have come; how many there were. Never blocks."""
        return self._producer.poll(0)

    def queued(self) -> int:
        """Records and reports not yet seen to."""
        return len(self._producer)

    def purge(self) -> None:
        """Drop what is still queued or in flight; each is reported as undelivered."""
        self._producer.purge()

    def close(self, timeout: float) -> int:
        """Deliver what is queued, at most `timeout` seconds. Returns how many records were left."""
        left = self._producer.flush(timeout)
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=2)
        return left

    def _poll(self) -> None:
        while not self._stopping.is_set():
            self._producer.poll(0.1)

    def _on_error(self, error: KafkaError) -> None:
        if is_fatal(error):
            self.fatal = error.str()
            log.error("producer.fatal", code=error.name())
            if self._on_fatal is not None:
                self._on_fatal(self.fatal)
        else:
            log.warning("producer.error", code=error.name())


class AsyncDeliveries:
    """Delivery reports as asyncio futures: the loop is woken once for a burst of reports, not once a record."""

    def __init__(self, producer: DeliveringProducer, loop: asyncio.AbstractEventLoop) -> None:
        self._producer = producer
        self._loop = loop
        self._reports: deque[tuple[asyncio.Future[None], KafkaError | None]] = deque()

    def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int = -1,
        headers: Headers | None = None,
    ) -> "asyncio.Future[None]":
        """Queue a record. The future is done once all in-sync replicas have it, or fails with `Undelivered`.

        Raises `BufferError` when the queue is full.
        """
        future: asyncio.Future[None] = self._loop.create_future()

        def report(error: KafkaError | None, _: Message) -> None:
            self._reports.append((future, error))
            if len(self._reports) == 1:
                self._loop.call_soon_threadsafe(self._settle)

        self._producer.produce(topic, value, key=key, partition=partition, headers=headers, on_delivery=report)
        return future

    def _settle(self) -> None:
        while self._reports:
            future, error = self._reports.popleft()
            if future.done():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(Undelivered(error.name()))


def observer(settings: Kafka, client_id: str, group: str) -> Consumer:
    """A consumer that joins nothing and is only asked: for offsets, and for what this group has committed.

    Roles ask so and not by `AdminClient`, whose requests to a broker that is going away end the whole process by a
    failed assertion (github.com/confluentinc/librdkafka issues 3663 and 4605; seen with 2.16).
    """
    return Consumer({**client_config(settings, client_id), "group.id": group, "enable.auto.commit": False})


def end_offsets(consumer: Consumer, partitions: Iterable[TopicPartition], timeout: float) -> dict[tuple[str, int], int]:
    """Where these partitions end now, by topic and partition, with one request a broker. Raises KafkaException."""
    asked = [TopicPartition(p.topic, p.partition, OFFSET_END) for p in partitions]
    found = {}
    # The protocol's request for the offset of a time takes -1 for the end.
    for place in consumer.offsets_for_times(asked, timeout=timeout) if asked else ():
        if place.error is not None:
            raise KafkaException(place.error)
        found[place.topic, place.partition] = place.offset
    return found


def admin(settings: Kafka) -> AdminClient:
    """An admin client."""
    return AdminClient(client_config(settings, "hubbub-admin"))


def apply_topics(settings: Kafka, topics: Iterable[Topic] = TOPICS, timeout: float = 15) -> list[str]:
    """Create the topics that are missing and set the configuration of the others. Returns what was created."""
    client = admin(settings)
    existing = _metadata(client, settings, timeout).topics
    topics = list(topics)
    new = [
        NewTopic(
            settings.topic(topic.name),
            num_partitions=topic.partitions,
            replication_factor=settings.replication,
            config=topic.config(),
        )
        for topic in topics
        if settings.topic(topic.name) not in existing
    ]
    created = []
    for name, done in (client.create_topics(new, operation_timeout=timeout) if new else {}).items():
        try:
            done.result(timeout)
            created.append(name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    for problem in check_topics(settings, topics, timeout):
        if problem.kind == "config":
            resource = ConfigResource(ResourceType.TOPIC, problem.topic)
            resource.add_incremental_config(_set(problem.name, problem.wanted))
            for altered in client.incremental_alter_configs([resource]).values():
                altered.result(timeout)
    return created


class TopicProblem:
    """One way in which the cluster is not as the contract says."""

    def __init__(self, kind: str, topic: str, name: str, wanted: str, found: str) -> None:
        self.kind, self.topic, self.name, self.wanted, self.found = kind, topic, name, wanted, found

    def __str__(self) -> str:
        return f"{self.topic}: {self.name} is {self.found}, should be {self.wanted}"


def check_topics(settings: Kafka, topics: Iterable[Topic] = TOPICS, timeout: float = 10) -> list[TopicProblem]:
    """Where the cluster differs from the contract: missing topics, partition counts, configuration."""
    client = admin(settings)
    found = _metadata(client, settings, timeout).topics
    problems: list[TopicProblem] = []
    present = []
    for topic in topics:
        name = settings.topic(topic.name)
        if name not in found:
            problems.append(TopicProblem("missing", name, "topic", "present", "missing"))
            continue
        present.append(topic)
        partitions = len(found[name].partitions)
        if partitions != topic.partitions:
            problems.append(TopicProblem("partitions", name, "partitions", str(topic.partitions), str(partitions)))
    resources = [ConfigResource(ResourceType.TOPIC, settings.topic(t.name)) for t in present]
    if not resources:
        return problems
    wanted = {settings.topic(t.name): t.config() for t in present}
    for resource, done in client.describe_configs(resources, request_timeout=timeout).items():
        config = done.result(timeout)
        for name, value in wanted[resource.name].items():
            if config[name].value != value:
                problems.append(TopicProblem("config", resource.name, name, value, str(config[name].value)))
    return problems


def partitions_of(settings: Kafka, topic: Topic, timeout: float = 10) -> int:
    """How many partitions the topic has on this cluster. Raises `PreconditionError` when it does not exist."""
    found = _metadata(admin(settings), settings, timeout).topics.get(settings.topic(topic.name))
    if found is None or not found.partitions:
        raise PreconditionError(f"topic {settings.topic(topic.name)} does not exist. Run `hubbub topics apply`.")
    return len(found.partitions)


def committed_lag(consumer: Consumer, partitions: Sequence[Any]) -> int:
    """Records between the committed offsets of these assigned partitions and their ends."""
    lag = 0
    for position in consumer.committed(list(partitions), timeout=5):
        low, high = consumer.get_watermark_offsets(position, timeout=5)
        lag += high - (position.offset if position.offset >= 0 else low)
    return lag


def _metadata(client: AdminClient, settings: Kafka, timeout: float) -> Any:
    try:
        return client.list_topics(timeout=timeout)
    except KafkaException as error:
        raise Unreachable("Kafka", settings.bootstrap, "Is it running? See HUBBUB_KAFKA_BOOTSTRAP.") from error


def _set(name: str, value: str) -> ConfigEntry:
    return ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
