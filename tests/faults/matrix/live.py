"""Rows 32 and 34: live readers, and the API behind them."""

import asyncio
import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from tests.faults.row import Row, kill, times
from tests.faults.scene import Scene

_READERS = 1_000
#: Megabytes by which one reader that reads nothing may make the API grow.
_GROWTH = 50


def stalled_reader(scene: Scene) -> None:
    """Many readers, and then one among them that reads nothing."""
    address = urlsplit(scene.stack.api_url)
    request = (
        f"GET /v1/live/events HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {scene.key}\r\n\r\n".encode()
    )
    place = (address.hostname or "", address.port or 0)
    with crowd(place, request, _READERS), scene.measures.memory("api") as megabytes:
        scene.stay(10)
        before = max(megabytes)
        # In turns, so that whatever else the machine does falls on both.
        for _ in range(4):
            with scene.measures.live("live among many"):
                scene.stay(20)
            with socket.create_connection(place) as stalled:
                stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                stalled.sendall(request)
                with scene.measures.live("live with one stalled"):
                    scene.stay(20)
    scene.claim("the others are not delayed", scene.measures.slower("live among many", "live with one stalled", 1.05))
    most = max(megabytes)
    grown = [f"{before} MB before"] if most > before + _GROWTH else []
    scene.claim("I8 the API stays within its memory", grown, f"{before} MB before, {most} MB at most")


@contextmanager
def crowd(place: tuple[str, int], request: bytes, number: int) -> Iterator[None]:
    """So many readers that take what comes and keep nothing, until the end of the block."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limits[1], 4 * number), limits[1]))
    there, over = threading.Event(), threading.Event()

    async def read() -> None:
        reader, writer = await asyncio.open_connection(*place)
        writer.write(request)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        open_readers.append(writer)
        while await reader.read(65_536):
            pass

    async def run() -> None:
        tasks = []
        for at in range(number):
            tasks.append(asyncio.create_task(read()))
            if at % 20 == 0:
                await asyncio.sleep(0.05)  # arriving in a row, not as a herd: that is row 33
        while len(open_readers) < number:
            await asyncio.sleep(0.1)  # until the last is answered
        there.set()
        await asyncio.to_thread(over.wait)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    open_readers: list[asyncio.StreamWriter] = []
    thread = threading.Thread(target=asyncio.run, args=(run(),), name="crowd", daemon=True)
    thread.start()
    try:
        if not there.wait(120):
            raise TimeoutError(f"{len(open_readers)} of {number} readers were let in")
        yield
    finally:
        over.set()
        thread.join(30)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


ROWS = (
    Row(number=32, what="one of 1,000 live readers reads nothing, 4 times 20 s", body=stalled_reader, rate=10),
    Row(number=34, what="kill -9 the API, 10 times", body=times(10, kill("api"))),
)
