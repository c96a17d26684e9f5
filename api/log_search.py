"""Finds one event in the topics it may stand in, reading from a moment on, within bounds of records and seconds."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import structlog
from confluent_kafka import Consumer, Message, TopicPartition

from api.watch import read_ends
from infra.contracts import headers, topics
from infra.contracts.events import Event, from_ms, to_ms
from infra.contracts.records import Action, Held, Verdict
from infra.contracts.topics import Topic
from infra.runtime.kafka import client_config
from infra.runtime.settings import Kafka

log = structlog.get_logger("hubbub.api")

#: Where an event can end.
SEARCHED = (topics.EVENTS, topics.EVENTS_BACKFILL, topics.HELD, topics.SIGNALS, topics.DLQ)
_BATCH = 2_000

_lenient = msgspec.json.Decoder()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One record that holds the event, or is its dead letter. `event` is None when it cannot be read as one."""

    topic: Topic
    partition: int
    offset: int
    appended_at: datetime
    outcome: str
    event: Event | None
    verdict: Verdict | None
    src: str | None
    rule: str | None
    code: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """What a search saw. `whole`: everything from its moment to the end of the log was read, or the event found."""

    found: list[Found]
    records: int
    whole: bool


def search(
    kafka: Kafka,
    tenant: str,
    event_id: str,
    since: datetime,
    *,
    seconds: float,
    records: int,
    monotonic: Callable[[], float],
) -> Searched:
    """The records of this tenant's event that were appended at or after `since`. Blocks up to about `seconds`."""
    deadline = monotonic() + seconds
    names = {kafka.topic(topic.name): topic for topic in SEARCHED}
    consumer = Consumer(
        {
            **client_config(kafka, "hubbub-api-trace"),
            "group.id": kafka.group("api-trace"),  # required by librdkafka; nothing is committed
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    try:
        ends = read_ends(consumer, names, timeout=seconds)
        asked = [TopicPartition(name, int(p), to_ms(since)) for name in ends for p in ends[name]]
        starts = consumer.offsets_for_times(asked, timeout=seconds) if asked else []
        # A partition with nothing that new answers with its end.
        starts = [p for p in starts if 0 <= p.offset < ends[p.topic][str(p.partition)]]
        waiting = {(p.topic, p.partition) for p in starts}
        consumer.assign(starts)
        needle = msgspec.json.encode(event_id)[1:-1]
        found: list[Found] = []
        read = 0
        while waiting and not found and read < records and monotonic() < deadline:
            for message in consumer.consume(_BATCH, timeout=0.2):
                if message.error() is not None:
                    log.warning("trace.kafka", code=str(message.error()))
                    continue
                read += 1
                name, partition, offset = message.topic() or "", message.partition() or 0, message.offset() or 0
                if offset + 1 >= ends[name][str(partition)]:
                    waiting.discard((name, partition))
                value = message.value()
                if value is not None and needle in value:
                    found.extend(_match(names[name], message, value, tenant, event_id))
        return Searched(found=found, records=read, whole=bool(found) or not waiting)
    finally:
        consumer.close()


def _match(topic: Topic, message: Message, value: bytes, tenant: str, event_id: str) -> Iterator[Found]:
    carried: dict[str, Any] = dict(message.headers() or [])
    for element, verdict in _elements(topic, value):
        # The tenant is ours to check: in a dead letter another's event may stand in the same frame.
        if element.get("id") != event_id or element.get("tenant") != tenant:
            continue
        _, appended_ms = message.timestamp()
        yield Found(
            topic=topic,
            partition=message.partition() or 0,
            offset=message.offset() or 0,
            appended_at=from_ms(appended_ms),
            outcome=_outcome(topic, verdict),
            event=_event(element),
            verdict=verdict,
            src=_text(carried.get(headers.SRC)) or (_text(message.key()) if topic is topics.DLQ else None),
            rule=_text(carried.get(headers.RULE)),
            code=_text(carried.get(headers.CODE)),
        )


def _elements(topic: Topic, value: bytes) -> Iterator[tuple[Mapping[str, Any], Verdict | None]]:
    try:
        body = _lenient.decode(value)
        verdict = msgspec.json.decode(value, type=Held).verdict if topic is topics.HELD else None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return  # not JSON: it may hold the id, but nothing says whose it is
    if topic is topics.HELD:
        body = body["event"]
    for element in body if isinstance(body, list) else [body]:
        if isinstance(element, dict):
            yield element, verdict


def _outcome(topic: Topic, verdict: Verdict | None) -> str:
    if verdict is not None:
        return "held" if verdict.action is Action.HOLD else "blocked"
    return {topics.SIGNALS.name: "signals", topics.DLQ.name: "dlq"}.get(topic.name, "events")


def _event(element: Mapping[str, Any]) -> Event | None:
    try:
        return msgspec.convert(element, Event)
    except msgspec.ValidationError:
        return None


def _text(raw: bytes | str | None) -> str | None:
    return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
