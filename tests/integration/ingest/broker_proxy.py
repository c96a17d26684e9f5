"""A TCP proxy between a client and a Kafka broker that can cut, swallow, or lose only what the broker answers.

It puts its own port where the broker advertises its address, so clients stay on it.
"""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Literal

Mode = Literal["pass", "cut", "blackhole", "lose_answers"]


class BrokerProxy:
    """Forwards whole Kafka messages in both directions, as the mode allows."""

    def __init__(self, bootstrap: str) -> None:
        host, _, port = bootstrap.partition(",")[0].rpartition(":")
        self._host, self._port = host, int(port)
        self.port = 0
        self.mode: Mode = "pass"
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def address(self) -> str:
        return f"{self._host}:{self.port}"

    def become(self, mode: Mode) -> None:
        """From now on. Connections made in another mode are closed, unless it is to lose what they carry."""
        self.mode = mode
        if mode in ("pass", "cut"):
            for writer in self._writers:
                writer.transport.abort()

    async def serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        if self.mode == "cut":
            to_client.transport.abort()
            return
        broker, to_broker = await asyncio.open_connection(self._host, self._port)
        self._writers |= {to_client, to_broker}
        theirs, ours = (self._host.encode() + struct.pack(">i", port) for port in (self._port, self.port))
        await asyncio.gather(
            self._pump(client, to_broker, b"", b"", ("pass", "lose_answers")),
            self._pump(broker, to_client, theirs, ours, ("pass",)),
        )
        self._writers -= {to_client, to_broker}

    async def _pump(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        old: bytes,
        new: bytes,
        open_in: tuple[Mode, ...],
    ) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                size = await source.readexactly(4)
                message = await source.readexactly(int.from_bytes(size, "big"))
                if self.mode in open_in:
                    sink.write(size + message.replace(old, new))
                    await sink.drain()
        sink.transport.abort()


@asynccontextmanager
async def broker_proxy(bootstrap: str) -> AsyncIterator[BrokerProxy]:
    """A proxy in front of this broker."""
    proxy = BrokerProxy(bootstrap)
    server = await asyncio.start_server(proxy.serve, proxy._host, 0, limit=2**23)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        proxy.become("cut")
        server.close()
