"""The live endpoints of a real API process over a real Kafka; the router's part is played by a producer."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import websockets
from confluent_kafka import Producer

from infra.contracts.control import ApiKey, Scope, Tenant, hash_secret
from infra.runtime.control import publish
from infra.runtime.kafka import producer_config
from infra.runtime.settings import Cassandra, Kafka

KEY, OTHER_KEY = "hub_read_live", "hub_read_other"
QUIET = {"HUBBUB_LOG_LEVEL": "WARNING"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Router:
    """Writes to `events` as the router does: key, `src`, order."""

    kafka: Kafka
    written: int = 0
    _producer: Producer = field(init=False)

    def __post_init__(self) -> None:
        self._producer = Producer(producer_config(self.kafka, "test-router"))

    def write(self, channel: str, *names: str, tenant: str = "acme", again: bool = False, text: str = "") -> None:
        """Each name becomes an event; `again`: with the `src` its first copy had."""
        for name in names:
            number = int(name[1:]) if name[1:].isdigit() else self.written
            event = {
                "id": name,
                "type": "message.sent",
                "time": datetime.now(UTC).isoformat(),
                "tenant": tenant,
                "channel_id": channel,
                "user_id": "u",
                "text": text or name,
            }
            self._producer.produce(
                self.kafka.topic("events"),
                json.dumps(event).encode(),
                key=f"{tenant}:{channel}".encode(),
                headers=[("src", f"ingest/0/{number}/0".encode())],
            )
            self.written += 1
        assert self._producer.flush(10) == 0

    def point(self, tenant: str, scope: str) -> None:
        value = json.dumps({"tenant": tenant, "scope": scope, "grain": "1m", "values": {"sent": 1}})
        self._producer.produce(self.kafka.topic("metrics"), value.encode(), key=f"{tenant}:{scope}".encode())
        assert self._producer.flush(10) == 0


@dataclass
class Api:
    """The API as a child process on a fixed port."""

    environment: dict[str, str]
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from api.role import run; raise SystemExit(run())"], env=self.environment
        )
        deadline = time.monotonic() + 40
        while True:
            try:
                if httpx.get(self.url + "/readyz", timeout=2).status_code == 200:
                    return
            except httpx.TransportError:
                assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)  # another process's state can only be asked for

    def stop(self, number: int = signal.SIGKILL) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(20)


@pytest.fixture(scope="module")
def api(kafka: Kafka, cassandra: Cassandra, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    now = datetime.now(UTC)
    records: list[Tenant | ApiKey] = []
    for tenant, secret in (("acme", KEY), ("globex", OTHER_KEY)):
        records.append(Tenant(id=tenant))
        hashed = hash_secret(secret)
        records.append(ApiKey(hash=hashed, tenant=tenant, scopes=(Scope.READ,), name="t", created_at=now))
    publish(kafka, records)
    port = free_port()
    environment = {
        **os.environ,
        **QUIET,
        "HUBBUB_KAFKA_TOPIC_PREFIX": kafka.topic_prefix,
        "HUBBUB_CASSANDRA_KEYSPACE": cassandra.keyspace,
        "HUBBUB_API_PORT": str(port),
        "HUBBUB_DATA_DIR": str(tmp_path_factory.mktemp("api")),
        "HUBBUB_LIVE_QUEUE_EVENTS": "500",
    }
    running = Api(environment, port)
    running.start()
    yield running
    assert running.stop(signal.SIGTERM) == 0


@pytest.fixture(scope="module")
def router(kafka: Kafka) -> Router:
    return Router(kafka)


class Stream:
    """Server-sent events as they come."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()
        self.last_id: str | None = None

    async def next(self, seconds: float = 10) -> tuple[str, Any]:
        """The next event that has data, as (name, decoded data)."""
        name, data = "", ""
        async with asyncio.timeout(seconds):
            async for line in self._lines:
                key, _, value = line.partition(": ")
                if key == "id":
                    self.last_id = value
                elif key == "event":
                    name = value
                elif key == "data":
                    data = value
                elif not line and data:
                    return name, json.loads(data)
        raise EOFError

    async def texts(self, count: int) -> list[str]:
        return [(await self.next())[1]["text"] for _ in range(count)]


@asynccontextmanager
async def listening(api: Api, resume: str | None = None, key: str = KEY, **params: str) -> AsyncIterator[Stream]:
    headers = {"Authorization": f"Bearer {key}"} | ({"Last-Event-ID": resume} if resume else {})
    async with (
        httpx.AsyncClient(base_url=api.url, headers=headers, timeout=None) as client,
        client.stream("GET", "/v1/live/events", params=params) as response,
    ):
        assert response.status_code == 200
        yield Stream(response)


async def test_a_stream_is_ordered_complete_and_of_its_tenant(api: Api, router: Router) -> None:
    async with listening(api, channels="order") as mine, listening(api, key=OTHER_KEY) as foreign:
        assert (await mine.next())[1]["recovered"] is None
        assert (await foreign.next())[0] == "ready"
        names = [f"o{n}" for n in range(200)]
        router.write("order", *names)
        router.write("order", "z0", tenant="globex")
        assert await mine.texts(200) == names
        assert (await foreign.next())[1]["id"] == "z0"


async def test_replays_are_not_shown_twice(api: Api, router: Router) -> None:
    async with listening(api, channels="replay") as stream:
        await stream.next()
        router.write("replay", *(f"r{1000 + n}" for n in range(10)))
        router.write("replay", *(f"r{1000 + n}" for n in range(4, 12)), again=True)
        assert await stream.texts(12) == [f"r{1000 + n}" for n in range(12)]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_a_restart_leaves_no_gap_and_no_double(api: Api, router: Router, how: signal.Signals) -> None:
    channel, first = f"restart-{how}", 2000 + int(how) * 100
    async with listening(api, channels=channel) as stream:
        await stream.next()
        router.write(channel, *(f"m{first + n}" for n in range(10)))
        assert await stream.texts(10) == [f"m{first + n}" for n in range(10)]
        await asyncio.to_thread(api.stop, how)
        if how == signal.SIGTERM:
            assert (await stream.next())[1]["code"] == "stopping"
    router.write(channel, *(f"m{first + n}" for n in range(6, 20)), again=True)
    await asyncio.to_thread(api.start)
    async with listening(api, resume=stream.last_id, channels=channel) as resumed:
        assert (await resumed.next())[1]["recovered"] is True
        router.write(channel, *(f"m{first + n}" for n in range(15, 22)), again=True)
        assert await resumed.texts(12) == [f"m{first + n}" for n in range(10, 22)]


async def test_a_quiet_channel_resumes_too(api: Api, router: Router) -> None:
    async with listening(api, channels="quiet") as stream:
        await stream.next()
    router.write("quiet", "q5000")
    async with listening(api, resume=stream.last_id, channels="quiet") as resumed:
        assert (await resumed.next())[1]["recovered"] is True
        assert await resumed.texts(1) == ["q5000"]


async def test_a_false_token_is_not_recovered(api: Api) -> None:
    async with listening(api, resume="AAAA", channels="order") as stream:
        assert (await stream.next())[1]["recovered"] is False


async def test_what_is_wrong_at_first_is_a_problem(api: Api) -> None:
    async with httpx.AsyncClient(base_url=api.url) as client:
        for headers, status in (({}, 401), ({"Authorization": "Bearer no"}, 401)):
            reply = await client.get("/v1/live/events", headers=headers)
            assert reply.status_code == status
            assert reply.headers["content-type"] == "application/problem+json"


async def test_a_channel_token_reaches_its_channels_only(api: Api, router: Router) -> None:
    async with httpx.AsyncClient(base_url=api.url, headers={"Authorization": f"Bearer {KEY}"}) as client:
        issued = await client.post("/v1/tokens", json={"user_id": "u", "channels": ["mine"], "ttl": 60})
        token = issued.raise_for_status().json()["token"]
        refused = await client.get(
            "/v1/live/events", params={"channels": "order"}, headers={"Authorization": f"Bearer {token}"}
        )
        assert refused.status_code == 404
    async with listening(api, key=token) as stream:
        await stream.next()
        router.write("theirs", "t6000")
        router.write("mine", "t6001")
        assert await stream.texts(1) == ["t6001"]


async def test_metric_points_and_gauges_reach_their_tenant(api: Api, router: Router) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    async with (
        httpx.AsyncClient(base_url=api.url, headers=headers, timeout=None) as client,
        client.stream("GET", "/v1/live/metrics") as response,
    ):
        stream = Stream(response)
        assert (await stream.next())[0] == "ready"
        router.point("globex", "tenant")
        router.point("acme", "tenant")
        seen: dict[str, Any] = {}
        while not {"point", "live_rate", "live_subscribers"} <= seen.keys():
            name, data = await stream.next()
            assert data.get("tenant", "acme") == "acme"
            seen[data.get("metric", name)] = data
        assert seen["live_rate"]["source"] == "hub"


async def test_one_that_reads_nothing_is_cut_off_and_delays_nobody(api: Api, router: Router) -> None:
    with socket.socket() as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.connect(("127.0.0.1", api.port))
        stalled.sendall(
            f"GET /v1/live/events?channels=busy HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode()
        )
        assert stalled.recv(64).startswith(b"HTTP/1.1 200")
        async with listening(api, channels="busy") as stream:
            await stream.next()
            for n in range(30):
                router.write("busy", *(f"b{7000 + n * 50 + m}" for m in range(50)), text="x" * 7000)
                sent = time.monotonic()
                assert len(await stream.texts(50)) == 50
                assert time.monotonic() - sent < 2
            async with asyncio.timeout(10):
                while 'hubbub_live_disconnects_total{reason="slow"} 1.0' not in httpx.get(api.url + "/metrics").text:
                    await asyncio.sleep(0.1)  # another process's state can only be asked for


def connect(api: Api) -> Any:
    return websockets.connect(f"ws://127.0.0.1:{api.port}/v1/live/ws")


async def hear(socket: Any, seconds: float = 10) -> dict[str, Any]:
    async with asyncio.timeout(seconds):
        heard: dict[str, Any] = json.loads(await socket.recv())
        return heard


async def say(socket: Any, **message: Any) -> None:
    await socket.send(json.dumps(message))


async def test_a_socket_subscribes_resumes_and_answers(api: Api, router: Router) -> None:
    async with connect(api) as socket:
        await say(socket, op="auth", key=KEY)
        await say(socket, op="subscribe", channels=["ws"])
        assert (await hear(socket))["op"] == "subscribed"
        router.write("ws", "w9000", "w9001")
        first = await hear(socket)
        assert (first["op"], first["event"]["id"]) == ("event", "w9000")
        await say(socket, op="ping")
        assert (await hear(socket))["event"]["id"] == "w9001"
        assert (await hear(socket))["op"] == "pong"
        await say(socket, op="subscribe", channels=["ws2"])
        assert (await hear(socket))["op"] == "subscribed"
        await say(socket, op="unsubscribe", channels=["ws"])
        await say(socket, op="ping")
        await hear(socket)
        router.write("ws", "w9002")
        router.write("ws2", "w9003")
        assert (await hear(socket))["event"]["id"] == "w9003"
    async with connect(api) as socket:
        await say(socket, op="auth", key=KEY)
        await say(socket, op="subscribe", channels=["ws"], resume=first["token"])
        assert (await hear(socket))["recovered"] is True
        assert [(await hear(socket))["event"]["id"] for _ in range(2)] == ["w9001", "w9002"]
    async with connect(api) as socket:
        await say(socket, op="auth", key=KEY)
        await say(socket, op="subscribe", channels=["ws"], resume="AAAA")
        assert (await hear(socket))["recovered"] is False
        assert (await hear(socket))["op"] == "gap"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ('{"op":"auth","key":"wrong"}', 1008),
        ('{"op":"subscribe","channels":["a"]}', 1008),
        ("{", 1008),
        ('{"op":"auth","key":"' + "x" * 70_000 + '"}', 1009),
    ],
)
async def test_a_socket_that_breaks_a_rule_is_closed(api: Api, message: str, code: int) -> None:
    async with connect(api) as socket:
        await socket.send(message)
        with pytest.raises(websockets.ConnectionClosed):
            await hear(socket)
        assert socket.close_code == code


async def test_a_socket_hears_that_the_server_stops(api: Api, router: Router) -> None:
    async with connect(api) as socket:
        await say(socket, op="auth", key=KEY)
        await say(socket, op="subscribe", channels=["stop"])
        await hear(socket)
        router.write("stop", "s9900")
        token = (await hear(socket))["token"]
        await asyncio.to_thread(api.stop, signal.SIGTERM)
        assert await hear(socket) == {"op": "error", "code": "stopping", "token": token}
        with pytest.raises(websockets.ConnectionClosed):
            await hear(socket)
        assert socket.close_code == 1001
    await asyncio.to_thread(api.start)
