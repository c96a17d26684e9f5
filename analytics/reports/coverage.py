"""How far the archive is: up to which moment everything that was accepted stands in it.

The router's heartbeats say up to which moment everything accepted has been routed. So a partition of `events` is
covered up to the newest heartbeat that nothing unarchived stands before; a partition without heartbeats, up to when the
first record was accepted that the archive has not got. Where the log no longer has the offset at which the archive
stands, records may be gone unarchived, and nothing is known.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import msgspec
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from infra.contracts import headers
from infra.contracts.events import HEARTBEAT, from_ms
from infra.contracts.topics import EVENTS
from infra.contracts.windows import WATERMARK_DELAY
from infra.runtime.archive import Partition
from infra.runtime.errors import Unreachable
from infra.runtime.kafka import Headers, observer
from infra.runtime.settings import Kafka

_TIMEOUT: Final = 10.0
#: So many records before the archive's place the last heartbeat is looked for: a second's worth of a busy partition.
_BACK: Final = 2_000
#: An archive that keeps up is less behind: it commits once a minute.
_BEHIND: Final = timedelta(minutes=2)


class _Record(msgspec.Struct):
    """What matters here of an envelope, or of a held record around one."""

    type: str = ""
    time: datetime | None = None
    received_at: datetime | None = None
    late: bool | None = None
    event: "_Record | None" = None


_record = msgspec.json.Decoder(_Record)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Measured `at` this moment: everything accepted before `as_of` is archived. None when that is not known."""

    as_of: datetime | None
    at: datetime

    def is_final(self, end: datetime) -> bool:
        """Whether what comes for a period that ends here can only be late, as for a streamed window."""
        return self.as_of is not None and end <= final_until(self.as_of)

    def is_complete(self, end: datetime) -> bool:
        """Whether nothing is missing of such a period but what was accepted in the last two minutes."""
        return self.as_of is not None and (self.as_of >= self.at - _BEHIND or self.is_final(end))


def final_until(as_of: datetime) -> datetime:
    """What ends by this moment is final in an archive as of the other."""
    return as_of - WATERMARK_DELAY


def measure(kafka: Kafka, archived: Mapping[Partition, int | None], now: datetime) -> Coverage:
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
    return Coverage(as_of=as_of(found), at=now)


@dataclass(frozen=True, slots=True)
class Seen:
    """What one partition shows: its newest covered heartbeat, and when its first missing record was accepted.

    `gone`: records may have left the log before they were archived.
    """

    beats: bool
    heartbeat: datetime | None
    missing: datetime | None
    gone: bool = False


def as_of(partitions: Iterable[Seen]) -> datetime | None:
    """The moment up to which all are covered: the earliest of each, None while one is not known."""
    found = list(partitions)
    if any(seen.gone for seen in found):
        return None
    beats = [seen.heartbeat for seen in found if seen.beats]
    missing = [seen.missing for seen in found if seen.missing is not None]
    known = [moment for moment in beats if moment is not None]
    return min([*known, *missing]) if known and len(known) == len(beats) else None


def _look(consumer: Consumer, partition: Partition, archived: int | None, *, beats: bool) -> Seen:
    name, number = partition
    low, high = consumer.get_watermark_offsets(TopicPartition(name, number), timeout=_TIMEOUT)
    place = archived or 0
    if not low <= place <= high:
        return Seen(beats, None, None, gone=True)
    heartbeat = None
    for message in _records(consumer, partition, max(low, place - _BACK) if beats else place, high):
        record = _read(message)
        if record.type == HEARTBEAT:
            heartbeat = record.time
        elif not _is_ours(message) and (message.offset() or 0) >= place:
            appended = from_ms(message.timestamp()[1])
            event = record.event or record
            # A released event keeps the moment it was first received, and was not missing since then.
            accepted = None if event.late else event.received_at
            return Seen(beats, heartbeat, min(accepted or appended, appended))
    return Seen(beats, heartbeat, None)


def _records(consumer: Consumer, partition: Partition, start: int, end: int) -> Iterable[Message]:
    if start >= end:
        return
    consumer.assign([TopicPartition(*partition, start)])
    try:
        while consumer.position([TopicPartition(*partition)])[0].offset < end:
            # `consume` alone would wait for as many as it may return.
            first = consumer.poll(_TIMEOUT)
            if first is None:
                raise Unreachable("Kafka", "/".join(map(str, partition)), "Its records do not come; try again.")
            for message in (first, *consumer.consume(1_000, 0)):
                if (error := message.error()) is not None:
                    raise KafkaException(error)
                yield message
    finally:
        consumer.unassign()


def _is_ours(message: Message) -> bool:
    """Whether it carries no event, as the archive tells: it leaves such a record out."""
    found: Headers = message.headers() or []  # type: ignore[assignment] # typed wider than the list it is
    return any(name == headers.KIND for name, _ in found)


def _read(message: Message) -> _Record:
    """The record; an empty one where it says nothing that can be read."""
    try:
        return _record.decode(message.value() or b"")
    except msgspec.MsgspecError:
        return _Record()
