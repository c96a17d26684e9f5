import gzip

import msgspec
import pytest
from starlette.routing import Route

from infra.contracts.problems import EVENT_CODES
from infra.runtime.health import Check
from ingest import openapi
from tests.unit.ingest.deliveries import Door, event


async def get(door: Door, path: str, host: str = "127.0.0.1"):
    async with door.client(host) as client:
        return await client.get(path)


async def test_a_compressed_body():
    body = gzip.compress(msgspec.json.encode([event(1), event(2)]))
    reply = await Door().post(body, headers={"Content-Encoding": "gzip"})
    assert reply.json() == {"accepted": 2, "duplicates": 0}


async def test_every_answer_names_its_request():
    door = Door()
    for key in ("write", "nobody"):
        assert (await door.post(event(), key=key)).headers["X-Request-Id"] == "request-1"


async def test_a_page_of_a_listed_origin_may_send_and_read():
    door = Door()
    async with door.client() as client:
        asked = await client.options("/v1/events", headers={"Origin": "https://chat.example"})
    assert asked.status_code == 204
    assert asked.headers["Access-Control-Allow-Methods"] == "POST"
    reply = await door.post(event(), headers={"Origin": "https://chat.example"})
    assert reply.headers["Access-Control-Allow-Origin"] == "https://chat.example"
    reply = await door.post(event(2), headers={"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in reply.headers


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD"])
async def test_other_methods_are_405(method):
    async with Door().client() as client:
        reply = await client.request(method, "/v1/batch")
    assert (reply.status_code, reply.headers["Allow"]) == (405, "OPTIONS, POST")


async def test_an_unknown_path_is_a_problem():
    reply = await get(Door(), "/v1/nothing")
    assert (reply.status_code, reply.headers["Content-Type"]) == (404, "application/problem+json")


async def test_an_unforeseen_error_is_a_500_and_the_outcome_unknown(monkeypatch):
    door = Door()

    async def fail(*_):
        raise RuntimeError("boom")

    monkeypatch.setattr(door.intake, "take", fail)
    reply = await door.post(event())
    assert reply.status_code == 500
    assert "boom" not in reply.text


async def test_health_and_version():
    door = Door()
    assert (await get(door, "/healthz")).json() == {"alive": True}
    ready = await get(door, "/readyz")
    assert (ready.status_code, ready.json()["ready"]) == (200, True)
    door.health.add("producer", lambda: Check(False, "fenced"))
    unready = await get(door, "/readyz")
    assert (unready.status_code, unready.json()["checks"]["producer"]) == (503, {"ok": False, "detail": "fenced"})
    assert (await get(door, "/version")).json()["name"] == "hubbub"


async def test_a_full_queue_is_not_ready():
    door = Door(in_flight_events=1)
    door.deliveries.quiet = True
    await door.post(event())
    assert (await get(door, "/readyz")).status_code == 503


@pytest.mark.parametrize("path", ["/metrics", "/docs"])
@pytest.mark.parametrize(
    ("host", "opened", "status"),
    [
        ("127.0.0.1", False, 200),
        ("::1", False, 200),
        ("10.1.2.3", False, 403),
        ("10.1.2.3", True, 200),
        ("", False, 403),
    ],
)
async def test_insights_are_for_this_machine_unless_opened(path, host, opened, status):
    assert (await get(Door(open_docs=opened), path, host)).status_code == status


async def test_metrics_count_outcomes():
    door = Door()
    await door.post([event(1), event(1), {"id": "x"}])
    text = (await get(door, "/metrics")).text
    for outcome in ("accepted", "duplicate", *EVENT_CODES):
        assert f'hubbub_ingest_events_total{{outcome="{outcome}"}}' in text


async def test_the_document_describes_every_route():
    door = Door()
    document = (await get(door, "/openapi.json")).json()
    assert document == msgspec.json.decode(msgspec.json.encode(openapi.document()))
    routes = {route.path for route in door.app.router.routes if isinstance(route, Route)}
    assert set(document["paths"]) == {path.replace(":path}", "}") for path in routes}
    references = [part for part in msgspec.json.encode(document).decode().split('"') if part.startswith("#/")]
    for reference in references:
        _, _, kind, name = reference.split("/")
        assert name in document["components"][kind]
    assert "tenant" not in document["components"]["schemas"]["Event"]["properties"]


async def test_the_page_needs_nothing_from_elsewhere():
    page = (await get(Door(), "/docs")).text
    assert "/v1/batch" in page
    assert "http://" not in page
    assert "https://" not in page
