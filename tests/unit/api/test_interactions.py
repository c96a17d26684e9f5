"""Sessions and response times as they are served: final behind their own watermark, and who waits now."""

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from infra.contracts.interactions import BUCKET_ERROR, Board, Waiting, bucket
from infra.contracts.windows import HOUR, QUARTER, Grain
from tests.unit.api.conftest import NOW, Client, say
from tests.unit.api.memory import MemoryDatabase

QUARTER_NOW = QUARTER.start(NOW)
WATERMARK = QUARTER_NOW - timedelta(minutes=3)


def put(
    database: MemoryDatabase, start: datetime, grain: Grain = QUARTER, *, scope: str = "tenant", **row: Any
) -> None:
    key = ("acme", scope, grain.name, grain.period_of(start))
    database.interactions.setdefault(key, {})[start] = {"revision": 1, **row}


async def get(client: Client, metric: str, query: str = "", secret: str = "read") -> Any:
    reply = await client(secret).get(f"/v1/metrics/{metric}?{query}")
    assert reply.status_code == 200, reply.text
    return reply.json()


async def test_a_window_is_final_and_complete_behind_the_watermark_of_the_interactions(
    client: Client, database: MemoryDatabase
):
    for quarters, sessions in ((2, 5), (1, 6), (0, 7)):
        put(database, QUARTER_NOW - quarters * QUARTER.width, sessions=sessions, revision=40 + sessions)
    put(database, QUARTER_NOW - 3 * QUARTER.width, answered=3)
    database.progress = (NOW, "{}", NOW)
    body = await get(client, "sessions")
    assert (body["as_of"], body["watermark"], body["complete"]) == (None, None, False)
    database.interactions_progress = (WATERMARK, "{}", NOW - timedelta(seconds=1))
    body = await get(client, "sessions")
    assert body["points"] == [
        {"start": "2026-03-14T11:30:00Z", "end": "2026-03-14T11:45:00Z", "value": 5, "final": True, "revision": 45},
        {"start": "2026-03-14T11:45:00Z", "end": "2026-03-14T12:00:00Z", "value": 6, "final": False, "revision": 46},
        {"start": "2026-03-14T12:00:00Z", "end": "2026-03-14T12:15:00Z", "value": 7, "final": False, "revision": 47},
    ]
    assert (body["grain"], body["as_of"], body["watermark"]) == ("15m", "2026-03-14T12:00:29Z", "2026-03-14T11:57:00Z")
    assert (body["lag_seconds"], body["complete"]) == (90.0, False)
    assert (await get(client, "sessions", "to=2026-03-14T11:45:00Z"))["complete"] is True


async def test_response_times_are_quantiles_with_their_error(client: Client, database: MemoryDatabase):
    buckets = {bucket(seconds): number for seconds, number in ((30, 5), (600, 4), (7_200, 1))}
    put(database, HOUR.start(NOW), HOUR, scope="channel:help", responses=buckets, answered=10)
    channel = "scope=channel:help&grain=1h"
    for metric, seconds in (("response_time_p50", 30), ("response_time_p90", 600), ("response_time_p95", 600)):
        (point,) = (await get(client, metric, channel))["points"]
        assert point["value"] == pytest.approx(seconds, rel=0.05)
        assert (point["approximate"], point["error"]) == (True, round(BUCKET_ERROR, 4))
    (point,) = (await get(client, "answered", channel))["points"]
    assert (point["value"], "approximate" in point) == (10, False)
    assert (await get(client, "unanswered", "grain=1h"))["points"] == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("metrics/sessions?scope=channel:help", 400),
        ("metrics/sessions?grain=1m", 400),
        ("metrics/answered?scope=channel:nowhere", 404),
        ("waiting?scope=channel:nowhere", 404),
        ("waiting?scope=user:ann", 422),
        ("waiting?limit=0", 422),
        ("waiting?order=oldest", 422),
        ("waiting?limit=101", 422),
    ],
)
async def test_what_cannot_be_answered_is_refused(client: Client, path: str, status: int):
    reply = await client("read").get(f"/v1/{path}")
    assert (reply.status_code, reply.headers["content-type"]) == (status, "application/problem+json")


def board(*ids: str, total: int | None = None) -> str:
    waits = [
        Waiting(channel_id="help", thread_id=None, message_id=id_, author="ann", since=NOW - timedelta(minutes=9 - n))
        for n, id_ in enumerate(ids)
    ]
    found = Board(total=len(ids) if total is None else total, longest=waits, newest=waits[::-1])
    return msgspec.json.encode(found).decode()


async def test_who_waits_is_listed_the_longest_first_and_always_provisional(client: Client, database: MemoryDatabase):
    empty = (await client("read").get("/v1/waiting")).json()
    assert (empty["waiting"], empty["total"], empty["as_of"], empty["provisional"]) == ([], 0, None, True)
    database.waiting["acme", "tenant"] = board("q1", "q2", "q3", total=240)
    database.interactions_progress = (WATERMARK, "{}", NOW - timedelta(seconds=1))
    body = (await client("read").get("/v1/waiting?limit=2")).json()
    assert body == {
        "scope": "tenant",
        "order": "longest",
        "waiting": [
            {"channel_id": "help", "thread_id": None, "message_id": "q1", "author": "ann",
             "since": "2026-03-14T11:51:30Z"},
            {"channel_id": "help", "thread_id": None, "message_id": "q2", "author": "ann",
             "since": "2026-03-14T11:52:30Z"},
        ],
        "total": 240,
        "provisional": True,
        "as_of": "2026-03-14T12:00:29Z",
    }  # fmt: skip
    newest = (await client("read").get("/v1/waiting?order=newest&limit=2")).json()
    assert [wait["message_id"] for wait in newest["waiting"]] == ["q3", "q2"]
    assert (await client("stranger").get("/v1/waiting")).json()["waiting"] == []
    assert (await client("writer").get("/v1/waiting")).status_code == 403


async def test_a_token_sees_who_waits_in_its_channels_alone(client: Client, database: MemoryDatabase):
    database.put(say("m", channel="quiet"))
    database.waiting["acme", "tenant"] = board("q1", "q2")
    database.waiting["acme", "channel:help"] = board("q1")
    database.waiting["acme", "channel:staff"] = board("q2")
    grant = {"user_id": "ann", "channels": ["help", "quiet"], "ttl": 60}
    token = (await client("read").post("/v1/tokens", json=grant)).json()["token"]
    assert (await client(token).get("/v1/waiting")).status_code == 403
    assert (await client(token).get("/v1/waiting?scope=channel:staff")).status_code == 404
    (wait,) = (await client(token).get("/v1/waiting?scope=channel:help")).json()["waiting"]
    assert wait["message_id"] == "q1"
    assert (await client(token).get("/v1/waiting?scope=channel:quiet")).json()["total"] == 0
    assert (await client(token).get("/v1/metrics/sessions")).status_code == 403
