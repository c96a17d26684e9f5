"""An ingest in this process on a real Kafka, spoken to over HTTP without a socket."""

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
from confluent_kafka import Consumer, TopicPartition

from infra.contracts import codec
from infra.contracts.control import ApiKey, Limits, Scope, Tenant, hash_secret
from infra.contracts.topics import BACKFILL, INGEST
from infra.runtime.clock import Clock
from infra.runtime.control import Directory
from infra.runtime.kafka import consumer_config
from infra.runtime.settings import Kafka
from ingest.intake import Lane
from ingest.settings import Ingest
from ingest.stack import Stack


class Opened:
    """A stack with one tenant, whose key of each scope is the scope's name."""

    def __init__(self, kafka: Kafka, clock: Clock, limits: Limits, **settings: Any) -> None:
        self.kafka = kafka
        self.tenant = f"t-{secrets.token_hex(4)}"
        directory = Directory()
        directory.tenants[self.tenant] = Tenant(id=self.tenant, limits=limits)
        for scope in Scope:
            key = ApiKey(
                hash=hash_secret(scope), tenant=self.tenant, scopes=(scope,), name=scope, created_at=clock.now()
            )
            directory.keys[key.hash] = key
        lanes = {t.name: Lane(kafka.topic(t.name), t.partitions) for t in (INGEST, BACKFILL)}
        self.stack = Stack(kafka, Ingest(**settings), directory, lanes, clock=clock)

    async def post(
        self, body: Any, path: str = "/v1/events", key: str = "write", headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        sent = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", **(headers or {})}
        return await self.request("POST", path, content=content, headers=sent)

    async def request(self, method: str, path: str, **how: Any) -> httpx.Response:
        transport = httpx.ASGITransport(app=self.stack.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://ingest") as client:
            return await client.request(method, path, **how)

    async def copies(self, kafka: Kafka) -> Counter[str]:
        """How often each of this tenant's ids stands in the topic."""
        return await asyncio.to_thread(self._copies, kafka)

    def _copies(self, kafka: Kafka) -> Counter[str]:
        consumer = Consumer(consumer_config(kafka, "test", f"test-{secrets.token_hex(4)}"))
        topic = kafka.topic(INGEST.name)
        found: Counter[str] = Counter()
        try:
            for partition in range(INGEST.partitions):
                low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
                if low == high:
                    continue
                consumer.assign([TopicPartition(topic, partition, low)])
                while low < high:
                    (message,) = consumer.consume(1, timeout=10)
                    assert message.error() is None
                    events = map(codec.decode, codec.split(message.value() or b""))
                    found.update(event.id for event in events if event.tenant == self.tenant)
                    low = (message.offset() or 0) + 1
        finally:
            consumer.close()
        return found


@asynccontextmanager
async def opened(kafka: Kafka, clock: Clock, limits: Limits | None = None, **settings: Any) -> AsyncIterator[Opened]:
    """A running stack, closed at the end."""
    ingest = Opened(kafka, clock, limits or Limits(), **settings)
    yield ingest
    await ingest.stack.close(0.5)
