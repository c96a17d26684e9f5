"""Reads what a rule stopped out of the topic `held`, one record at a time, by the position its id names.

Ingest needs Kafka alone, so what a moderator decides about is taken from the log and not from the list they saw.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec
import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from infra.contracts import headers, topics
from infra.contracts.records import Held
from infra.contracts.review import HeldId
from infra.runtime.kafka import client_config, is_fatal
from infra.runtime.settings import Kafka

log = structlog.get_logger("hubbub.ingest.held")

#: The log holds nothing at this position: it was never written, or retention took it.
_GONE: Final = frozenset(
    {
        KafkaError._PARTITION_EOF,
        KafkaError._AUTO_OFFSET_RESET,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.OFFSET_OUT_OF_RANGE,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    }
)

_held = msgspec.json.Decoder(Held)


class Unanswered(Exception):
    """Kafka did not show the record in time: nobody knows whether it is there."""


class Shelf(Protocol):
    """Where held events are looked up; `HeldLog` in production."""

    async def find(self, place: HeldId, seconds: float) -> Held | None:
        """What stands there, or None. Raises `Unanswered`."""


class HeldLog:
    """One consumer that joins no group, made at the first look and used by one request at a time."""

    def __init__(self, kafka: Kafka, *, make: Callable[[dict[str, Any]], Consumer] = Consumer) -> None:
        self._topic = kafka.topic(topics.HELD.name)
        self._make = make
        self._config = {
            **client_config(kafka, "hubbub-ingest-held"),
            "group.id": kafka.group("ingest-held"),  # required by librdkafka; nothing is committed
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "fetch.wait.max.ms": 10,
            "queued.min.messages": 1,
            "fetch.queue.backoff.ms": 1,  # else one record read is a second's rest before the next
        }
        self._consumer: Consumer | None = None
        self._turn = asyncio.Lock()

    async def find(self, place: HeldId, seconds: float) -> Held | None:
        """The held event at this place, or None when that is not what stands there. Raises `Unanswered`."""
        if place.partition < 0 or place.offset < 0:
            return None
        deadline = time.monotonic() + seconds
        try:
            async with asyncio.timeout(seconds):
                await self._turn.acquire()
        except TimeoutError:
            raise Unanswered from None
        # Shielded, and the turn given back at its end: a client that goes away must not leave the consumer to two.
        return await asyncio.shield(self._look(place, deadline))

    async def close(self) -> None:
        """Leave Kafka."""
        async with self._turn:
            if self._consumer is not None:
                await asyncio.to_thread(self._consumer.close)
                self._consumer = None

    async def _look(self, place: HeldId, deadline: float) -> Held | None:
        try:
            return await asyncio.to_thread(self._read, place, deadline)
        finally:
            self._turn.release()

    def _read(self, place: HeldId, deadline: float) -> Held | None:
        if self._consumer is None:
            self._consumer = self._make(self._config)
        consumer = self._consumer
        consumer.assign([TopicPartition(self._topic, place.partition, place.offset)])
        try:
            while (left := deadline - time.monotonic()) > 0:
                message = consumer.poll(left)
                if message is None:
                    continue
                error = message.error()
                if error is None:
                    return _held_in(message, place)
                if error.code() in _GONE:
                    return None
                log.warning("held.error", code=error.name())
                if is_fatal(error):
                    self._consumer = None
                    break
        except KafkaException as error:
            log.warning("held.error", code=error.args[0].name())
        finally:
            consumer.unassign()
        raise Unanswered


def _held_in(message: Message, place: HeldId) -> Held | None:
    """The held event of a record, if it is the one meant."""
    if (message.partition(), message.offset()) != (place.partition, place.offset):
        return None
    found: Any = message.headers() or ()  # typed wider than the list it is
    if dict(found).get(headers.KIND) is not None:
        return None
    try:
        held = _held.decode(message.value() or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return held if held.event.id == place.event_id else None
