from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import KafkaError

from infra.runtime.settings import Kafka
from streams.history.confirmed import Entry
from streams.history.dead_letters import DeadLetters

NOW = datetime(2026, 3, 1, tzinfo=UTC)


class FakeProducer:
    """Keeps what is produced until the test reports on it; full while `full` is set."""

    def __init__(self) -> None:
        self.full = False
        self.sent: deque[dict[str, Any]] = deque()

    def produce(self, topic: str, value: bytes | None, **record: Any) -> None:
        if self.full:
            raise BufferError("queue full")
        self.sent.append({"topic": topic, "value": value, **record})

    def report(self, error: KafkaError | None = None) -> dict[str, Any]:
        record = self.sent.popleft()
        callback: Callable[[KafkaError | None, Any], None] = record["on_delivery"]
        callback(error, None)
        return record


class Poison:
    def topic(self) -> str:
        return "t-events"

    def partition(self) -> int:
        return 3

    def offset(self) -> int:
        return 17

    def value(self) -> bytes:
        return b"\xff"

    def headers(self) -> list[tuple[str, bytes]]:
        return [("src", b"ingest/0/1/2"), ("traceparent", b"x")]


def bury() -> tuple[DeadLetters, FakeProducer, Entry]:
    fake: Any = FakeProducer()
    poison: Any = Poison()
    letters, entry = DeadLetters(fake, Kafka(topic_prefix="t-")), Entry(17)
    letters.bury(poison, entry, "invalid_field", "x" * 5000, NOW)
    return letters, fake, entry


def test_a_letter_has_the_original_bytes_and_says_why_and_where() -> None:
    _, fake, _ = bury()
    record = fake.report()
    assert (record["topic"], record["value"], record["key"]) == ("t-dlq", b"\xff", b"events/3/17/-1")
    assert dict(record["headers"]) == {
        "src": b"ingest/0/1/2",
        "stage": "history",
        "code": "invalid_field",
        "error": "x" * 500,
        "attempts": "1",
        "first_seen": "2026-03-01T00:00:00.000+00:00",
    }


def test_the_record_is_done_once_its_letter_is_stored() -> None:
    letters, fake, entry = bury()
    assert list(letters.delivered()) == []
    assert not letters.idle
    fake.report()
    assert list(letters.delivered()) == [entry]
    assert letters.idle


def test_an_undelivered_letter_is_sent_again() -> None:
    letters, fake, entry = bury()
    fake.report(KafkaError(KafkaError._MSG_TIMED_OUT))
    assert list(letters.delivered()) == []
    fake.report()
    assert list(letters.delivered()) == [entry]


def test_a_full_queue_is_waited_out() -> None:
    letters, fake, entry = bury()
    fake.full = True
    poison: Any = Poison()
    letters.bury(poison, second := Entry(18), "invalid_field", "why", NOW)
    fake.report()
    assert list(letters.delivered()) == [entry]
    fake.full = False
    assert list(letters.delivered()) == []
    fake.report()
    assert list(letters.delivered()) == [second]
    assert letters.idle
