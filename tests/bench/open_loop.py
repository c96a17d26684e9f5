"""Open-loop load: each request has its moment, and is measured from it, whatever became of those before.

Else a server that stands still would also stop being asked, and its pause would count once (Tene, How NOT to Measure
Latency, 2015).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length:"
#: Replies after which an open loop is given up: the rate is beyond what is measured.
_MOST_WAITING: Final = 5_000


class Overloaded(Exception):
    """Requests pile up: there is no latency at this rate."""


async def open_loop(rate: float, seconds: float, send: Callable[[int], Awaitable[None]]) -> list[float]:
    """Seconds from each request's moment to its end. `send` is given its number. Raises `Overloaded`."""
    took: list[float] = []
    waiting: set[asyncio.Task[None]] = set()
    began = time.perf_counter()

    async def one(number: int, due: float) -> None:
        await send(number)
        took.append(time.perf_counter() - due)

    for number in range(int(rate * seconds)):
        due = began + number / rate
        if (pause := due - time.perf_counter()) > 0:
            await asyncio.sleep(pause)
        if len(waiting) > _MOST_WAITING:
            raise Overloaded(f"{_MOST_WAITING} requests wait at {rate:.0f} a second")
        task = asyncio.create_task(one(number, due))
        waiting.add(task)
        task.add_done_callback(waiting.discard)
    await asyncio.gather(*waiting)
    return took


async def closed_loop(seconds: float, concurrency: int, send: Callable[[int], Awaitable[None]]) -> float:
    """Requests a second when so many are always under way."""
    until = time.perf_counter() + seconds
    done = 0

    async def one() -> None:
        nonlocal done
        while time.perf_counter() < until:
            await send(done)
            done += 1

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(concurrency)))
    return done / (time.perf_counter() - began)


class Http:
    """Kept-alive connections to one server; each takes one request at a time."""

    def __init__(self, port: int, headers: str) -> None:
        self._port = port
        self._headers = headers
        self._free: list[_Connection] = []

    async def get(self, path: str) -> bytes:
        """The body of a 200. Raises `ConnectionError` for another status."""
        return await self._ask(f"GET {path} HTTP/1.1\r\nHost: bench\r\n{self._headers}\r\n".encode())

    async def post(self, path: str, body: bytes) -> bytes:
        """The same for JSON that is sent."""
        more = f"{self._headers}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        return await self._ask(f"POST {path} HTTP/1.1\r\nHost: bench\r\n{more}\r\n".encode() + body)

    async def _ask(self, request: bytes) -> bytes:
        connection = self._free.pop() if self._free else await self._connect()
        body = await connection.ask(request)
        self._free.append(connection)
        return body

    async def _connect(self) -> "_Connection":
        _, connection = await asyncio.get_running_loop().create_connection(_Connection, "127.0.0.1", self._port)
        return connection


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._received = b""
        self._reply: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def ask(self, request: bytes) -> "asyncio.Future[bytes]":
        self._reply = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._reply

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(_END)
        if not found or self._reply is None:
            return
        lower = head.lower()
        at = lower.find(_LENGTH)
        length = int(lower[at + len(_LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(body) < length:
            return
        self._received = b""
        if head[9:12] == b"200":
            self._reply.set_result(body)
        else:
            self._reply.set_exception(ConnectionError(head[:100].decode("latin-1")))

    def connection_lost(self, error: Exception | None) -> None:
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(error or ConnectionError("the server hung up"))
