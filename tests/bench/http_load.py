"""Closed-loop load over HTTP/1.1: so many connections, each with one request on its way, at little cost of its own."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length:"


class _Connection(asyncio.Protocol):
    def __init__(self, requests: Iterator[bytes], statuses: Counter[int], done: "asyncio.Future[None]") -> None:
        self._requests = requests
        self._statuses = statuses
        self._done = done
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(_END)
        if not found:
            return
        lower = head.lower()
        at = lower.find(_LENGTH)
        length = int(lower[at + len(_LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(body) < length:
            return
        self._received = body[length:]
        self._statuses[int(head[9:12])] += 1
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(error or ConnectionError("the server hung up"))

    def _next(self) -> None:
        request = next(self._requests, None)
        if request is not None:
            self._transport.write(request)
        else:
            self._done.set_result(None)
            self._transport.close()


def post(
    port: int, path: str, headers: Mapping[str, str], bodies: list[bytes], connections: int
) -> tuple[float, Counter[int]]:
    """Send every body once. Returns the seconds it took and the replies by status."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{lines}"
    requests = [f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies]
    return asyncio.run(_post(port, requests, connections))


async def _post(port: int, requests: list[bytes], connections: int) -> tuple[float, Counter[int]]:
    loop = asyncio.get_running_loop()
    left = iter(requests)
    statuses: Counter[int] = Counter()
    done = [loop.create_future() for _ in range(connections)]
    began = time.perf_counter()
    for future in done:
        await loop.create_connection(lambda future=future: _Connection(left, statuses, future), "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.gather(*done)
    return time.perf_counter() - began, statuses
