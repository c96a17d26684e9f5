"""Reads `events`: every partition from a place on, without a group to rebalance, and commits nothing."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from infra.contracts.events import to_ms
from infra.contracts.topics import EVENTS
from infra.runtime.errors import Unreachable
from infra.runtime.kafka import consumer_config, end_offsets, is_fatal
from infra.runtime.settings import Kafka

log = structlog.get_logger("hubbub.interactions")

_BATCH: Final = 2_000
_TIMEOUT: Final = 10.0


class Reader:
    """One consumer, assigned by hand. `fatal` says why only a restart can help, once that is so."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._topic = kafka.topic(EVENTS.name)
        self._partitions: tuple[int, ...] = ()
        self._paused: frozenset[int] = frozenset()
        self.fatal: str | None = None
        self._consumer = Consumer(
            consumer_config(
                kafka,
                "hubbub-interactions",
                kafka.group("interactions"),
                **{
                    # Records that are gone are for a restart to see, not a reason to begin elsewhere.
                    "auto.offset.reset": "error",
                    "fetch.wait.max.ms": 200,
                    "queued.min.messages": 10_000,
                    "queued.max.messages.kbytes": 32 * 1024,
                    "error_cb": self._on_error,
                },
            )
        )

    def bounds(self) -> dict[int, tuple[int, int]]:
        """The first offset of each partition and its end. Raises `Unreachable`."""
        try:
            return {
                partition: self._consumer.get_watermark_offsets(self._there(partition), timeout=_TIMEOUT)
                for partition in self._listed()
            }
        except KafkaException as error:
            raise self._unreachable() from error

    def since(self, moment: datetime) -> dict[int, int]:
        """By partition, the first offset that was appended at this moment or later. Raises `Unreachable`."""
        try:
            asked = [self._there(partition, to_ms(moment)) for partition in self._listed()]
            found = {}
            for place in self._consumer.offsets_for_times(asked, timeout=_TIMEOUT):
                if place.error is not None:
                    raise KafkaException(place.error)
                # Without a record that late it is the end of the partition.
                end = self._consumer.get_watermark_offsets(self._there(place.partition), timeout=_TIMEOUT)[1]
                found[place.partition] = place.offset if place.offset >= 0 else end
            return found
        except KafkaException as error:
            raise self._unreachable() from error

    def assign(self, starts: Mapping[int, int]) -> None:
        """Read from these offsets on."""
        self._partitions = tuple(starts)
        self._consumer.assign([self._there(partition, offset) for partition, offset in starts.items()])

    def read(self, seconds: float) -> Iterator[Message]:
        """What has come, waiting at most so long."""
        for message in self._consumer.consume(_BATCH, seconds):
            error = message.error()
            if error is None:
                yield message
            else:
                self._on_error(error)

    def pause(self, partitions: frozenset[int]) -> None:
        """Read on in all partitions but these."""
        # A pause drops what was fetched ahead; the client goes on behind what it last handed over.
        for change, numbers in (
            (self._consumer.resume, self._paused - partitions),
            (self._consumer.pause, partitions - self._paused),
        ):
            if numbers:
                change([self._there(number) for number in numbers])
        self._paused = partitions

    def ends(self) -> dict[int, int]:
        """Where each partition ends now. Raises KafkaException.

        A partition that was added ends this reader: the next one begins with it.
        """
        if added := set(self._listed()) - set(self._partitions):
            log.warning("interactions.partitions_added", partitions=sorted(added))
            self.fatal = "partitions were added"
        found = end_offsets(self._consumer, map(self._there, self._partitions), _TIMEOUT)
        return {partition: offset for (_, partition), offset in found.items()}

    def close(self) -> None:
        """Leave Kafka."""
        self._consumer.close()

    def _listed(self) -> list[int]:
        return sorted(self._consumer.list_topics(self._topic, timeout=_TIMEOUT).topics[self._topic].partitions)

    def _there(self, partition: int, offset: int | None = None) -> TopicPartition:
        if offset is None:
            return TopicPartition(self._topic, partition)
        return TopicPartition(self._topic, partition, offset)

    def _unreachable(self) -> Unreachable:
        return Unreachable("Kafka", self._kafka.bootstrap, "Is it running? See HUBBUB_KAFKA_BOOTSTRAP.")

    def _on_error(self, error: KafkaError) -> None:
        lost = error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)
        if is_fatal(error) or lost:
            self.fatal = error.name()
        log.warning("consumer.error", code=error.name(), fatal=self.fatal is not None)
