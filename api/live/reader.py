"""Reads `events` and `metrics` for the hub, without a consumer group: one thread, one consumer, nothing committed.

It begins a little before the end, so that readers of the process before resume from memory, and hands the loop one
burst at a time. When the loop falls behind it waits, and Kafka keeps what comes.
"""

import asyncio
import hashlib
import threading
import time
from collections.abc import Callable
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from api.live.catch_up import Spans, TooFar
from api.live.hub import Burst, Hub, Start
from api.live.records import Decoder, Record
from api.settings import Live
from infra.contracts.topics import EVENTS, METRICS
from infra.runtime.health import Check
from infra.runtime.kafka import client_config
from infra.runtime.settings import Kafka
from infra.runtime.telemetry import LAG, UNEXPECTED

log = structlog.get_logger("hubbub.live")

_BURST = 512
#: Bursts handed over and not yet taken, before the thread waits.
_AHEAD = 4
_LOOK_SECONDS = 5.0
#: The log is not what the offsets were for: retention passed us, the topic was made anew, or it lost its end.
_BROKEN = frozenset(
    {
        KafkaError._AUTO_OFFSET_RESET,
        KafkaError.OFFSET_OUT_OF_RANGE,
        KafkaError.UNKNOWN_TOPIC_ID,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
    }
)

MakeConsumer = Callable[[dict[str, Any]], Consumer]


class _Broken(Exception):
    """Start again from the log as it is now."""


def live_config(settings: Kafka, client_id: str) -> dict[str, Any]:
    """A consumer that is told where to begin, says so when it cannot, and holds little."""
    return {
        **client_config(settings, client_id),
        "group.id": client_id,  # required by librdkafka; nothing is committed
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "queued.max.messages.kbytes": 16 * 1024,
        "fetch.wait.max.ms": 500,
    }


def topic_epoch(settings: Kafka, timeout: float) -> int:
    """A number that changes when the topic `events` is deleted and made again, and offsets begin anew."""
    name = settings.topic(EVENTS.name)
    # Held until the answer is here: a client that is collected takes its request with it.
    client = AdminClient(client_config(settings, "hubbub-live"))
    described = client.describe_topics(TopicCollection([name]), request_timeout=timeout)
    identity = str(described[name].result(timeout).topic_id)
    return int.from_bytes(hashlib.blake2b(identity.encode(), digest_size=4).digest(), "big")


class EventReader:
    """The thread and what it knows. `on_point` gets (key, value) of each record of `metrics`; both run on the loop."""

    def __init__(
        self,
        settings: Kafka,
        live: Live,
        hub: Hub,
        on_point: Callable[[bytes, bytes], None],
        *,
        make: MakeConsumer = Consumer,
        epoch: Callable[[Kafka, float], int] = topic_epoch,
    ) -> None:
        self._settings = settings
        self._live = live
        self._hub = hub
        self._on_point = on_point
        self._make = make
        self._epoch = epoch
        self._decoder = Decoder(settings.topic_prefix)
        self._events = settings.topic(EVENTS.name)
        self._metrics = settings.topic(METRICS.name)
        self._stopping = threading.Event()
        self._room = threading.Semaphore(_AHEAD)
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="live-reader", daemon=True)
        self._connected_at: float | None = None
        self.lag: int | None = None

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    async def stop(self) -> None:
        """Read no more; returns when the thread is done."""
        self._stopping.set()
        self._room.release()
        await asyncio.to_thread(self._thread.join, 5)

    def check(self) -> Check:
        """Whether Kafka answered lately and the log was read to its end once."""
        if self._connected_at is None:
            return Check(False, "not connected yet")
        age = time.monotonic() - self._connected_at
        if age > 3 * _LOOK_SECONDS:
            return Check(False, f"Kafka last answered {age:.0f} s ago")
        return Check(self._hub.ready, "following" if self._hub.ready else "reading up to the end")

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow()
            except (KafkaException, _Broken) as error:
                log.warning("live.reader_restarts", error=str(error))
                self._stopping.wait(1)
            except Exception:
                UNEXPECTED.labels("live-reader").inc()
                log.exception("live.reader_failed")
                self._stopping.wait(1)

    def _follow(self) -> None:
        consumer = self._make(live_config(self._settings, "hubbub-api-live"))
        try:
            self._read(consumer)
        finally:
            consumer.close()

    def _read(self, consumer: Consumer) -> None:
        partitions = self._partitions(consumer, self._events)
        epoch = self._epoch(self._settings, _LOOK_SECONDS)
        ends, starts = {}, []
        for partition in range(partitions):
            low, high = consumer.get_watermark_offsets(TopicPartition(self._events, partition), timeout=_LOOK_SECONDS)
            ends[partition] = high
            starts.append(max(low, high - self._live.preload_records // partitions))
        assigned = [TopicPartition(self._events, p, offset) for p, offset in enumerate(starts)]
        for partition in range(self._partitions(consumer, self._metrics)):
            at = TopicPartition(self._metrics, partition)
            at.offset = consumer.get_watermark_offsets(at, timeout=_LOOK_SECONDS)[1]
            assigned.append(at)
        consumer.assign(assigned)
        at_offsets = dict(enumerate(starts))
        self._hand(self._hub.start, Start(epoch, starts))
        caught_up = False
        looked = 0.0
        while not self._stopping.is_set():
            if not caught_up and all(at_offsets[p] >= end for p, end in ends.items()):
                caught_up = True
                self._hand(self._hub.caught_up)
            if time.monotonic() - looked > _LOOK_SECONDS:
                self._look(consumer, at_offsets)
                looked = time.monotonic()
            # The first wait ends with the first record; the second call takes what else is there without waiting.
            messages = consumer.consume(1, 0.25)
            if messages:
                messages += consumer.consume(_BURST, 0)
                self._sort(messages, at_offsets, caught_up)

    def _sort(self, messages: list[Message], at_offsets: dict[int, int], live: bool) -> None:
        records: list[Record] = []
        moved: dict[int, int] = {}
        for message in messages:
            error = message.error()
            if error is not None:
                if error.code() in _BROKEN:
                    raise _Broken(error.str())
                log.warning("live.kafka_error", code=error.name())
                continue
            partition, offset = message.partition(), message.offset()
            if message.topic() == self._metrics:
                self._hand(self._on_point, message.key() or b"", message.value() or b"")
                continue
            assert partition is not None
            assert offset is not None
            moved[partition] = at_offsets[partition] = offset + 1
            record = self._decoder.decode(message)
            if record is not None:
                records.append(record)
        if moved:
            self._hand(self._hub.take, Burst(records, moved, live))

    def _look(self, consumer: Consumer, at_offsets: dict[int, int]) -> None:
        """See that Kafka answers, how far behind we are, and whether partitions were added."""
        try:
            partitions = self._partitions(consumer, self._events)
        except KafkaException as error:
            log.warning("live.kafka_silent", error=str(error))
            return
        added = [TopicPartition(self._events, p, 0) for p in range(len(at_offsets), partitions)]
        if added:
            consumer.incremental_assign(added)
            at_offsets.update({p.partition: 0 for p in added})
            log.info("live.partitions_added", partitions=partitions)
        lag = 0
        for partition, at in at_offsets.items():
            _, high = consumer.get_watermark_offsets(TopicPartition(self._events, partition), cached=True)
            behind = max(0, high - at) if high >= 0 else 0
            LAG.labels(EVENTS.name, str(partition)).set(behind)
            lag += behind
        self.lag = lag
        self._connected_at = time.monotonic()

    def _partitions(self, consumer: Consumer, topic: str) -> int:
        found = consumer.list_topics(topic, timeout=_LOOK_SECONDS).topics[topic]
        if found.error is not None or not found.partitions:
            raise _Broken(f"topic {topic} does not exist")
        return len(found.partitions)

    def _hand(self, call: Callable[..., None], *arguments: Any) -> None:
        self._room.acquire()
        self._loop.call_soon_threadsafe(self._taken, call, arguments)

    def _taken(self, call: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self._room.release()
        call(*arguments)


class SpanReader:
    """Reads spans of `events` on a thread, with a consumer that lives as long as the read."""

    def __init__(self, settings: Kafka, seconds: float, *, make: MakeConsumer = Consumer) -> None:
        self._settings = settings
        self._seconds = seconds
        self._make = make
        self._decoder = Decoder(settings.topic_prefix)

    async def read(self, spans: Spans) -> list[Record]:
        """The records of these spans, in order within each partition. Raises `TooFar`."""
        try:
            return await asyncio.to_thread(self._read, spans)
        except KafkaException as error:
            raise TooFar(str(error)) from error

    def _read(self, spans: Spans) -> list[Record]:
        deadline = time.monotonic() + self._seconds
        name = self._settings.topic(EVENTS.name)
        consumer = self._make(live_config(self._settings, "hubbub-api-catch-up"))
        records: list[Record] = []
        try:
            for wanted, (start, _) in spans.items():
                low, _ = consumer.get_watermark_offsets(TopicPartition(name, wanted), timeout=self._seconds)
                if low > start:
                    raise TooFar("the log no longer goes back that far")
            consumer.assign([TopicPartition(name, p, start) for p, (start, _) in spans.items()])
            open_spans = {p: end for p, (_, end) in spans.items()}
            while open_spans:
                if time.monotonic() > deadline:
                    raise TooFar("the log could not be read in time")
                for message in consumer.consume(1, 0.25) + consumer.consume(_BURST, 0):
                    error = message.error()
                    if error is not None:
                        if error.code() in _BROKEN:
                            raise TooFar(error.str())
                        continue
                    partition, offset = message.partition(), message.offset()
                    assert partition is not None
                    assert offset is not None
                    if partition not in open_spans or offset >= open_spans[partition]:
                        open_spans.pop(partition, None)
                        continue
                    record = self._decoder.decode(message)
                    if record is not None:
                        records.append(record)
                    if offset + 1 >= open_spans[partition]:
                        del open_spans[partition]
        finally:
            consumer.close()
        return records
