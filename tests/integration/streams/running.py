"""A router as a process of its own, and the topics around it as a test sees them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from socket import socket
from typing import Any, cast

import httpx
import msgspec
from confluent_kafka import Consumer, Message, TopicPartition

from infra.contracts import codec, placement
from infra.contracts import headers as h
from infra.contracts.events import Event, truncate_ms
from infra.contracts.headers import Src
from infra.contracts.topics import BACKFILL, INGEST, Topic
from infra.runtime.kafka import DeliveringProducer, consumer_config, end_offsets, producer_config
from infra.runtime.settings import Kafka

START_SECONDS = 40.0
_COMMAND = "import sys; from streams.router.role import run; sys.exit(run())"


@dataclass
class RouterProcess:
    """One router. `kill` is SIGKILL; `restart` comes back under the same instance id."""

    kafka: Kafka
    settings: dict[str, str]
    log_file: Any
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _COMMAND],
            env={**os.environ, "HUBBUB_KAFKA_TOPIC_PREFIX": self.kafka.topic_prefix, **self.settings},
            stdout=self.log_file,
            stderr=self.log_file,
        )

    def report(self) -> dict[str, Any]:
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.settings['HUBBUB_ROUTER_PORT']}/readyz", timeout=2)
        except httpx.HTTPError:
            return {"ready": False, "lag": None}
        return dict(answer.json())

    def wait_ready(self) -> None:
        wait_until(lambda: bool(self.report()["ready"]), START_SECONDS)

    def wait_idle(self, seconds: float = START_SECONDS) -> None:
        """Until its group has committed everything there is now; what the router says of itself is a second old."""
        wait_routed(self.kafka, seconds)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def terminate(self, seconds: float = 15) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None


@contextmanager
def router(kafka: Kafka, log_file: Any, **settings: str) -> Iterator[RouterProcess]:
    """A started router that is ready; killed at the end if the test left it running."""
    worker = RouterProcess(kafka, {"HUBBUB_ROUTER_PORT": str(free_port()), **settings}, log_file)
    worker.start()
    try:
        worker.wait_ready()
        yield worker
    finally:
        if worker.running:
            worker.kill()


def wait_routed(kafka: Kafka, seconds: float = 60) -> None:
    """Until the router's group has committed everything its inputs hold now."""
    client = Consumer(consumer_config(kafka, "test", kafka.group("router")))
    places = [TopicPartition(kafka.topic(t.name), p) for t in (BACKFILL, INGEST) for p in range(t.partitions)]
    ends = {place: end for place, end in end_offsets(client, places, 10).items() if end}

    def done() -> bool:
        committed = {(p.topic, p.partition): p.offset for p in client.committed(places, timeout=10)}
        return all(committed[place] >= end for place, end in ends.items())

    wait_until(done, seconds)
    client.close()


def wait_until(holds: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "this did not come true in time"
        time.sleep(0.1)


def free_port() -> int:
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def event(number: int, **fields: Any) -> Event:
    """One event as ingest stamps it."""
    now = truncate_ms(datetime.now(UTC))
    return Event(
        **{
            "id": f"e-{number}",
            "type": "message.sent",
            "time": now,
            "channel_id": f"c-{number % 20}",
            "user_id": f"u-{number % 7}",
            "text": f"message number {number}",
            "tenant": "acme",
            "received_at": now,
            "source": "test",
            "request_id": "r-1",
            **fields,
        }
    )


def send(kafka: Kafka, records: Iterable[tuple[int, bytes | None]], topic: Topic = INGEST) -> int:
    """Write (partition, value) records and wait until they are stored. Returns how many there were."""
    producer = DeliveringProducer(producer_config(kafka, "test"))
    count = 0
    for partition, value in records:
        while True:
            try:
                producer.produce(kafka.topic(topic.name), value, partition=partition)
                break
            except BufferError:
                time.sleep(0.05)
        count += 1
    assert producer.close(30) == 0
    return count


def framed(events: Sequence[Event], size: int, partitions: int = INGEST.partitions) -> Iterator[tuple[int, bytes]]:
    """The events as frames of one partition each, in order."""
    pending: dict[int, list[bytes]] = {}
    for one in events:
        partition = placement.partition(placement.key(one.tenant or "", one), partitions)
        pending.setdefault(partition, []).append(codec.encode(one))
        if len(pending[partition]) == size:
            yield partition, codec.frame(pending.pop(partition))
    for partition, rest in pending.items():
        yield partition, codec.frame(rest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One record as it stands in a topic."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes
    headers: dict[str, bytes | None]

    @property
    def id(self) -> str:
        """The id of the event it holds."""
        return str(msgspec.json.decode(self.value)["id"])

    @property
    def src(self) -> Src:
        return Src.decode(self.headers[h.SRC] or b"")


def read(kafka: Kafka, topic: Topic) -> list[Stored]:
    """Every record of the topic as of now, by partition and offset; heartbeats left out."""
    consumer = Consumer(consumer_config(kafka, "test", f"{kafka.topic_prefix}test"))
    name = kafka.topic(topic.name)
    bounds = {p: consumer.get_watermark_offsets(TopicPartition(name, p), timeout=10) for p in range(topic.partitions)}
    wanted = {p for p, (low, high) in bounds.items() if high > low}
    consumer.assign([TopicPartition(name, p, bounds[p][0]) for p in wanted])
    found: list[Stored] = []
    while wanted:
        for message in consumer.consume(10_000, timeout=0.3):
            assert message.error() is None
            record = _stored(message)
            if record.offset >= bounds[record.partition][1] - 1:
                wanted.discard(record.partition)
            if record.offset < bounds[record.partition][1] and h.KIND not in record.headers:
                found.append(record)
    consumer.close()
    return sorted(found, key=lambda record: (record.partition, record.offset))


def _stored(message: Message) -> Stored:
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    return Stored(
        partition=partition,
        offset=offset,
        key=message.key(),
        value=message.value() or b"",
        headers=dict(cast(list[tuple[str, bytes | None]], message.headers() or [])),
    )
