"""A Kafka that confirms, refuses or keeps quiet as a test says, and an ingest in front of it."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec

from infra.contracts import codec
from infra.contracts.control import ApiKey, Limits, Scope, Tenant, hash_secret
from infra.contracts.events import Event
from infra.contracts.records import Held
from infra.contracts.review import HeldId
from infra.runtime.clock import ManualClock
from infra.runtime.control import Directory
from infra.runtime.errors import Undelivered
from infra.runtime.health import Check, Health
from infra.runtime.kafka import Headers
from ingest.app import create_app
from ingest.dead_letters import DeadLetters
from ingest.dedupe import Seen
from ingest.framer import Framer
from ingest.held_log import Unanswered
from ingest.intake import Intake, Lane
from ingest.limits import Limiter
from ingest.review import Decisions
from ingest.settings import Ingest

NOW = datetime(2026, 3, 14, 9, 26, 53, 589_000, tzinfo=UTC)
TENANT = Tenant(id="acme", cors_origins=("https://chat.example",))


class ScriptedDeliveries:
    """Takes records in. Confirms each at once unless `quiet`; refuses them all when `full`."""

    def __init__(self) -> None:
        self.records: list[tuple[str, int, bytes]] = []
        #: Headers of those records that have any, by their place among them.
        self.headers: dict[int, Headers] = {}
        #: Key, headers and value of each record that has a key.
        self.letters: list[tuple[str, dict[str, Any], bytes]] = []
        self.open: list[asyncio.Future[None]] = []
        self.quiet = False
        self.full = False

    def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int = -1,
        headers: Headers | None = None,
    ) -> "asyncio.Future[None]":
        if self.full:
            raise BufferError
        assert value is not None
        if headers:
            self.headers[len(self.records)] = headers
        self.records.append((topic, partition, value))
        if key is not None:
            self.letters.append((key.decode(), dict(headers or []), value))
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.quiet:
            self.open.append(future)
        else:
            future.set_result(None)
        return future

    def confirm(self) -> None:
        """Everything that waits is stored."""
        while self.open:
            self.open.pop(0).set_result(None)

    def fail(self) -> None:
        """Nothing that waits is stored."""
        while self.open:
            self.open.pop(0).set_exception(Undelivered("_MSG_TIMED_OUT"))

    def events(self, topic: str = "ingest") -> list[Event]:
        """Every event put into a topic, in the order sent."""
        return [codec.decode(part) for t, _, value in self.records if t == topic for part in codec.split(value)]


class FakeShelf:
    """Held events by the position their id names; `silent` when Kafka does not answer."""

    def __init__(self) -> None:
        self.held: dict[tuple[int, int], Held] = {}
        self.silent = False

    async def find(self, place: HeldId, seconds: float) -> Held | None:
        if self.silent:
            raise Unanswered
        found = self.held.get((place.partition, place.offset))
        return found if found is not None and found.event.id == place.event_id else None


class Door:
    """A whole ingest but for Kafka, spoken to over HTTP in process."""

    def __init__(self, limits: Limits | None = None, **settings: Any) -> None:
        loop = asyncio.get_running_loop()
        self.clock = ManualClock(NOW)
        self.deliveries = ScriptedDeliveries()
        self.settings = Ingest(**{"linger_ms": 1, "unavailable_after": 0.05, **settings})
        self.seen = Seen(
            seconds=self.settings.dedupe_seconds, limit=self.settings.dedupe_events, monotonic=self.clock.monotonic
        )
        self.framer = Framer(self.deliveries, loop, linger=0.001, settled=self.seen.settle)
        self.directory = Directory()
        self.directory.tenants["acme"] = msgspec.structs.replace(TENANT, limits=limits or Limits())
        for scope in Scope:
            key = ApiKey(hash=hash_secret(scope), tenant="acme", scopes=(scope,), name=scope, created_at=NOW)
            self.directory.keys[key.hash] = key
        self.health = Health("ingest")
        self.health.add("queue", lambda: Check(not self.intake.full))
        self.intake = Intake(
            self.settings,
            lanes={"ingest": Lane("ingest", 8), "backfill": Lane("backfill", 8)},
            framer=self.framer,
            seen=self.seen,
            limiter=Limiter(self.settings.bucket_count),
            letters=DeadLetters(self.deliveries, topic="dlq", partitions=8),
            clock=self.clock,
        )
        self.shelf = FakeShelf()
        decisions = Decisions(Lane("ingest", 8), self.shelf, self.framer, self.seen, self.settings, clock=self.clock)
        self.app = create_app(
            self.intake,
            decisions,
            self.directory,
            self.settings,
            self.health,
            clock=self.clock,
            new_id=lambda: "request-1",
        )

    def client(self, host: str = "127.0.0.1") -> httpx.AsyncClient:
        """A client at this address."""
        transport = httpx.ASGITransport(app=self.app, client=(host, 4711))
        return httpx.AsyncClient(transport=transport, base_url="http://ingest")

    async def post(
        self, body: Any, path: str = "/v1/events", key: str = "write", headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Send a body as JSON, bytes as they are."""
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        sent = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", **(headers or {})}
        async with self.client() as client:
            return await client.post(path, content=content, headers=sent)


def event(number: int = 1, **fields: Any) -> dict[str, Any]:
    """A message as a client sends it."""
    return {
        "id": f"id-{number}",
        "type": "message.sent",
        "time": "2026-03-14T09:26:50.123Z",
        "channel_id": "general",
        "user_id": "ada",
        "text": f"text {number}",
        **fields,
    }


def codes(response: httpx.Response) -> list[tuple[int, str]]:
    """Index and code of each refused event."""
    return [(error["index"], error["code"]) for error in response.json().get("errors", [])]
