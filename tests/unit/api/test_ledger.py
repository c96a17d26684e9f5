"""The ledger as a tenant reads it: its own minutes, oldest first, and how fresh they are."""

from datetime import datetime, timedelta
from typing import Any

from api.models.tracing import LedgerBody
from infra.contracts import placement
from infra.contracts.windows import MINUTE
from tests.unit.api.conftest import NOW, Client
from tests.unit.api.memory import MemoryDatabase

THIS = MINUTE.start(NOW)


def put(database: MemoryDatabase, start: datetime, *, tenant: str = "acme", **fields: Any) -> None:
    known = {
        "accepted": 3,
        "events": 2,
        "signals": 1,
        "held": 0,
        "blocked": 0,
        "dlq": 0,
        "duplicates": 0,
        "state": "balanced",
        "stage": None,
        "expected": None,
        "found": None,
        "src": None,
    }
    row = (start, *(known | fields).values())
    database.ledger.setdefault((tenant, placement.day(start)), []).append(row)


async def test_minutes_come_oldest_first_with_what_differs(client: Client, database: MemoryDatabase):
    put(database, THIS, state="open")
    put(
        database,
        THIS - MINUTE.width,
        events=1,
        state="different",
        stage="router-to-topics",
        expected=3,
        found=2,
        src="ingest/3/9",
    )
    put(database, THIS - 60 * MINUTE.width)
    database.ledger_progress = (THIS, NOW - timedelta(seconds=3), NOW - timedelta(seconds=1))
    body = (await client("read").get("/v1/ledger")).json()
    LedgerBody.model_validate(body)
    different, current = body["minutes"]
    assert (different["state"], different["stage"], different["src"]) == ("different", "router-to-topics", "ingest/3/9")
    assert (different["expected"], different["found"]) == (3, 2)
    assert different["start"] == "2026-03-14T11:59:00Z"
    assert (current["start"], current["end"]) == ("2026-03-14T12:00:00Z", "2026-03-14T12:01:00Z")
    assert (body["from"], body["to"]) == ("2026-03-14T11:01:00Z", "2026-03-14T12:01:00Z")
    assert (body["lag_seconds"], body["as_of"]) == (3.0, "2026-03-14T12:00:29Z")


async def test_a_day_of_minutes_reaches_into_the_day_before(client: Client, database: MemoryDatabase):
    put(database, THIS - timedelta(hours=23))
    put(database, THIS)
    for minutes, found in ((1_440, 2), (60, 1), (1, 1)):
        body = (await client("read").get(f"/v1/ledger?minutes={minutes}")).json()
        assert len(body["minutes"]) == found
    assert (await client("read").get("/v1/ledger?minutes=1441")).status_code == 422
    assert (await client("read").get("/v1/ledger?minutes=0")).status_code == 422


async def test_each_tenant_sees_its_own_minutes_and_needs_the_scope(client: Client, database: MemoryDatabase):
    put(database, THIS)
    assert len((await client("read").get("/v1/ledger")).json()["minutes"]) == 1
    assert (await client("stranger").get("/v1/ledger")).json()["minutes"] == []
    assert (await client("writer").get("/v1/ledger")).status_code == 403
    assert (await client(None).get("/v1/ledger")).status_code == 401


async def test_before_the_first_comparison_nothing_is_claimed(client: Client):
    body = (await client("read").get("/v1/ledger")).json()
    LedgerBody.model_validate(body)
    assert (body["minutes"], body["as_of"], body["watermark"], body["lag_seconds"]) == ([], None, None, None)


async def test_a_token_for_channels_does_not_see_the_tenants_ledger(client: Client):
    token = (await client("read").post("/v1/tokens", json={"user_id": "ann", "channels": ["general"]})).json()["token"]
    assert (await client(token).get("/v1/ledger")).status_code == 403
