"""What the metrics query reads: the options of Spark's Kafka source, and how far back the topics still reach."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from infra.contracts.events import from_ms
from infra.contracts.topics import EVENTS, HELD
from infra.contracts.windows import DAY
from infra.runtime.errors import PreconditionError, Unreachable
from infra.runtime.kafka import consumer_config
from infra.runtime.settings import Kafka

_TIMEOUT: Final = 10.0
#: librdkafka's properties that Java's client has under the same name.
_SAME: Final = frozenset({"security.protocol", "ssl.endpoint.identification.algorithm"})
_MECHANISMS: Final = ("sasl.mechanism", "sasl.mechanisms")
_LOGIN_MODULES: Final = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
}


def source_options(kafka: Kafka, max_offsets_per_trigger: int) -> dict[str, str]:
    """Options of `readStream.format("kafka")`. Records lost behind our back fail the query: see failOnDataLoss."""
    return {
        "kafka.bootstrap.servers": kafka.bootstrap,
        "subscribe": ",".join(kafka.topic(topic.name) for topic in (EVENTS, HELD)),
        "startingOffsets": "earliest",
        "failOnDataLoss": "true",
        "maxOffsetsPerTrigger": str(max_offsets_per_trigger),
        # Spark reads what it knows to be there. A reader that begins while the fetch it left behind still waits for
        # more has to wait as well: half a second a partition and batch at the client's default.
        "kafka.fetch.max.wait.ms": "10",
        "kafka.max.poll.records": "10000",
        **{f"kafka.{name}": value for name, value in java_security(kafka).items()},
    }


def java_security(kafka: Kafka) -> dict[str, str]:
    """The security settings, which are librdkafka's, in the words of Java's client.

    Raises `PreconditionError` for one that has none.
    """
    found: dict[str, str] = {}
    given = dict(kafka.security)
    mechanism = next((given.pop(name) for name in _MECHANISMS if name in given), None)
    user = given.pop("sasl.username", "")
    if mechanism is not None:
        module = _LOGIN_MODULES.get(mechanism.upper())
        if module is None:
            raise PreconditionError(f"HUBBUB_KAFKA_SECURITY: Spark cannot be given SASL mechanism {mechanism}.")
        secret = kafka.password.get_secret_value() or given.pop("sasl.password", "")
        found["sasl.mechanism"] = mechanism
        found["sasl.jaas.config"] = f"{module} required username={_quoted(user)} password={_quoted(secret)};"
    for name, value in given.items():
        if name == "ssl.ca.location":
            found |= {"ssl.truststore.type": "PEM", "ssl.truststore.location": value}
        elif name in _SAME:
            found[name] = value
        else:
            raise PreconditionError(f"HUBBUB_KAFKA_SECURITY: Spark's Kafka client has no equal of {name}.")
    return found


def find_first_day(kafka: Kafka, now: datetime) -> datetime | None:
    """The first day of which every record is still in the topics; None when they are there from their first record.

    Raises `Unreachable`, or `PreconditionError` when a topic does not exist.
    """
    consumer = Consumer(consumer_config(kafka, "hubbub-analytics-start", kafka.group("analytics")))
    try:
        return first_day(_beginnings(consumer, kafka, now))
    except KafkaException as error:
        raise Unreachable("Kafka", kafka.bootstrap, "Is it running? See HUBBUB_KAFKA_BOOTSTRAP.") from error
    finally:
        consumer.close()


def first_day(beginnings: Iterable[datetime | None]) -> datetime | None:
    """The day after the latest of the moments before which records are gone. None stands for: nothing is gone.

    An event happens before it is appended, so what was appended before a day began cannot belong to that day.
    """
    latest = max((moment for moment in beginnings if moment is not None), default=None)
    if latest is None:
        return None
    start = DAY.start(latest)
    return start if start == latest else DAY.end(start)


def _beginnings(consumer: Consumer, kafka: Kafka, now: datetime) -> Iterable[datetime | None]:
    """Per partition, the moment before which records are gone; None where its very first is still there."""
    for topic in (EVENTS, HELD):
        name = kafka.topic(topic.name)
        found = consumer.list_topics(name, timeout=_TIMEOUT).topics[name]
        if found.error is not None or not found.partitions:
            raise PreconditionError(f"topic {name} does not exist. Run `hubbub topics apply`.")
        for partition in found.partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(name, partition), timeout=_TIMEOUT)
            if low == 0:
                yield None
            elif low == high:
                yield now - timedelta(milliseconds=topic.retention_ms)  # younger ones would still be there
            else:
                yield _appended_at(consumer, TopicPartition(name, partition, low))


def _appended_at(consumer: Consumer, place: TopicPartition) -> datetime:
    consumer.assign([place])
    message = consumer.poll(_TIMEOUT)
    consumer.unassign()
    if message is None or message.error() is not None:
        raise PreconditionError(f"the first record of {place.topic}/{place.partition} could not be read.")
    return from_ms(message.timestamp()[1])


def lag(latest: Mapping[str, Mapping[str, int]], done: Mapping[str, Mapping[str, int]]) -> int:
    """Records between what was read and the ends of the partitions."""
    return sum(
        max(0, end - done.get(topic, {}).get(partition, 0))
        for topic, partitions in latest.items()
        for partition, end in partitions.items()
    )


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
