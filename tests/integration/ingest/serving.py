"""An ingest as a process of its own, tenants on it, and what it has put into a topic."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from socket import socket

import httpx
from confluent_kafka import Consumer, TopicPartition

from infra.contracts import codec
from infra.contracts.control import ApiKey, Scope, Tenant, hash_secret, new_secret
from infra.contracts.events import Event
from infra.contracts.topics import Topic
from infra.runtime.control import publish
from infra.runtime.kafka import consumer_config
from infra.runtime.settings import Kafka

START_SECONDS = 40.0
_COMMAND = "import sys; from ingest.role import run; sys.exit(run())"


@dataclass(kw_only=True)
class IngestProcess:
    """One ingest. `kill` is SIGKILL; `start` comes back on the same port."""

    kafka: Kafka
    log: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _COMMAND],
                env={
                    **os.environ,
                    "HUBBUB_KAFKA_TOPIC_PREFIX": self.kafka.topic_prefix,
                    "HUBBUB_INGEST_PORT": str(self.port),
                },
                stdout=log,
                stderr=log,
            )
        wait_until(self.is_ready, START_SECONDS)

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(30)
            self.process = None


@dataclass(kw_only=True)
class Guest:
    """A tenant of its own on a running ingest: its keys, and what it has stored."""

    ingest: IngestProcess
    tenant: str = field(default_factory=lambda: f"t-{secrets.token_hex(4)}")
    keys: dict[Scope, str] = field(default_factory=lambda: {scope: new_secret(scope) for scope in Scope})

    @property
    def url(self) -> str:
        return self.ingest.url

    def move_in(self) -> None:
        """Publish the tenant and its keys and wait until ingest knows them."""
        now = datetime.now(UTC)
        keys = [
            ApiKey(hash=hash_secret(secret), tenant=self.tenant, scopes=(scope,), name=scope, created_at=now)
            for scope, secret in self.keys.items()
        ]
        publish(self.ingest.kafka, [Tenant(id=self.tenant), *keys])
        wait_until(lambda: all(map(self._is_known, self.keys.values())), START_SECONDS)

    def _is_known(self, key: str) -> bool:
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.post(f"{self.url}/v1/events", content=b"{", headers=headers).status_code != 401

    def stored(self, topic: Topic) -> list[Event]:
        """This tenant's events in a topic, each partition's in the order they stand there, copies included."""
        consumer = Consumer(consumer_config(self.ingest.kafka, "test", f"test-{secrets.token_hex(4)}"))
        name = self.ingest.kafka.topic(topic.name)
        ends: dict[int, int] = {}
        starts: list[TopicPartition] = []
        for partition in consumer.list_topics(name, timeout=10).topics[name].partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(name, partition), timeout=10)
            if low < high:
                ends[partition] = high
                starts.append(TopicPartition(name, partition, low))
        consumer.assign(starts)
        found: list[Event] = []
        while ends:
            message = consumer.poll(10)
            assert message is not None, "the topic ended early"
            assert message.error() is None
            events = map(codec.decode, codec.split(message.value() or b""))
            found.extend(event for event in events if event.tenant == self.tenant)
            partition = message.partition() or 0
            if (message.offset() or 0) + 1 >= ends.get(partition, 1 << 62):
                del ends[partition]
        consumer.close()
        return found


@contextmanager
def serving(kafka: Kafka, log: Path) -> Iterator[IngestProcess]:
    """An ingest that is ready, stopped at the end."""
    ingest = IngestProcess(kafka=kafka, log=log, port=free_port())
    ingest.start()
    try:
        yield ingest
    finally:
        ingest.stop()


def free_port() -> int:
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(holds: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not so within {seconds} s"
        time.sleep(0.05)
