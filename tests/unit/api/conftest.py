"""The API over memory: two tenants, a clock that stands still, and a client for each kind of caller."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any, cast

import httpx
import pytest

from api.app import create_app
from api.settings import Api
from api.signing import Signer
from api.state import State, assemble
from infra.contracts.control import ApiKey, Scope, Tenant, hash_secret
from infra.contracts.events import Event, to_ms
from infra.runtime.clock import ManualClock
from infra.runtime.control import Directory
from infra.runtime.settings import Kafka
from tests.unit.api.memory import MemoryDatabase

NOW = datetime(2026, 3, 14, 12, 0, 30, tzinfo=UTC)
KEYS = {
    "read": ("acme", (Scope.READ,)),
    "moderator": ("acme", (Scope.READ, Scope.MODERATE)),
    "writer": ("acme", (Scope.WRITE,)),
    "stranger": ("other", (Scope.READ,)),
}

Client = Callable[[str | None], httpx.AsyncClient]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def database() -> MemoryDatabase:
    return MemoryDatabase()


@pytest.fixture
def directory() -> Directory:
    directory = Directory()
    for tenant in ("acme", "other"):
        directory.tenants[tenant] = Tenant(id=tenant)
    for name, (tenant, scopes) in KEYS.items():
        key = ApiKey(hash=hash_secret(name), tenant=tenant, scopes=scopes, name=name, created_at=NOW)
        directory.keys[key.hash] = key
    return directory


@pytest.fixture
def state(clock: ManualClock, database: MemoryDatabase, directory: Directory) -> State:
    return assemble(
        Api(ingest_url="http://ingest.example"), Kafka(), cast(Any, database), directory, clock, Signer(b"secret")
    )


@pytest.fixture
async def client(state: State) -> AsyncIterator[Client]:
    transport = httpx.ASGITransport(create_app(state), raise_app_exceptions=False)
    opened: list[httpx.AsyncClient] = []

    def make(secret: str | None = "read") -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {secret}"} if secret is not None else {}
        opened.append(httpx.AsyncClient(transport=transport, base_url="http://hubbub", headers=headers))
        return opened[-1]

    yield make
    for one in opened:
        await one.aclose()


def say(
    message_id: str,
    moment: datetime = NOW,
    *,
    channel: str = "general",
    user: str = "ann",
    text: str = "hello",
    tenant: str = "acme",
    **fields: Any,
) -> Event:
    """A message as history stores it."""
    return Event(
        id=message_id,
        type="message.sent",
        time=moment,
        channel_id=channel,
        user_id=user,
        text=text,
        tenant=tenant,
        received_at=moment,
        **fields,
    )


def uuid_at(moment: datetime, number: int = 0) -> str:
    """A UUIDv7 of this moment."""
    digits = f"{to_ms(moment):012x}"
    return f"{digits[:8]}-{digits[8:]}-7000-8000-{number:012x}"
