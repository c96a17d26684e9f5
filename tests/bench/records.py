"""What stands in a topic: how many events came to it since a moment, so that a run counts only if none is missing."""

from typing import cast

import msgspec
from confluent_kafka import Consumer, TopicPartition

from infra.contracts import codec
from infra.contracts import headers as h
from infra.contracts.topics import Topic
from infra.runtime.kafka import consumer_config, end_offsets
from infra.runtime.settings import Kafka

_TIMEOUT = 10.0
#: `consume` waits so long for more than there is.
_LOOK = 0.2
#: The end offset of each partition.
Ends = dict[tuple[str, int], int]


class Lost(Exception):
    """A run that lost or doubled something, and so measured nothing."""


def check(sent: int, found: int) -> None:
    """Raise `Lost` unless as many came out as went in."""
    if sent != found:
        raise Lost(f"{sent:,} events went in and {found:,} came out")


def ends(kafka: Kafka, topic: Topic) -> Ends:
    """Where the topic ends now."""
    consumer = _consumer(kafka)
    try:
        return _ends(consumer, kafka, topic)
    finally:
        consumer.close()


def counted(kafka: Kafka, topic: Topic, since: Ends, tenant: str | None = None) -> int:
    """The events that were appended since, of frames each one in them; of one tenant, or all."""
    return appended(kafka, topic, since, tenant)[0]


def appended(kafka: Kafka, topic: Topic, since: Ends, tenant: str | None = None) -> tuple[int, float]:
    """How many events were appended since, heartbeats left out, and when the last was, in Unix seconds."""
    consumer = _consumer(kafka)
    try:
        now = _ends(consumer, kafka, topic)
        left = {place: end for place, end in now.items() if end > since[place]}
        consumer.assign([TopicPartition(*place, since[place]) for place in left])
        found, last = 0, 0
        while left:
            for message in consumer.consume(10_000, _LOOK):
                assert message.error() is None, message.error()
                if h.KIND not in dict(cast(list[tuple[str, bytes | None]], message.headers() or [])):
                    found += sum(tenant in (None, _of(event)) for event in codec.split(message.value() or b""))
                    last = max(last, message.timestamp()[1])
                place = (message.topic() or "", message.partition() or 0)
                if (message.offset() or 0) + 1 >= left.get(place, 1 << 62):
                    del left[place]
        return found, last / 1_000
    finally:
        consumer.close()


class _Tenant(msgspec.Struct):
    tenant: str | None = None


def _of(event: msgspec.Raw) -> str | None:
    return msgspec.json.decode(event, type=_Tenant).tenant


def _consumer(kafka: Kafka) -> Consumer:
    return Consumer(consumer_config(kafka, "bench", kafka.group("bench")))


def _ends(consumer: Consumer, kafka: Kafka, topic: Topic) -> Ends:
    name = kafka.topic(topic.name)
    return end_offsets(consumer, [TopicPartition(name, n) for n in range(topic.partitions)], _TIMEOUT)
