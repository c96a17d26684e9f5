"""The API over a real Cassandra and Kafka, filled through the statements of the contract."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest

from api.app import create_app
from api.settings import Api
from api.signing import Signer
from api.state import State, assemble
from infra.contracts import placement, tables
from infra.contracts.control import ApiKey, Scope, Tenant, hash_secret
from infra.contracts.events import Event, to_ms
from infra.contracts.tables import Statement
from infra.runtime.cassandra import Database, connect
from infra.runtime.clock import SystemClock
from infra.runtime.control import Directory
from infra.runtime.settings import Cassandra, Kafka

KEY = "read-key"


@pytest.fixture(scope="session")
def database(cassandra: Cassandra) -> Iterator[Database]:
    database = connect(cassandra)
    yield database
    database.close()


@pytest.fixture
def tenant() -> str:
    """A tenant of this test's own."""
    return f"t-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def state(kafka: Kafka, database: Database, tenant: str) -> State:
    directory = Directory()
    clock = SystemClock()
    directory.tenants[tenant] = Tenant(id=tenant)
    key = ApiKey(hash=hash_secret(KEY), tenant=tenant, scopes=(Scope.READ,), name="read", created_at=clock.now())
    directory.keys[key.hash] = key
    return assemble(Api(), kafka, database, directory, clock, Signer(b"secret"))


@pytest.fixture
async def client(state: State) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(state))
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://hubbub", headers=headers) as client:
        yield client


class History:
    """Writes what the history writer would, one cell at a time."""

    def __init__(self, database: Database, tenant: str) -> None:
        self._database = database
        self.tenant = tenant

    async def write(self, statement: Statement, *values: Any) -> None:
        await self._database.execute(statement, values)

    def cell(self, event: Event) -> tuple[Any, ...]:
        sent_at = placement.sent_at(event)
        return (self.tenant, event.channel_id, placement.bucket(sent_at), to_ms(sent_at), event.target)

    async def create(self, *events: Event) -> None:
        rows = []
        for event in events:
            assert event.received_at is not None
            envelope = msgspec.json.encode(event).decode()
            written = placement.create_write_time(event.received_at)
            cell = self.cell(event)
            rows.append(self.write(tables.CREATE_MESSAGE, written, envelope, "ingest/0/1/0", "", *cell))
            rows.append(self.write(tables.ADD_BUCKET, *cell[:3]))
            if placement.time_of_id(event.target) is None:
                rows.append(
                    self.write(tables.INDEX_MESSAGE, written, event.channel_id, cell[3], self.tenant, event.target)
                )
        await asyncio.gather(*rows)

    async def edit(self, event: Event, text: str, after: timedelta = timedelta(seconds=1)) -> None:
        edit = msgspec.structs.replace(event, type="message.edited", text=text, time=event.time + after)
        await self.write(
            tables.EDIT_MESSAGE, placement.micros(edit.time), msgspec.json.encode(edit).decode(), *self.cell(event)
        )

    async def delete(self, event: Event, after: timedelta = timedelta(seconds=2)) -> None:
        at = event.time + after
        await self.write(tables.DELETE_MESSAGE, placement.micros(at), to_ms(at), *self.cell(event))

    async def react(self, event: Event, reaction: str, *users: str) -> None:
        tenant, channel, bucket, _, target = self.cell(event)
        for user in users:
            written = placement.micros(event.time)
            await self.write(tables.SET_REACTION, written, True, tenant, channel, bucket, target, reaction, user)

    async def touch(self, channel: str, moment: datetime) -> None:
        await self.write(tables.TOUCH_CHANNEL, placement.micros(moment), to_ms(moment), self.tenant, channel)

    def say(self, moment: datetime, number: int = 0, *, message_id: str | None = None, **fields: Any) -> Event:
        digits = f"{to_ms(moment):012x}"
        return Event(
            id=message_id or f"{digits[:8]}-{digits[8:]}-7000-8000-{number:012x}",
            time=moment,
            tenant=self.tenant,
            received_at=moment,
            **{"type": "message.sent", "channel_id": "general", "user_id": "bob", "text": f"number {number}", **fields},
        )


@pytest.fixture
def history(database: Database, tenant: str) -> History:
    return History(database, tenant)
