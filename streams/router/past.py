"""Reads again, without routing it, the stretch of the log that rules that count must remember.

The reader stands beside Faust's consumer and its group: it looks up where the stretch begins by the broker's times,
and reads from there up to the record that is routed next.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from infra.contracts.events import from_ms
from infra.contracts.topics import Topic
from infra.runtime.kafka import consumer_config, is_fatal
from infra.runtime.settings import Kafka
from streams.router.routing import Record

#: What brokers' clocks may differ by: the stretch begins so much earlier.
_SKEW_MS: Final = 5_000
_TIMEOUT_SECONDS: Final = 30.0
#: Records taken at once; they may be half a megabyte each.
_BATCH: Final = 50


@dataclass(frozen=True, slots=True)
class Stretch:
    """Of one partition: up to this offset, exclusive, from so long before the record that stands there.

    `not_before_ms` is a moment at which that record was not appended yet, if there is none.
    """

    until: int
    horizon_ms: int
    not_before_ms: int


class Past:
    """Opens a reader for each look back: that is rare, and a rebalance must find nothing left open."""

    def __init__(self, kafka: Kafka, source: Topic, client_id: str) -> None:
        self._source = source
        self._name = kafka.topic(source.name)
        self._closed = threading.Event()
        self._config = consumer_config(
            kafka,
            f"{client_id}-past",
            kafka.group("router-past"),  # named for librdkafka's sake; it joins nothing and commits nothing
            **{"enable.partition.eof": True, "fetch.wait.max.ms": 20},
        )

    def close(self) -> None:
        """Wait for nothing any more."""
        self._closed.set()

    def read(self, stretches: Mapping[int, Stretch]) -> Iterator[Record]:
        """The records of these partitions' stretches, each partition's in order. Blocks; `close` ends it.

        Raises `KafkaException` or `TimeoutError` when the broker does not give them.
        """
        consumer = Consumer(self._config)
        try:
            starts = self._starts(consumer, stretches)
            waiting = {partition for partition, start in starts.items() if start < stretches[partition].until}
            if not waiting:
                return
            consumer.assign([TopicPartition(self._name, p, starts[p]) for p in waiting])
            for message in self._messages(consumer):
                partition, offset = message.partition(), message.offset()
                assert partition is not None
                assert offset is not None
                until = stretches[partition].until
                if message.error() is None and offset < until:
                    yield self._record(message, partition, offset)
                if offset >= until - 1:
                    waiting.discard(partition)
                    if not waiting:
                        return
        finally:
            consumer.close()

    def _starts(self, consumer: Consumer, stretches: Mapping[int, Stretch]) -> dict[int, int]:
        """Where each stretch begins."""
        consumer.assign([TopicPartition(self._name, p, stretch.until) for p, stretch in stretches.items()])
        moments: dict[int, int] = {}
        for message in self._messages(consumer):
            partition = message.partition()
            assert partition is not None
            at = message.timestamp()[1] if message.error() is None else stretches[partition].not_before_ms
            moments.setdefault(partition, at)
            if len(moments) == len(stretches):
                break
        asked = [
            TopicPartition(self._name, p, max(0, at - stretches[p].horizon_ms - _SKEW_MS)) for p, at in moments.items()
        ]
        starts: dict[int, int] = {}
        for place in consumer.offsets_for_times(asked, timeout=_TIMEOUT_SECONDS):
            if place.error is not None:
                raise KafkaException(place.error)
            # Nothing is as young as that: there is nothing to read.
            starts[place.partition] = place.offset if place.offset >= 0 else stretches[place.partition].until
        return starts

    def _messages(self, consumer: Consumer) -> Iterator[Message]:
        """Records, and ends of partitions as messages with an error, until whoever asks has enough."""
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while True:
            # `consume` alone would wait for as many as it may return.
            first = consumer.poll(0.5)
            if self._closed.is_set() or (first is None and time.monotonic() > deadline):
                raise TimeoutError(f"{self._name} gave no record for {_TIMEOUT_SECONDS:.0f} s")
            if first is None:
                continue
            deadline = time.monotonic() + _TIMEOUT_SECONDS
            for message in (first, *consumer.consume(_BATCH, timeout=0)):
                error = message.error()
                if error is None or error.code() == KafkaError._PARTITION_EOF:
                    yield message
                elif is_fatal(error):
                    raise KafkaException(error)

    def _record(self, message: Message, partition: int, offset: int) -> Record:
        return Record(
            topic=self._source.name,
            partition=partition,
            offset=offset,
            appended_at=from_ms(message.timestamp()[1]),
            value=message.value(),
            headers=message.headers(),  # type: ignore[arg-type] # typed wider than the list it is
        )
