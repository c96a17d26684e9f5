"""Publishes metric points to the `metrics` topic, for whoever shows numbers as they change."""

import msgspec
import structlog
from confluent_kafka import KafkaException

from infra.contracts.records import Point
from infra.contracts.topics import METRICS
from infra.runtime.kafka import DeliveringProducer
from infra.runtime.settings import Kafka

log = structlog.get_logger("hubbub.analytics")


class Publisher:
    """Sends and does not wait: a point that is lost is followed by the next, and the table has them all."""

    def __init__(self, producer: DeliveringProducer, kafka: Kafka) -> None:
        self._producer = producer
        self._topic = kafka.topic(METRICS.name)

    def __call__(self, point: Point) -> None:
        """Queue one point."""
        key = f"{point.tenant}:{point.scope}".encode()
        try:
            self._producer.produce(self._topic, msgspec.json.encode(point), key=key)
        except (BufferError, KafkaException) as error:
            log.warning("point.not_published", tenant=point.tenant, error=str(error))
