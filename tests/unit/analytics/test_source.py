"""What is read from Kafka: security in Java's words, and the first day that is there whole."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from analytics.source import first_day, java_security, lag, source_options
from infra.runtime.errors import PreconditionError
from infra.runtime.settings import Kafka

MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 1), timezones=st.just(UTC))


def test_both_topics_are_read_from_their_first_record_and_loss_is_an_error() -> None:
    options = source_options(Kafka(bootstrap="kafka:9092", topic_prefix="demo-"), 1000)
    assert {name: value for name, value in options.items() if not name.endswith((".ms", ".records"))} == {
        "kafka.bootstrap.servers": "kafka:9092",
        "subscribe": "demo-events,demo-held",
        "startingOffsets": "earliest",
        "failOnDataLoss": "true",
        "maxOffsetsPerTrigger": "1000",
    }


def test_a_login_is_given_to_java_in_its_own_words() -> None:
    kafka = Kafka(
        security={
            "security.protocol": "SASL_SSL",
            "sasl.mechanisms": "SCRAM-SHA-512",
            "sasl.username": "hubbub",
            "ssl.ca.location": "/etc/ca.pem",
        },
        password=SecretStr('a"b\\c'),
    )
    assert java_security(kafka) == {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required"
        ' username="hubbub" password="a\\"b\\\\c";',
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": "/etc/ca.pem",
    }


@pytest.mark.parametrize("security", [{"sasl.mechanism": "OAUTHBEARER"}, {"enable.ssl.certificate.verification": "x"}])
def test_a_property_java_does_not_know_is_refused_by_name(security: dict[str, str]) -> None:
    with pytest.raises(PreconditionError, match="|".join([*security, *security.values()])):
        java_security(Kafka(security=security))


def test_nothing_gone_means_every_day_may_be_written() -> None:
    assert first_day([]) is None
    assert first_day([None, None]) is None


@given(st.lists(st.none() | MOMENTS, min_size=1))
def test_the_first_day_begins_after_the_last_record_that_is_gone(beginnings: list[datetime | None]) -> None:
    found = first_day(beginnings)
    gone = [moment for moment in beginnings if moment is not None]
    if not gone:
        assert found is None
        return
    assert found is not None
    assert found.timetz().isoformat() == "00:00:00+00:00"
    assert timedelta(0) <= found - max(gone) < timedelta(days=1)


def test_lag_is_what_lies_between() -> None:
    assert lag({"events": {"0": 10, "1": 5}, "held": {"0": 3}}, {"events": {"0": 4, "1": 5}}) == 9
