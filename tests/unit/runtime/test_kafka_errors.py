"""Which of the Kafka client's errors mean that the client can only be replaced."""

import pytest
from confluent_kafka import KafkaError

from infra.runtime.kafka import is_fatal


@pytest.mark.parametrize(
    ("error", "fatal"),
    [
        (KafkaError(KafkaError._FATAL), True),
        (KafkaError(KafkaError.FENCED_INSTANCE_ID, "fenced", True), True),
        (KafkaError(KafkaError._TRANSPORT), False),
        (KafkaError(KafkaError._ALL_BROKERS_DOWN), False),
    ],
)
def test_a_fenced_consumer_says_so_under_a_code_of_its_own(error: KafkaError, fatal: bool) -> None:
    assert is_fatal(error) is fatal
