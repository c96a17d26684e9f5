"""Deny by default: no key, a wrong key, another tenant's ids and another channel's all get the same nothing."""

import re
from datetime import timedelta

import httpx
import pytest

from api.app import create_app
from api.auth import COOKIE
from api.state import State
from infra.contracts.control import hash_secret
from infra.runtime.clock import ManualClock
from infra.runtime.control import Directory
from tests.unit.api.conftest import NOW, Client, say, uuid_at
from tests.unit.api.memory import MemoryDatabase

OPEN = {"/healthz", "/readyz", "/version", "/openapi.json", "/metrics", "/docs", "/v1/session"}
MESSAGE = uuid_at(NOW)
CHANNEL_PATHS = (
    "/v1/channels/{}/messages",
    f"/v1/channels/{{}}/messages/{MESSAGE}",
    f"/v1/channels/{{}}/messages?around={MESSAGE}",
    "/v1/metrics/messages_sent?scope=channel:{}",
)
TENANT_PATHS = (
    "/v1/top/channels",
    "/v1/top/users",
    "/v1/held",
    "/v1/events/m1/trace",
    "/v1/metrics/messages_sent",
    "/v1/metrics/messages_sent?scope=tenant",
)


async def token(client: Client, channels: list[str], user_id: str = "ann", ttl: int = 60) -> str:
    reply = await client("read").post("/v1/tokens", json={"user_id": user_id, "channels": channels, "ttl": ttl})
    assert reply.status_code == 200, reply.text
    issued: str = reply.json()["token"]
    return issued


def paths(state: State) -> list[tuple[str, str]]:
    """Every read route, its parameters filled in."""
    found = []
    for path, operations in create_app(state).openapi()["paths"].items():
        if path not in OPEN:
            found += [(method, re.sub(r"{\w+}", "x", path)) for method in operations]
    return found


@pytest.mark.parametrize("secret", [None, "unknown", "hubt_", "hubt_AAAA", "a b", "é"])
async def test_every_route_refuses_who_has_no_key(client: Client, state: State, secret: str | None):
    routes = paths(state)
    assert len(routes) > 8
    headers = [] if secret is None else [(b"Authorization", f"Bearer {secret}".encode())]
    for method, path in routes:
        reply = await client(None).request(method, path, json={"user_id": "u", "channels": ["c"]}, headers=headers)
        assert (reply.status_code, path) == (401, path)
        assert reply.headers["content-type"] == "application/problem+json"
        assert reply.headers["www-authenticate"] == "Bearer"


async def test_every_route_refuses_a_key_that_may_only_write(client: Client, state: State):
    for method, path in paths(state):
        reply = await client("writer").request(method, path, json={"user_id": "u", "channels": ["c"]})
        assert (reply.status_code, path) == (403, path)


async def test_another_tenants_ids_answer_as_ids_that_never_were(client: Client, database: MemoryDatabase):
    database.put(say(MESSAGE))
    database.channels["acme"] = {"general": (NOW, "General", NOW)}
    stranger = client("stranger")
    for path in CHANNEL_PATHS:
        foreign = await stranger.get(path.format("general"))
        never = await stranger.get(path.format("never-was"))
        assert (foreign.status_code, path) == (404, path)
        assert foreign.content == never.content
    assert (await stranger.get("/v1/channels")).json()["channels"] == []
    assert (await stranger.get("/v1/users/ann/unread")).json()["channels"] == []


async def test_a_foreign_cursor_opens_nothing(client: Client, database: MemoryDatabase):
    database.put(say(MESSAGE))
    database.put(say(MESSAGE, tenant="other"))
    database.put(say(MESSAGE, channel="second"))
    cursor = (await client("read").get("/v1/channels/general/messages")).json()["prev_cursor"]
    assert (await client("read").get(f"/v1/channels/general/messages?before={cursor}")).status_code == 200
    assert (await client("stranger").get(f"/v1/channels/general/messages?before={cursor}")).status_code == 400
    assert (await client("read").get(f"/v1/channels/second/messages?before={cursor}")).status_code == 400


async def test_the_cache_keeps_tenants_apart(client: Client, database: MemoryDatabase):
    database.put(say(MESSAGE, text="ours"))
    database.put(say(MESSAGE, text="theirs", tenant="other"))
    for _ in range(2):
        assert "ours" in (await client("read").get("/v1/channels/general/messages")).text
        assert "theirs" in (await client("stranger").get("/v1/channels/general/messages")).text


async def test_a_token_reads_its_channels_and_nothing_else(client: Client, database: MemoryDatabase):
    database.put(say(MESSAGE))
    database.put(say(MESSAGE, channel="secret"))
    database.channels["acme"] = {"general": (NOW, None, NOW), "secret": (NOW, None, NOW)}
    database.memberships["acme", "ann"] = [("general", NOW - timedelta(days=1), True), ("secret", NOW, True)]
    holder = client(await token(client, ["general"]))
    # The newest page is cached for everybody: the check comes first.
    assert (await client("read").get("/v1/channels/secret/messages")).status_code == 200
    for path in CHANNEL_PATHS:
        assert ((await holder.get(path.format("general"))).status_code, path) == (200, path)
        foreign, never = await holder.get(path.format("secret")), await holder.get(path.format("never-was"))
        assert (foreign.status_code, foreign.content) == (404, never.content)
    for path in TENANT_PATHS:
        assert ((await holder.get(path)).status_code, path) == (403, path)
    assert [c["channel_id"] for c in (await holder.get("/v1/channels")).json()["channels"]] == ["general"]
    assert [c["channel_id"] for c in (await holder.get("/v1/users/ann/unread")).json()["channels"]] == ["general"]
    assert (await holder.get("/v1/users/bob/unread")).status_code == 404
    assert (await holder.post("/v1/tokens", json={"user_id": "u", "channels": ["secret"]})).status_code == 403
    reply = await client(None).post("/v1/session", json={"key": await token(client, ["general"])})
    assert reply.status_code == 401


async def test_a_token_ends_with_its_time_and_with_its_key(
    client: Client, clock: ManualClock, directory: Directory, state: State
):
    first = await token(client, ["general"], ttl=60)
    principal = state.authenticator.by_secret(first)
    assert principal is not None
    assert state.authenticator.still_valid(principal)
    clock.advance(61)
    assert not state.authenticator.still_valid(principal)
    assert (await client(first).get("/v1/channels")).status_code == 401
    second = await token(client, ["general"], ttl=60)
    assert (await client(second).get("/v1/channels")).status_code == 200
    del directory.keys[hash_secret("read")]
    assert (await client(second).get("/v1/channels")).status_code == 401
    assert (await client("read").get("/v1/channels")).status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        {"user_id": "u", "channels": []},
        {"user_id": "u", "channels": ["c"], "ttl": 0},
        {"user_id": "", "channels": ["c"]},
        {"user_id": "u", "channels": ["c"], "tenant": "other"},
        {"user_id": "u", "channels": ["c"] * 201},
    ],
)
async def test_a_token_that_asks_too_much_is_422(client: Client, body: dict[str, object]):
    assert (await client("read").post("/v1/tokens", json=body)).status_code == 422


async def test_a_long_life_is_cut_to_the_longest(client: Client):
    body = {"user_id": "u", "channels": ["c"], "ttl": 10**12}
    assert (await client("read").post("/v1/tokens", json=body)).json()["expires_at"] == "2026-03-15T12:00:30Z"


async def login(client: Client, **headers: str) -> httpx.Response:
    return await client(None).post("/v1/session", json={"key": "read"}, headers=headers)


async def test_a_session_cookie_reads_and_does_nothing_else(client: Client, clock: ManualClock):
    reply = await login(client)
    cookie = reply.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "read" not in cookie.partition(";")[0]
    browser = client(None)
    browser.cookies.set(COOKIE, reply.cookies[COOKIE])
    assert (await browser.get("/v1/channels")).status_code == 200
    assert (await browser.post("/v1/tokens", json={"user_id": "u", "channels": ["c"]})).status_code == 401
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "http://evil"}):
        assert (await browser.get("/v1/channels", headers=headers)).status_code == 401
    for headers in ({"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://hubbub"}):
        assert (await browser.get("/v1/channels", headers=headers)).status_code == 200
    clock.advance(13 * 3600)
    assert (await browser.get("/v1/channels")).status_code == 401


async def test_a_session_is_not_a_token_nor_a_token_a_session(client: Client):
    session = (await login(client)).cookies[COOKIE]
    assert (await client("hubt_" + session).get("/v1/channels")).status_code == 401
    browser = client(None)
    browser.cookies.set(COOKIE, (await token(client, ["c"])).removeprefix("hubt_"))
    assert (await browser.get("/v1/channels")).status_code == 401


async def test_logging_in_from_elsewhere_or_with_a_wrong_key_is_refused(client: Client):
    assert (await login(client, **{"Sec-Fetch-Site": "cross-site"})).status_code == 403
    for key, status in (("unknown", 401), ("writer", 403), ("", 422)):
        assert (await client(None).post("/v1/session", json={"key": key})).status_code == status


async def test_logging_out_forgets_the_cookie(client: Client):
    reply = await client(None).delete("/v1/session")
    assert reply.status_code == 204
    assert "Max-Age=0" in reply.headers["set-cookie"]
