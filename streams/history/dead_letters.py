"""Dead letters of the history writer: the original bytes, sent until Kafka has them, one a record."""

import queue
from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final

import structlog
from confluent_kafka import KafkaError, Message

from infra.contracts import headers, topics
from infra.contracts.headers import WHOLE, Src
from infra.runtime.kafka import DeliveringProducer, Headers
from infra.runtime.settings import Kafka
from streams.history.confirmed import Entry

log = structlog.get_logger("hubbub.history.dead_letters")

STAGE: Final = "history"
_MAX_REASON: Final = 500


class _Letter:
    __slots__ = ("attempts", "entry", "headers", "key", "value")

    def __init__(self, entry: Entry, key: bytes, value: bytes | None, letter_headers: Headers) -> None:
        self.entry: Final = entry
        self.key: Final = key
        self.value: Final = value
        self.headers: Final = letter_headers
        self.attempts = 0


class DeadLetters:
    """Buries records. An entry comes out of `delivered` once its letter is stored; until then it is repeated."""

    def __init__(self, producer: DeliveringProducer, kafka: Kafka) -> None:
        self._producer = producer
        self._topic = kafka.topic(topics.DLQ.name)
        self._prefix = kafka.topic_prefix
        self._waiting: deque[_Letter] = deque()
        self._reports: queue.SimpleQueue[tuple[_Letter, KafkaError | None]] = queue.SimpleQueue()
        self._open = 0

    @property
    def idle(self) -> bool:
        """Every letter is stored."""
        return not self._open

    def bury(self, message: Message, entry: Entry, code: str, reason: str, now: datetime) -> None:
        """Send this record to the dead letters."""
        topic = (message.topic() or "").removeprefix(self._prefix)
        partition, offset = message.partition() or 0, message.offset() or 0
        found: Any = message.headers() or []  # typed wider than the list it is
        letter_headers: Headers = [
            *((name, value) for name, value in found if name in (headers.SRC, headers.RULE)),
            (headers.STAGE, STAGE),
            (headers.CODE, code),
            (headers.ERROR, reason[:_MAX_REASON]),
            (headers.ATTEMPTS, "1"),
            (headers.FIRST_SEEN, now.isoformat(timespec="milliseconds")),
        ]
        key = Src(topic, partition, offset, WHOLE).encode()
        log.warning("dead_letter", topic=topic, partition=partition, offset=offset, code=code)
        self._open += 1
        self._waiting.append(_Letter(entry, key, message.value(), letter_headers))
        self._send()

    def delivered(self) -> Iterator[Entry]:
        """Entries whose letter has been stored since the last call."""
        while self._open:
            try:
                letter, error = self._reports.get_nowait()
            except queue.Empty:
                break
            if error is None:
                self._open -= 1
                yield letter.entry
                continue
            letter.attempts += 1
            log.warning("dead_letter.repeated", attempts=letter.attempts, error=error.name())
            self._waiting.append(letter)
        if self._waiting:
            self._send()

    def _send(self) -> None:
        while self._waiting:
            letter = self._waiting[0]
            try:
                self._producer.produce(
                    self._topic,
                    letter.value,
                    key=letter.key,
                    headers=letter.headers,
                    on_delivery=self._reporter(letter),
                )
            except BufferError:
                return  # the queue is full: the next call of `delivered` tries again
            self._waiting.popleft()

    def _reporter(self, letter: _Letter) -> Callable[[KafkaError | None, Message], None]:
        return lambda error, _: self._reports.put((letter, error))
