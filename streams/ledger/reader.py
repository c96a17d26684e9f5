"""Reads what the ledger compares: every partition of its topics from a moment on, without a group to rebalance."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from infra.contracts.events import to_ms
from infra.runtime.errors import Unreachable
from infra.runtime.kafka import consumer_config, end_offsets, is_fatal, observer
from infra.runtime.settings import Kafka
from streams.ledger.books import TP
from streams.ledger.observations import INPUTS, TOPICS

log = structlog.get_logger("hubbub.ledger")

_BATCH: Final = 2_000
_TIMEOUT: Final = 10.0
#: An output is appended after its input, by another broker's clock maybe.
_SKEW: Final = timedelta(seconds=5)


class Reader:
    """One consumer, assigned by hand. It commits nothing: a restart reads again from the moment it is given."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._prefix = len(kafka.topic_prefix)
        self._groups: dict[str, Consumer] = {}
        self._paused = {"inputs": False, "outputs": False}
        #: The next offset to be read.
        self.positions: dict[TP, int] = {}
        self.fatal: str | None = None
        self._consumer = Consumer(
            consumer_config(
                kafka,
                "hubbub-ledger",
                kafka.group("ledger"),
                **{
                    # An auditor is in no hurry: fewer, fuller fetches cost the broker and this process less.
                    "fetch.min.bytes": 64 * 1024,
                    "fetch.wait.max.ms": 500,
                    "queued.min.messages": 10_000,
                    "queued.max.messages.kbytes": 32 * 1024,
                    "error_cb": self._on_error,
                },
            )
        )

    def start(self, moment: datetime) -> dict[TP, int]:
        """Begin with what was appended from this moment on. Returns the first offset of each input partition.

        Raises `Unreachable`.
        """
        try:
            partitions = self._partitions()
            for names, since in ((INPUTS, moment), (set(TOPICS) - set(INPUTS), moment - _SKEW)):
                self.positions |= self._offsets_at([tp for tp in partitions if tp[0] in names], since)
            self._consumer.assign([self._there(tp, offset) for tp, offset in self.positions.items()])
        except KafkaException as error:
            raise Unreachable("Kafka", self._kafka.bootstrap, "Is it running? See HUBBUB_KAFKA_BOOTSTRAP.") from error
        return {tp: offset for tp, offset in self.positions.items() if tp[0] in INPUTS}

    def read(self, seconds: float) -> Iterable[tuple[TP, Message]]:
        """What has come, waiting at most so long. Each is counted as read when it is asked for."""
        for message in self._consumer.consume(_BATCH, seconds):
            error = message.error()
            if error is not None:
                self._on_error(error)
                continue
            tp = ((message.topic() or "")[self._prefix :], message.partition() or 0)
            yield tp, message
            self.positions[tp] = (message.offset() or 0) + 1

    def pace(self, *, inputs: bool, outputs: bool) -> None:
        """Whether to read on in the inputs, and in what the router writes."""
        for side, reads in (("inputs", inputs), ("outputs", outputs)):
            if reads is not self._paused[side]:
                continue
            partitions = [self._there(tp) for tp in self.positions if (tp[0] in INPUTS) is (side == "inputs")]
            # A pause drops what was fetched ahead; the client goes on behind what it last handed over.
            (self._consumer.resume if reads else self._consumer.pause)(partitions)
            self._paused[side] = not reads
            log.info("ledger.reads" if reads else "ledger.waits", side=side)

    def ends(self) -> dict[TP, int]:
        """Where every partition ends now. Raises KafkaException.

        A partition that was added ends this reader: what stands there would seem lost. The next one begins with it.
        """
        if added := set(self._partitions()) - self.positions.keys():
            log.warning("ledger.partitions_added", partitions=sorted(f"{topic}/{number}" for topic, number in added))
            self.fatal = "partitions were added"
        found = end_offsets(self._consumer, map(self._there, self.positions), _TIMEOUT)
        return {(topic[self._prefix :], partition): offset for (topic, partition), offset in found.items()}

    def committed(self, role: str) -> dict[TP, int]:
        """The offsets that a role has committed. Raises KafkaException."""
        group = self._groups.get(role)
        if group is None:
            group = self._groups[role] = observer(self._kafka, f"hubbub-ledger-{role}", self._kafka.group(role))
        found = group.committed([self._there(tp) for tp in self.positions], timeout=_TIMEOUT)
        if wrong := next((place.error for place in found if place.error is not None), None):
            raise KafkaException(wrong)
        return {self._here(place): place.offset for place in found if place.offset >= 0}

    def here(self, offsets: Mapping[str, Mapping[str, int]]) -> dict[TP, int]:
        """Offsets by topic as named on the cluster and partition, as the metrics query stores them."""
        return {
            (topic[self._prefix :], int(partition)): offset
            for topic, partitions in offsets.items()
            for partition, offset in partitions.items()
        }

    def reached(self, ends: Mapping[TP, int]) -> bool:
        """Whether everything before these offsets has been read."""
        return all(self.positions.get(tp, 0) >= end for tp, end in ends.items())

    def close(self) -> None:
        """Leave Kafka."""
        for consumer in (self._consumer, *self._groups.values()):
            consumer.close()

    def _partitions(self) -> list[TP]:
        found = self._consumer.list_topics(timeout=_TIMEOUT).topics
        return [(name, number) for name in TOPICS for number in found[self._kafka.topic(name)].partitions]

    def _offsets_at(self, partitions: Iterable[TP], since: datetime) -> dict[TP, int]:
        asked = [self._there(tp, to_ms(since)) for tp in partitions]
        found = {}
        for place in self._consumer.offsets_for_times(asked, timeout=_TIMEOUT):
            if place.error is not None:
                raise KafkaException(place.error)
            tp = self._here(place)
            # Without a record that late it is the end of the partition, which moves: it is asked for.
            found[tp] = place.offset if place.offset >= 0 else self._end(place)
        return found

    def _end(self, place: TopicPartition) -> int:
        end: int = self._consumer.get_watermark_offsets(place, timeout=_TIMEOUT)[1]
        return end

    def _there(self, tp: TP, offset: int | None = None) -> TopicPartition:
        name = self._kafka.topic(tp[0])
        return TopicPartition(name, tp[1]) if offset is None else TopicPartition(name, tp[1], offset)

    def _here(self, place: Any) -> TP:
        return place.topic[self._prefix :], place.partition

    def _on_error(self, error: KafkaError) -> None:
        if is_fatal(error):
            self.fatal = error.name()
        log.warning("consumer.error", code=error.name(), fatal=is_fatal(error))
