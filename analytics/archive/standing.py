"""How the archive stands: what each table holds, how far it has come, and what is gone before it was archived."""

from collections.abc import Sequence
from datetime import date
from typing import Final

import msgspec
import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from analytics.archive.table import Move, Table
from infra.contracts.archive import TABLES, ArchiveTable
from infra.runtime.archive import ArchiveReader, Partition, archived, files, inputs
from infra.runtime.errors import PreconditionError, Unreachable
from infra.runtime.kafka import observer
from infra.runtime.settings import Kafka

log = structlog.get_logger("hubbub.archive")

_TIMEOUT: Final = 10.0


class Offsets(msgspec.Struct, frozen=True, kw_only=True):
    """One partition: the next offset to archive, and what the log holds.

    `gone` is set where the log holds no such offset any more, `gap` is how many records are missing for that reason.
    `archived` is None where nothing was archived yet; `first`, `end` and `lag` are None where Kafka does not answer.
    """

    partition: str
    archived: int | None
    first: int | None
    end: int | None
    lag: int | None
    gone: bool
    gap: int


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """One table. `lag` is in records, over all partitions; None where Kafka does not answer."""

    table: str
    version: int
    rows: int
    files: int
    bytes: int
    days: int
    first_day: date | None
    last_day: date | None
    lag: int | None
    gap: int
    offsets: list[Offsets]


class Skipped(msgspec.Struct, frozen=True, kw_only=True):
    """What was given up: so many records, from one offset up to before another."""

    partition: str
    records: int
    archived: int
    resumed: int


def standings(reader: ArchiveReader, kafka: Kafka) -> list[Standing]:
    """Every table as it stands. Raises `PreconditionError` when there is no archive, `Unreachable`."""
    consumer = observer(kafka, "hubbub-archive-status", kafka.group("archive"))
    try:
        return [_standing(reader, table, consumer, kafka) for table in TABLES]
    finally:
        consumer.close()


def skip(table: Table, kafka: Kafka, partition: Partition) -> Skipped:
    """Give up what is gone: the table goes on at the partition's first record that is left. A note of it stays there.

    Raises `PreconditionError` when nothing is gone, `Outrun`, `Unwritable`, `Unreachable`.
    """
    consumer = observer(kafka, "hubbub-archive-skip", kafka.group("archive"))
    try:
        low, high = consumer.get_watermark_offsets(TopicPartition(*partition), timeout=_TIMEOUT)
    except KafkaException as error:
        raise Unreachable("Kafka", kafka.bootstrap, "Is it running? See HUBBUB_KAFKA_BOOTSTRAP.") from error
    finally:
        consumer.close()
    table.refresh()
    stands = table.position(partition)
    if stands is None or low <= stands <= high:
        raise PreconditionError(f"nothing of {_name(partition, kafka)} is gone: there is nothing to skip.")
    skipped = Skipped(partition=_name(partition, kafka), records=_gap(stands, low, high), archived=stands, resumed=low)
    table.append([], {partition: Move(stands, low)}, note={"hubbub.skipped": msgspec.to_builtins(skipped)})
    log.warning("archive.skipped", **msgspec.to_builtins(skipped))
    return skipped


def feeding(kafka: Kafka, name: str) -> tuple[ArchiveTable, Partition]:
    """The table and the partition that `topic/number` names. Raises `ValueError`."""
    topic, _, number = name.rpartition("/")
    for table in TABLES:
        if topic in (t.name for t in table.topics) and number.isdecimal():
            return table, (kafka.topic(topic), int(number))
    raise ValueError(f"{name} is no partition that is archived, as events/3 is")


def _standing(reader: ArchiveReader, table: ArchiveTable, consumer: Consumer, kafka: Kafka) -> Standing:
    delta = reader.open(table)
    found = files(delta)
    days = {file.day for file in found}
    partitions = _partitions(consumer, inputs(table, kafka))
    stands = archived(delta, partitions)
    offsets = [_offsets(partition, stands.get(partition), consumer, kafka) for partition in partitions]
    known = [each.lag for each in offsets if each.lag is not None]
    return Standing(
        table=table.name,
        version=delta.version(),
        rows=sum(file.rows for file in found),
        files=len(found),
        bytes=sum(file.bytes for file in found),
        days=len(days),
        first_day=min(days, default=None),
        last_day=max(days, default=None),
        lag=sum(known) if known else None,
        gap=sum(each.gap for each in offsets),
        offsets=offsets,
    )


def _partitions(consumer: Consumer, topics: Sequence[str]) -> list[Partition]:
    try:
        known = consumer.list_topics(timeout=_TIMEOUT).topics
    except KafkaException as error:
        log.warning("kafka.unavailable", error=str(error))
        return []
    return [(topic, number) for topic in topics if topic in known for number in sorted(known[topic].partitions)]


def _offsets(partition: Partition, stands: int | None, consumer: Consumer, kafka: Kafka) -> Offsets:
    name = _name(partition, kafka)
    try:
        low, high = consumer.get_watermark_offsets(TopicPartition(*partition), timeout=_TIMEOUT)
        (group,) = consumer.committed([TopicPartition(*partition)], timeout=_TIMEOUT)
    except KafkaException as error:
        log.warning("kafka.unavailable", error=str(error))
        return Offsets(partition=name, archived=stands, first=None, end=None, lag=None, gone=False, gap=0)
    gone = stands is not None and not low <= stands <= high
    return Offsets(
        partition=name,
        archived=stands,
        first=low,
        end=high,
        # What the writer has read and found to be no row is in no commit of the table, or not at once.
        lag=max(0, high - max(low, group.offset, 0 if stands is None or gone else stands)),
        gone=gone,
        gap=0 if stands is None else _gap(stands, low, high),
    )


def _gap(stands: int, low: int, high: int) -> int:
    """Records gone before they were archived. Of a topic that was made anew nobody knows how many it held: none."""
    return max(0, low - stands) if stands <= high else 0


def _name(partition: Partition, kafka: Kafka) -> str:
    return f"{partition[0].removeprefix(kafka.topic_prefix)}/{partition[1]}"
