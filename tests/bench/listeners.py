"""Many WebSocket clients in one process that cost little: they look for a mark in what comes, and parse nothing."""

import asyncio
import base64
import os
import struct
import time
from collections.abc import Sequence
from typing import Final

_OPENED: Final = b"\r\n\r\n"
_TEXT: Final = 0x81
_SECONDS: Final = 60.0


class Listener(asyncio.Protocol):
    """One client: says what it is given once connected, then counts how often the mark comes."""

    def __init__(self, path: str, sayings: Sequence[str], mark: bytes, ready: bytes, crowd: "Crowd") -> None:
        self._path = path
        self._sayings = sayings
        self._mark = mark
        self._ready = ready
        self._crowd = crowd
        self._open = False
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET {self._path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        if not self._open:
            head, found, data = data.partition(_OPENED)
            if not found:
                self._rest = head
                return
            assert head.startswith(b"HTTP/1.1 101"), head
            self._open = True
            for saying in self._sayings:
                self._transport.write(frame(saying.encode()))
        if self._ready and self._ready in data:
            self._ready = b""
            self._crowd.arrived()
        if count := data.count(self._mark):
            self._crowd.got(count)
        # The mark may be cut in two; one whole in what is kept would be counted twice.
        self._rest = data[-(len(self._mark) - 1) :]

    def connection_lost(self, error: Exception | None) -> None:
        self._crowd.lost()


class Crowd:
    """All clients of a process. `wait` returns when each has everything."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.ready = 0
        self.received = 0
        self.gone = 0
        self._wanted = 0
        self._all: asyncio.Future[float] = loop.create_future()

    def arrived(self) -> None:
        self.ready += 1

    def got(self, count: int) -> None:
        self.received += count
        if self._wanted and self.received >= self._wanted and not self._all.done():
            self._all.set_result(time.perf_counter())

    def lost(self) -> None:
        self.gone += 1

    def expect(self, count: int) -> "asyncio.Future[float]":
        """The moment at which so many more have come."""
        self._all = asyncio.get_running_loop().create_future()
        self._wanted = self.received + count
        return self._all


def frame(payload: bytes) -> bytes:
    """A client's text message. The mask is zero, which leaves the payload as it is (RFC 6455, 5.3)."""
    size = len(payload)
    if size < 126:
        head = struct.pack(">BB", _TEXT, 0x80 | size)
    elif size < 1 << 16:
        head = struct.pack(">BBH", _TEXT, 0x80 | 126, size)
    else:
        head = struct.pack(">BBQ", _TEXT, 0x80 | 127, size)
    return head + b"\0\0\0\0" + payload


async def connect(
    port: int, path: str, crowd: Crowd, clients: Sequence[Sequence[str]], mark: bytes, ready: bytes
) -> list[asyncio.Transport]:
    """Clients by what each says, all connected and ready."""
    loop = asyncio.get_running_loop()
    transports = []
    for sayings in clients:
        transport, _ = await loop.create_connection(
            lambda sayings=sayings: Listener(path, sayings, mark, ready, crowd),  # type: ignore[misc]
            "127.0.0.1",
            port,
        )
        transports.append(transport)
    deadline = time.monotonic() + _SECONDS
    while crowd.ready < len(clients):
        assert time.monotonic() < deadline, f"{crowd.ready} of {len(clients)} clients are ready"
        await asyncio.sleep(0.01)
    return transports
