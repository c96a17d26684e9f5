"""Up to when everything is archived, by what stands in the log behind the archive's place."""

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from confluent_kafka import TopicPartition

from analytics.reports import coverage
from infra.contracts import codec, headers
from infra.contracts.events import HEARTBEAT, to_ms
from infra.contracts.records import Action, Held, Verdict
from infra.runtime.archive import Partition
from infra.runtime.settings import Kafka
from tests.unit.analytics.archive.records import NOW, event

SECOND = timedelta(seconds=1)
VERDICT = Verdict(action=Action.HOLD, rule="pii", version=3, reason="an address")


class Record:
    def __init__(self, value: bytes, appended: datetime, kind: bytes | None = None) -> None:
        self._value, self._appended, self._kind, self.at = value, appended, kind, 0

    def value(self) -> bytes:
        return self._value

    def offset(self) -> int:
        return self.at

    def timestamp(self) -> tuple[int, int]:
        return 1, to_ms(self._appended)

    def headers(self) -> Any:
        return None if self._kind is None else [(headers.KIND, self._kind)]

    def error(self) -> None:
        return None


class Log:
    """A log in place of a consumer's: from `low` on, these records."""

    def __init__(self, low: int = 0, **topics: list[Record]) -> None:
        self._low, self._topics = low, topics
        self._next: dict[str, int] = {}
        for records in topics.values():
            for at, record in enumerate(records, start=low):
                record.at = at

    def get_watermark_offsets(self, place: TopicPartition, timeout: float) -> tuple[int, int]:
        return self._low, self._low + len(self._topics[place.topic])

    def assign(self, places: list[TopicPartition]) -> None:
        self._next = {place.topic: place.offset for place in places}

    def unassign(self) -> None:
        self._next = {}

    def position(self, places: list[TopicPartition]) -> list[TopicPartition]:
        return [TopicPartition(p.topic, p.partition, self._next[p.topic]) for p in places]

    def poll(self, timeout: float) -> Record:
        ((topic, offset),) = self._next.items()
        self._next[topic] += 1
        return self._topics[topic][offset - self._low]

    def consume(self, count: int, timeout: float) -> list[Record]:
        return []

    def close(self) -> None:
        self._topics = {}


def beat(moment: datetime) -> Record:
    body = codec.encode(event(0, type=HEARTBEAT, tenant="", time=moment, received_at=None))
    return Record(body, moment, headers.HEARTBEAT)


def said(received: datetime, appended: datetime, **fields: Any) -> Record:
    return Record(codec.encode(event(1, received_at=received, **fields)), appended)


@pytest.fixture
def as_of(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What `measure` says of a log that is archived so far."""

    def measure(log: Log, **archived: int | None) -> datetime | None:
        monkeypatch.setattr(coverage, "observer", lambda *_: log)
        places: dict[Partition, int | None] = {(name, 0): offset for name, offset in archived.items()}
        return coverage.measure(Kafka(), places, NOW).as_of

    return measure


def test_the_newest_heartbeat_before_a_missing_record_counts(as_of: Any) -> None:
    log = [
        beat(NOW),
        said(NOW + SECOND, NOW + SECOND),
        beat(NOW + 2 * SECOND),
        said(NOW + 3 * SECOND, NOW + 3 * SECOND),
    ]
    assert as_of(Log(events=log), events=1) == NOW
    assert as_of(Log(events=log), events=2) == NOW + 2 * SECOND
    assert as_of(Log(events=log), events=4) == NOW + 2 * SECOND


def test_a_record_that_carries_no_event_is_not_missing(as_of: Any) -> None:
    decision = Record(b'{"kind":"release","received_at":"2026-02-01T00:00:00Z"}', NOW - SECOND, headers.DECISION)
    assert as_of(Log(events=[beat(NOW)], held=[decision]), events=1, held=0) == NOW
    held = Record(msgspec.json.encode(Held(event=event(2, received_at=NOW - SECOND), verdict=VERDICT)), NOW)
    assert as_of(Log(events=[beat(NOW)], held=[decision, held]), events=1, held=0) == NOW - SECOND


def test_a_released_event_is_missing_since_it_was_released(as_of: Any) -> None:
    released = said(NOW - timedelta(days=2), NOW + SECOND, late=True)
    assert as_of(Log(events=[beat(NOW), released]), events=1) == NOW
    assert as_of(Log(events=[beat(NOW + 2 * SECOND), released]), events=1) == NOW + SECOND


@pytest.mark.parametrize(("low", "archived"), [(5, 4), (5, None), (0, 9)])
def test_where_records_may_be_gone_nothing_is_known(as_of: Any, low: int, archived: int | None) -> None:
    assert as_of(Log(low, events=[beat(NOW)]), events=archived) is None
    assert as_of(Log(low, events=[beat(NOW)], held=[beat(NOW)]), events=low, held=archived) is None
    assert as_of(Log(low, events=[beat(NOW)]), events=low) == NOW
