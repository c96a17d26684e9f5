"""Dead letters for people: list the newest, show one, put the repaired or unchanged bytes back where they came from.

A replay is an ordinary record in the origin topic and partition. The events in it keep their ids, so every sink takes
a second replay for what it is.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from infra.contracts import headers as h
from infra.contracts import placement, topics
from infra.contracts.headers import Src
from infra.contracts.topics import DLQ
from infra.runtime.errors import Unreachable
from infra.runtime.kafka import DeliveringProducer, consumer_config, partitions_of, producer_config
from infra.runtime.settings import Kafka

_ORIGINS = {topic.name for topic in (topics.INGEST, topics.BACKFILL)}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One dead letter. `key` names it and says where it came from; `value` is the original bytes."""

    key: str
    origin: Src
    stage: str
    code: str
    error: str
    attempts: int
    first_seen: datetime
    buried_at_ms: int
    value: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which dead letters: every field given must match. `since` is compared with `first_seen`."""

    code: str | None = None
    stage: str | None = None
    topic: str | None = None
    since: datetime | None = None

    def takes(self, letter: DeadLetter) -> bool:
        return (
            (self.code is None or letter.code == self.code)
            and (self.stage is None or letter.stage == self.stage)
            and (self.topic is None or letter.origin.topic == self.topic)
            and (self.since is None or letter.first_seen >= self.since)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a replay did: the keys put back, and those with nothing to put back (a record without a value)."""

    keys: tuple[str, ...]
    skipped: tuple[str, ...]


def list_letters(kafka: Kafka, limit: int = 20, where: Filter | None = None) -> list[DeadLetter]:
    """The newest dead letters, newest first; one that was buried twice is listed once."""
    letters = _read(kafka, where or Filter())
    return heapq.nlargest(limit, letters.values(), key=lambda letter: (letter.buried_at_ms, letter.origin))


def find_letter(kafka: Kafka, key: str) -> DeadLetter:
    """The dead letter with this key, as buried last. Raises `KeyError`."""
    partition = placement.partition(key.encode(), partitions_of(kafka, DLQ))
    return _read(kafka, Filter(), [partition])[key]


def replay(kafka: Kafka, key: str, repaired: bytes | None = None, timeout: float = 30) -> Replayed:
    """Put one dead letter back, with these bytes instead of its own where given. Raises `KeyError`, `Unreachable`."""
    return _put_back(kafka, [(find_letter(kafka, key), repaired)], timeout)


def replay_all(kafka: Kafka, where: Filter | None = None, timeout: float = 60) -> Replayed:
    """Put back every dead letter that matches, in the order they were in. Raises `Unreachable`."""
    letters = sorted(_read(kafka, where or Filter()).values(), key=lambda letter: letter.origin)
    return _put_back(kafka, [(letter, None) for letter in letters], timeout)


def replay_repaired(kafka: Kafka, repaired: Mapping[str, bytes], timeout: float = 60) -> Replayed:
    """Put back these dead letters with these bytes. Raises `KeyError` for a key that is none, `Unreachable`."""
    letters = _read(kafka, Filter())
    return _put_back(kafka, [(letters[key], value) for key, value in repaired.items()], timeout)


def _put_back(kafka: Kafka, letters: Iterable[tuple[DeadLetter, bytes | None]], timeout: float) -> Replayed:
    keys, skipped = [], []
    producer = DeliveringProducer(producer_config(kafka, "hubbub-dlq", **{"delivery.timeout.ms": int(timeout * 1000)}))
    failures: list[str] = []
    for letter, repaired in letters:
        value = repaired or letter.value
        if not value or letter.origin.topic not in _ORIGINS:
            skipped.append(letter.key)
            continue
        try:
            _produce(producer, kafka, letter, value, failures, timeout)
        except BufferError:
            failures.append(letter.key)
        keys.append(letter.key)
    left = producer.close(timeout)
    if left or failures:
        raise Unreachable("Kafka", kafka.bootstrap, f"{left + len(failures)} were not put back; replay them again.")
    return Replayed(keys=tuple(keys), skipped=tuple(skipped))


def _produce(
    producer: DeliveringProducer, kafka: Kafka, letter: DeadLetter, value: bytes, failures: list[str], wait: float
) -> None:
    def report(error: object, _: Message) -> None:
        if error is not None:
            failures.append(letter.key)

    producer.produce(
        kafka.topic(letter.origin.topic),
        value,
        partition=letter.origin.partition,
        headers=[
            (h.REPLAY_OF, letter.key.encode()),
            (h.ATTEMPTS, b"%d" % letter.attempts),
            (h.FIRST_SEEN, letter.first_seen.isoformat(timespec="milliseconds").encode()),
            *([(h.KIND, h.DECISION)] if letter.stage == h.DECISION.decode() else ()),
        ],
        on_delivery=report,
        wait=wait,
    )


def _read(kafka: Kafka, where: Filter, partitions: Iterable[int] | None = None) -> dict[str, DeadLetter]:
    """Every matching dead letter by key, the last of each key winning."""
    found: dict[str, DeadLetter] = {}
    for message in _messages(kafka, partitions):
        letter = _parse(message)
        if letter is not None and where.takes(letter):
            found[letter.key] = letter
    return found


def _messages(kafka: Kafka, partitions: Iterable[int] | None) -> Iterator[Message]:
    """Every record of the topic as of now."""
    name = kafka.topic(DLQ.name)
    wanted = partitions if partitions is not None else range(partitions_of(kafka, DLQ))
    consumer = Consumer(consumer_config(kafka, "hubbub-dlq", kafka.group("dlq"), **{"enable.partition.eof": True}))
    try:
        open_ends = set(wanted)
        bounds = {p: consumer.get_watermark_offsets(TopicPartition(name, p), timeout=10) for p in open_ends}
        consumer.assign([TopicPartition(name, p, low) for p, (low, _) in bounds.items()])
        for partition, (low, high) in bounds.items():
            if low == high:
                open_ends.discard(partition)
        while open_ends:
            message = consumer.poll(10)
            if message is None:
                raise Unreachable("Kafka", kafka.bootstrap, "It stopped answering; try again.")
            partition, offset = message.partition() or 0, message.offset() or 0
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            if offset >= bounds[partition][1] - 1:
                open_ends.discard(partition)
            if error is None and offset < bounds[partition][1]:
                yield message
    except KafkaException as error:
        raise Unreachable("Kafka", kafka.bootstrap, "Is it running?") from error
    finally:
        consumer.close()


def _parse(message: Message) -> DeadLetter | None:
    """None for a record that is no dead letter of ours."""
    headers = cast(list[tuple[str, bytes | None]], message.headers() or [])
    values = {name: value.decode() for name, value in headers if value is not None}
    key, value = message.key(), message.value()
    try:
        return DeadLetter(
            key=(key or b"").decode(),
            origin=Src.decode(values[h.SRC]),
            stage=values[h.STAGE],
            code=values[h.CODE],
            error=values[h.ERROR],
            attempts=int(values[h.ATTEMPTS]),
            first_seen=datetime.fromisoformat(values[h.FIRST_SEEN]),
            buried_at_ms=message.timestamp()[1],
            value=bytes(value or b""),
        )
    except (KeyError, ValueError):
        return None
