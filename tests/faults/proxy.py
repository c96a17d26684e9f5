"""A TCP proxy that misbehaves on demand, before Kafka, Cassandra or HTTP, on a thread and an event loop of its own.

Before Kafka it forwards whole messages and puts its own port where the broker advertises its address, so that clients
stay on it. "up" is from the client to the server, "down" the other way.
"""

import asyncio
import random
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final, Literal

Direction = Literal["up", "down"]

_CHUNK: Final = 65_536
#: The longest Kafka message that is carried.
_LONGEST: Final = 2**24
#: Pieces under way in one direction of one connection; whoever sends more is made to wait.
_QUEUE: Final = 64


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What a proxy does to its connections; by default nothing.

    `latency` and `jitter` (at most so much more) are seconds each way, `bandwidth` is bytes/s each way, `piece` the
    most bytes of one write. What is swallowed vanishes without a reset, from now on or after so many more bytes.
    """

    refuse: bool = False
    swallow: tuple[Direction, ...] = ()
    swallow_after: int | None = None
    hold: bool = False
    latency: float = 0.0
    jitter: float = 0.0
    bandwidth: float | None = None
    piece: int | None = None


CLEAR: Final = Fault()
CUT: Final = Fault(refuse=True)
BLACKHOLE: Final = Fault(swallow=("up", "down"))
LOST_ANSWERS: Final = Fault(swallow=("down",))
HELD: Final = Fault(hold=True)


class Proxy:
    """Between clients of `address` and the server given."""

    def __init__(self, host: str, port: int, *, kafka: bool = False, seed: int = 0) -> None:
        self.host, self._target = host, port
        self.port = 0
        self._kafka = kafka
        self._rng = random.Random(seed)
        self._fault = CLEAR
        self._left = 0
        self._passing = asyncio.Event()
        self._passing.set()
        self._open: set[asyncio.StreamWriter] = set()
        #: Connections that lost bytes: they can carry nothing that makes sense any more.
        self._torn: set[asyncio.StreamWriter] = set()

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    async def become(self, fault: Fault) -> None:
        """From now on. What was held goes on, late; connections that lost bytes are reset once bytes pass again."""
        self._fault, self._left = fault, fault.swallow_after or 0
        (self._passing.clear if fault.hold else self._passing.set)()
        doomed = self._open if fault.refuse else set() if fault.swallow else self._torn
        for writer in list(doomed):
            writer.transport.abort()

    async def serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        """Carry one connection until either side hangs up."""
        try:
            if self._fault.refuse:
                raise ConnectionRefusedError
            server, to_server = await asyncio.open_connection(self.host, self._target)
        except ConnectionError:
            to_client.transport.abort()
            return
        ends = {to_client, to_server}
        self._open |= ends
        try:
            await asyncio.gather(self._pump("up", client, to_server, ends), self._pump("down", server, to_client, ends))
        finally:
            self._open -= ends
            self._torn -= ends

    async def _pump(
        self,
        direction: Direction,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        ends: set[asyncio.StreamWriter],
    ) -> None:
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_QUEUE)
        carrier = asyncio.create_task(self._carry(queue, sink))
        clock = asyncio.get_running_loop().time
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while data := await self._read(direction, source):
                    if self._swallows(direction, len(data)):
                        self._torn |= ends
                        continue
                    delay = self._fault.latency + self._rng.uniform(0, self._fault.jitter)
                    await queue.put((clock() + delay, data))
            await queue.put((0.0, b""))
            await carrier
        finally:
            carrier.cancel()
            for writer in ends:
                writer.transport.abort()

    async def _carry(self, queue: asyncio.Queue[tuple[float, bytes]], sink: asyncio.StreamWriter) -> None:
        """Write what is due, until an empty piece ends it."""
        clock = asyncio.get_running_loop().time
        while True:
            due, data = await queue.get()
            await asyncio.sleep(max(0.0, due - clock()))  # the latency is the fault
            await self._passing.wait()
            if not data:
                return
            step = self._fault.piece or len(data)
            with suppress(ConnectionError):  # the reader of the other direction finds out, and ends this one
                for at in range(0, len(data), step):
                    if self._fault.bandwidth:
                        await asyncio.sleep(min(step, len(data) - at) / self._fault.bandwidth)  # so is the bandwidth
                    sink.write(data[at : at + step])
                    await sink.drain()

    def _swallows(self, direction: Direction, count: int) -> bool:
        if self._fault.swallow_after is not None:
            self._left -= count
            return self._left < 0
        return direction in self._fault.swallow

    async def _read(self, direction: Direction, source: asyncio.StreamReader) -> bytes:
        if not self._kafka:
            return await source.read(_CHUNK)
        size = await source.readexactly(4)
        length = int.from_bytes(size, "big")
        if length > _LONGEST:
            raise ConnectionError(f"a message of {length} bytes")
        message = await source.readexactly(length)
        if direction == "down":
            theirs, ours = (self.host.encode() + struct.pack(">i", port) for port in (self._target, self.port))
            message = message.replace(theirs, ours)
        return size + message


class Controls:
    """A running proxy as other threads use it."""

    def __init__(self, proxy: Proxy, loop: asyncio.AbstractEventLoop) -> None:
        self._proxy, self._loop = proxy, loop
        self.address, self.port = proxy.address, proxy.port

    def call(self, action: Callable[[], object]) -> None:
        """Have the proxy's loop do this."""
        self._loop.call_soon_threadsafe(action)

    def become(self, fault: Fault) -> None:
        """In force when this returns."""
        asyncio.run_coroutine_threadsafe(self._proxy.become(fault), self._loop).result()


@contextmanager
def proxied(host: str, port: int, *, kafka: bool = False, seed: int = 0) -> Iterator[Controls]:
    """A proxy in front of this server until the end of the block."""
    started: Future[tuple[Controls, asyncio.Event]] = Future()

    async def serve() -> None:
        proxy, end = Proxy(host, port, kafka=kafka, seed=seed), asyncio.Event()
        async with await asyncio.start_server(proxy.serve, host, 0) as server:
            proxy.port = server.sockets[0].getsockname()[1]
            started.set_result((Controls(proxy, asyncio.get_running_loop()), end))
            await end.wait()
            server.close()
            await proxy.become(CUT)

    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="proxy", daemon=True)
    thread.start()
    controls, end = started.result()
    try:
        yield controls
    finally:
        controls.call(end.set)
        thread.join()
