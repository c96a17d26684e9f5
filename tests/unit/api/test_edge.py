"""Every reply carries the security headers; bodies are bounded; operations are for this machine."""

from collections.abc import AsyncIterator

import httpx
import pytest

from api.app import create_app
from api.edge import content_security_policy, kept_segments
from api.state import State
from tests.unit.api.conftest import Client


@pytest.mark.parametrize("path", ["/healthz", "/v1/channels", "/nowhere", "/docs", "/v1/metrics/none", "/openapi.json"])
async def test_security_headers_are_on_everything(client: Client, path: str):
    for secret in ("read", None):
        headers = (await client(secret).get(path)).headers
        assert headers["content-security-policy"] == content_security_policy()
        assert "unsafe" not in content_security_policy()
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


async def test_unknown_paths_and_methods_are_problems(client: Client):
    missing, wrong = await client("read").get("/v2"), await client("read").put("/v1/channels")
    assert (missing.status_code, missing.json()["title"]) == (404, "Not found")
    assert (wrong.status_code, wrong.json()["title"]) == (405, "Method not allowed")
    assert missing.headers["content-type"] == wrong.headers["content-type"] == "application/problem+json"


async def test_a_long_body_is_413(client: Client):
    body = b'{"key": "' + b"x" * 100_000 + b'"}'

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 1_000):
            yield body[start : start + 1_000]

    for content in (body, chunks()):
        reply = await client(None).post("/v1/session", content=content)
        assert (reply.status_code, reply.json()["title"]) == (413, "Too large")


async def test_a_fault_in_a_body_is_named_and_not_repeated(client: Client):
    reply = await client("read").post("/v1/tokens", json={"user_id": "u", "channels": ["c"], "ttl": "my words"})
    assert "body.ttl" in reply.json()["detail"]
    assert "my words" not in reply.text


async def test_an_unforeseen_error_tells_nothing(client: Client, state: State):
    state.database.fail = ZeroDivisionError("inner words")  # type: ignore[attr-defined]
    reply = await client("read").get("/v1/channels")
    assert (reply.status_code, reply.headers["content-type"]) == (500, "application/problem+json")
    assert "inner words" not in reply.text


@pytest.mark.parametrize(
    ("host", "status"), [("127.0.0.1", 200), ("::1", 200), ("192.0.2.1", 403), ("testclient", 403)]
)
@pytest.mark.parametrize("path", ["/metrics", "/docs"])
async def test_metrics_and_docs_are_for_this_machine(state: State, host: str, status: int, path: str):
    transport = httpx.ASGITransport(create_app(state), client=(host, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://hubbub") as client:
        assert (await client.get(path)).status_code == status


async def test_docs_name_every_route_and_load_nothing(client: Client):
    page = (await client(None).get("/docs")).text
    document = (await client(None).get("/openapi.json")).json()
    for path in document["paths"]:
        assert path in page
    assert "<script" not in page
    assert "://" not in page


async def test_health(client: Client):
    assert (await client(None).get("/healthz")).json() == {"alive": True}
    assert (await client(None).get("/version")).json()["name"] == "hubbub"
    report = await client(None).get("/readyz")
    assert (report.status_code, report.json()["checks"]["cassandra"]["detail"]) == (503, "not started")


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"/v1/channels/a%2Fb/messages", "/v1/channels/a%2Fb/messages"),
        (b"/v1/channels/50%25/messages?x=%2F", "/v1/channels/50%25/messages"),
        (b"/v1/channels/%252F", "/v1/channels/%252F"),
        (b"/plain", "/plain"),
    ],
)
def test_segments_stay_apart(raw: bytes, path: str):
    decoded = httpx.URL(f"http://x{raw.decode()}").path
    assert kept_segments({"path": decoded, "raw_path": raw}) == path


async def test_the_dashboard_may_talk_to_ingest_and_to_nobody_else(client):
    headers = (await client(None).get("/")).headers
    directives = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert directives["connect-src"] == "'self' http://ingest.example"
    assert {value for name, value in directives.items() if name != "connect-src"} <= {
        "'none'",
        "'self'",
        "'self' data:",
    }
