"""A log in memory with the part of confluent_kafka.Consumer that the live stream uses."""

import time
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from confluent_kafka import TopicPartition

from infra.contracts import placement

PARTITIONS = 2


@dataclass
class FakeMessage:
    name: str
    at_partition: int
    at_offset: int
    body: bytes | None
    pairs: list[tuple[str, bytes | None]] | None = None
    record_key: bytes = b""

    def topic(self) -> str:
        return self.name

    def partition(self) -> int:
        return self.at_partition

    def offset(self) -> int:
        return self.at_offset

    def value(self) -> bytes | None:
        return self.body

    def key(self) -> bytes:
        return self.record_key

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        return self.pairs

    def error(self) -> None:
        return None


@dataclass
class FakeLog:
    """Topics as lists of messages by partition. `reads` are the starts of every consumer assigned so far."""

    topics: dict[str, list[list[FakeMessage]]] = field(
        default_factory=lambda: {name: [[] for _ in range(PARTITIONS)] for name in ("events", "metrics")}
    )
    low: int = 0
    reads: list[dict[int, int]] = field(default_factory=list)

    def append(
        self,
        channel_id: str,
        text: str,
        *,
        src: str | None = None,
        tenant: str = "acme",
        kind: str = "message.sent",
        about: str | None = None,
    ) -> FakeMessage:
        partition = placement.partition(f"{tenant}:{channel_id}".encode(), PARTITIONS)
        log = self.topics["events"][partition]
        body = (
            f'{{"id":"{text}","type":"{kind}","time":"2026-01-01T00:00:00Z","tenant":"{tenant}",'
            f'"channel_id":"{channel_id}","user_id":"u","message_id":"{about or text}","text":"{text}"}}'
        ).encode()
        message = FakeMessage("events", partition, len(log), body, [("src", src.encode())] if src else None)
        log.append(message)
        return message

    def heartbeat(self, partition: int) -> None:
        log = self.topics["events"][partition]
        log.append(FakeMessage("events", partition, len(log), b'{"id":"h","type":"hubbub.heartbeat","tenant":"acme"}'))

    def consumer(self, _config: dict[str, Any]) -> Any:
        return FakeConsumer(self)


class FakeConsumer:
    def __init__(self, log: FakeLog) -> None:
        self._log = log
        self._at: dict[tuple[str, int], int] = {}

    def list_topics(self, topic: str, timeout: float) -> Any:
        partitions = dict.fromkeys(range(len(self._log.topics[topic])))
        return SimpleNamespace(topics={topic: SimpleNamespace(error=None, partitions=partitions)})

    def get_watermark_offsets(self, at: TopicPartition, **_: Any) -> tuple[int, int]:
        end = len(self._log.topics[at.topic][at.partition])
        return min(self._log.low, end), end

    def assign(self, partitions: list[TopicPartition]) -> None:
        self._at = {(p.topic, p.partition): p.offset for p in partitions}
        self._log.reads.append({p.partition: p.offset for p in partitions if p.topic == "events"})

    def consume(self, count: int, timeout: float) -> list[FakeMessage]:
        taken: list[FakeMessage] = []
        for (topic, partition), offset in self._at.items():
            found = self._log.topics[topic][partition][offset : offset + count - len(taken)]
            self._at[topic, partition] += len(found)
            taken += found
        if not taken:
            time.sleep(min(timeout, 0.005))  # as the real one waits for a record
        return taken

    def close(self) -> None:
        self._at = {}
