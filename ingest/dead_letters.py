"""Dead letters of ingest: what a sender will not hear of, kept until somebody repairs it.

A letter is an envelope as far as the item could be read as one, its tenant in it, so that it can be put into the log
once it is repaired. The same item sent again makes the same letter.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Protocol
from urllib.parse import quote

import msgspec
import structlog
from cachetools import LRUCache
from confluent_kafka import KafkaException

from infra.contracts import placement
from infra.contracts.dead_letters import letter_headers
from infra.contracts.events import Invalid
from infra.contracts.headers import INGEST_STAGE, NOWHERE, WHOLE, Headers, Src
from infra.contracts.topics import INGEST
from infra.runtime.telemetry import BURIED

log = structlog.get_logger("hubbub.ingest.dead_letters")

#: Bytes of letters under way at most: they share a producer with the frames, which must not wait for them.
_IN_FLIGHT_BYTES: Final = 8 * 1024 * 1024
#: Stored letters that are known again, about 200 bytes each.
_REMEMBERED: Final = 10_000


class Deliveries(Protocol):
    """What sends a record with a key and headers; `AsyncDeliveries` in production."""

    def send(
        self, topic: str, value: bytes | None, *, key: bytes | None = None, partition: int = -1, headers: Headers | None
    ) -> "asyncio.Future[None]":
        """A future that is done once the record is stored. Raises `BufferError` when the queue is full."""


class DeadLetters:
    """Buries items of one process, on its event loop. It knows the last ones again."""

    def __init__(self, deliveries: Deliveries, *, topic: str, partitions: int) -> None:
        """`topic` is that of the letters, `partitions` are those of the topic they are put back into."""
        self._deliveries = deliveries
        self._topic = topic
        self._partitions = partitions
        self._in_flight_bytes = 0
        self._stored: LRUCache[bytes, None] = LRUCache(_REMEMBERED)

    def holds(self, key: bytes) -> bool:
        """Whether this letter is known to be stored."""
        return key in self._stored

    def bury(
        self, key: bytes, envelope: Mapping[str, Any], error: Invalid, *, tenant: str, source: str, now: datetime
    ) -> "asyncio.Future[bool]":
        """Whether the letter is stored, once that is known. Raises `BufferError` when too many are under way."""
        if self._in_flight_bytes > _IN_FLIGHT_BYTES:
            raise BufferError
        value = msgspec.json.encode({**envelope, "tenant": tenant, "source": source})
        place = envelope.get("channel_id") or envelope.get("user_id") or envelope.get("anonymous_id") or ""
        partition = placement.partition(f"{tenant}:{place}".encode("utf-8", "replace"), self._partitions)
        headers = letter_headers(Src(INGEST.name, partition, NOWHERE, WHOLE), INGEST_STAGE, error, now)
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def report(delivery: "asyncio.Future[None]") -> None:
            self._in_flight_bytes -= len(value)
            problem = delivery.exception()
            if problem is None:
                self._stored[key] = None
                BURIED.inc()
            else:
                log.warning("dead_letter.undelivered", reason=str(problem))
            done.set_result(problem is None)

        try:
            delivery = self._deliveries.send(self._topic, value, key=key, headers=headers)
        except KafkaException as problem:
            raise BufferError from problem
        self._in_flight_bytes += len(value)
        delivery.add_done_callback(report)
        return done


def letter_key(source: str, tenant: str, item_id: str | None, raw: bytes) -> bytes:
    """The letter's name. Two bodies of one id are two letters; one body that is sent again is one."""
    named = quote((item_id or "")[:100], safe="")
    return f"{source}/{tenant}/{named}/{hashlib.sha256(raw).hexdigest()[:12]}".encode()
