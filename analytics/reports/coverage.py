"""How far the archive is: up to which moment everything that was accepted stands in it.

The router's heartbeats say up to which moment everything accepted has been routed. So a partition of `events` is
covered up to the newest heartbeat that nothing unarchived stands before; a partition without heartbeats, up to when the
first record was accepted that the archive has not got.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from infra.contracts import codec, headers
from infra.contracts.events import from_ms
from infra.contracts.topics import EVENTS
from infra.contracts.windows import WATERMARK_DELAY
from infra.runtime.archive import Partition
from infra.runtime.errors import Unreachable
from infra.runtime.kafka import observer
from infra.runtime.settings import Kafka

_TIMEOUT: Final = 10.0
#: So many records before the archive's place the last heartbeat is looked for: a second's worth of a busy partition.
_BACK: Final = 2_000


class _Record(msgspec.Struct):
    """What matters here of an envelope, or of a held record around one."""

    received_at: datetime | None = None
    event: "_Record | None" = None


_record = msgspec.json.Decoder(_Record)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Everything accepted before `as_of` is archived; None when that is not known. `caught_up`: all there was, is."""

    as_of: datetime | None
    caught_up: bool

    def is_final(self, end: datetime) -> bool:
        """Whether what comes for a period that ends here can only be late, as for a streamed window."""
        return self.as_of is not None and self.as_of >= end + WATERMARK_DELAY

    def is_complete(self, end: datetime) -> bool:
        """Whether nothing that had been accepted for such a period is missing."""
        return self.caught_up or self.is_final(end)


def measure(kafka: Kafka, archived: Mapping[Partition, int | None]) -> Coverage:
    """How far partitions are that the archive holds up to these offsets, exclusive. Raises `Unreachable`."""
    consumer = observer(kafka, "hubbub-reports", kafka.group("reports"))
    try:
        found = [
            _look(consumer, partition, offset, beats=partition[0] == kafka.topic(EVENTS.name))
            for partition, offset in archived.items()
        ]
    except KafkaException as error:
        raise Unreachable("Kafka", kafka.bootstrap, "Is it running? See HUBBUB_KAFKA_BOOTSTRAP.") from error
    finally:
        consumer.close()
    return combine(found)


@dataclass(frozen=True, slots=True)
class Seen:
    """What one partition shows: its newest covered heartbeat, and when its first missing record was accepted."""

    beats: bool
    heartbeat: datetime | None
    missing: datetime | None


def combine(partitions: Iterable[Seen]) -> Coverage:
    """The coverage of all: the earliest of each."""
    found = list(partitions)
    beats = [seen.heartbeat for seen in found if seen.beats]
    missing = [seen.missing for seen in found if seen.missing is not None]
    known = [moment for moment in beats if moment is not None]
    return Coverage(
        as_of=min([*known, *missing]) if known and len(known) == len(beats) else None, caught_up=not missing
    )


def _look(consumer: Consumer, partition: Partition, archived: int | None, *, beats: bool) -> Seen:
    name, number = partition
    low, high = consumer.get_watermark_offsets(TopicPartition(name, number), timeout=_TIMEOUT)
    place = max(low, archived or 0)
    heartbeat = None
    for message in _records(consumer, partition, max(low, place - _BACK) if beats else place, high):
        if _is_heartbeat(message):
            heartbeat = codec.decode(message.value() or b"").time
        elif (message.offset() or 0) >= place:
            return Seen(beats, heartbeat, _accepted_at(message))
    return Seen(beats, heartbeat, None)


def _records(consumer: Consumer, partition: Partition, start: int, end: int) -> Iterable[Message]:
    if start >= end:
        return
    consumer.assign([TopicPartition(*partition, start)])
    try:
        while consumer.position([TopicPartition(*partition)])[0].offset < end:
            messages = consumer.consume(1_000, _TIMEOUT)
            if not messages:
                raise Unreachable("Kafka", "/".join(map(str, partition)), "Its records do not come; try again.")
            for message in messages:
                if (error := message.error()) is not None:
                    raise KafkaException(error)
                yield message
    finally:
        consumer.unassign()


def _is_heartbeat(message: Message) -> bool:
    return (headers.KIND, headers.HEARTBEAT) in (message.headers() or [])


def _accepted_at(message: Message) -> datetime:
    """When ingest took the event; when it was appended if the record does not say."""
    appended = from_ms(message.timestamp()[1])
    try:
        record = _record.decode(message.value() or b"")
    except msgspec.MsgspecError:
        return appended
    return min((record.event or record).received_at or appended, appended)
