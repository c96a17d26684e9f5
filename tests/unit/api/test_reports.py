"""Finished reports as a tenant reads them: listed, and in the format it asks for."""

from datetime import timedelta
from typing import Any

import pytest

from api.models.reports import ReportsBody
from api.reports import preferred
from tests.unit.api.conftest import NOW, Client
from tests.unit.api.memory import MemoryDatabase, naive

BODIES = {"json": '{"report":"daily"}', "csv": "report,tenant\n", "html": "<!doctype html><title>x</title>"}


def put(database: MemoryDatabase, period: str, *, tenant: str = "acme", finished: bool = True, **fields: Any) -> None:
    known = {
        "period": period,
        "report": "daily",
        "state": "finished",
        "started_at": naive(NOW),
        "finished_at": naive(NOW) if finished else None,
        "as_of": naive(NOW - timedelta(minutes=1)),
        "complete": True,
        "final": True,
        "revision": 1,
        "digest": "d",
        "archive": "{}",
    }
    database.report_runs.setdefault(tenant, []).append(tuple((known | fields).values()))
    for name, body in BODIES.items():
        database.report_documents[tenant, "daily", period, name] = body


async def test_finished_reports_are_listed_newest_first(client: Client, database: MemoryDatabase):
    put(database, "2026-03-12")
    put(database, "2026-03-13", state="running", revision=2)
    put(database, "2026-03-14", finished=False, state="running", as_of=None, complete=None, final=None, revision=None)
    body = (await client("read").get("/v1/reports")).json()
    ReportsBody.model_validate(body)
    assert [(r["period"], r["running"], r["revision"]) for r in body["reports"]] == [
        ("2026-03-13", True, 2),
        ("2026-03-12", False, 1),
    ]
    assert body["reports"][0]["as_of"] == "2026-03-14T11:59:30Z"
    assert (await client("read").get("/v1/reports?limit=2")).json()["more"] is True


@pytest.mark.parametrize(
    ("query", "accept", "expected"),
    [
        ("", "*/*", "json"),
        ("", "text/html,application/xhtml+xml,*/*;q=0.8", "html"),
        ("", "text/csv", "csv"),
        ("", "application/json;q=0.2, text/csv;q=0.9", "csv"),
        ("?format=csv", "text/html", "csv"),
        ("?format=html", "*/*", "html"),
    ],
)
async def test_a_report_comes_as_asked(
    client: Client, database: MemoryDatabase, query: str, accept: str, expected: str
):
    put(database, "2026-03-13")
    reply = await client("read").get(f"/v1/reports/daily/2026-03-13{query}", headers={"Accept": accept})
    assert reply.status_code == 200
    assert reply.text == BODIES[expected]
    assert reply.headers["content-type"].startswith({"json": "application/json"}.get(expected, f"text/{expected}"))
    policy = reply.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "script-src 'none'" not in policy
    assert ("style-src 'unsafe-inline'" in policy) == (expected == "html")
    assert reply.headers["cache-control"] == "no-store"


async def test_nothing_else_is_found(client: Client, database: MemoryDatabase):
    put(database, "2026-03-13")
    assert (await client("stranger").get("/v1/reports")).json()["reports"] == []
    assert (await client("stranger").get("/v1/reports/daily/2026-03-13")).status_code == 404
    assert (await client("read").get("/v1/reports/daily/2026-03-12")).status_code == 404
    assert (await client("read").get("/v1/reports/weekly/2026-03-13")).status_code == 404
    assert (await client("read").get("/v1/reports/daily/yesterday")).status_code == 422
    assert (await client("read").get("/v1/reports/daily/2026-03-13?format=pdf")).status_code == 422
    refused = await client("read").get("/v1/reports/daily/2026-03-13", headers={"Accept": "image/png"})
    assert refused.status_code == 406


async def test_a_report_whose_first_run_never_finished_is_not_there(client: Client, database: MemoryDatabase):
    put(database, "2026-03-13", finished=False, state="running")
    put(database, "2026-03-13", report="parity", state="running")
    database.report_documents["acme", "parity", "2026-03-13", "json"] = BODIES["json"]
    assert (await client("read").get("/v1/reports/daily/2026-03-13")).status_code == 404
    # One that is made again stays readable.
    assert (await client("read").get("/v1/reports/parity/2026-03-13")).status_code == 200


async def test_only_those_who_may_see_the_whole_tenant(client: Client, database: MemoryDatabase):
    put(database, "2026-03-13")
    token = (await client("read").post("/v1/tokens", json={"user_id": "ann", "channels": ["general"]})).json()["token"]
    for secret, status in ((token, 403), ("writer", 403), (None, 401)):
        assert (await client(secret).get("/v1/reports")).status_code == status
        assert (await client(secret).get("/v1/reports/daily/2026-03-13")).status_code == status


def test_a_format_is_taken_by_weight_then_by_order():
    assert preferred("text/csv;q=0.5, text/html;q=0.5") == "csv"
    assert preferred("text/csv;q=nonsense, text/html") == "html"
    assert preferred("application/*") == "json"
    assert preferred("image/png, text/html;q=0") is None
