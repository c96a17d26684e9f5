"""Fan-out over WebSockets: the bare `websockets.broadcast` of a ready frame, and Starlette's `send_json` in a loop.

`python -m tests.bench.peers.plain_fanout PORT (broadcast|send_json)`. A client's first message names its channel; a
message on the path `/feed` is JSON, `{"channel": ..., "event": {...}}` or an array of them, for all of that channel.
"""

import asyncio
import json
import sys
from collections import defaultdict
from typing import Any

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.server import ServerConnection, broadcast, serve


async def bare(port: int) -> None:
    """What a WebSocket library can do at most: the frame is made once."""
    channels: dict[str, set[ServerConnection]] = defaultdict(set)

    async def handle(socket: ServerConnection) -> None:
        assert socket.request is not None
        if socket.request.path == "/feed":
            async for text in socket:
                for one in json.loads(text):
                    broadcast(channels[one["channel"]], one["text"])
                    await asyncio.sleep(0)
            return
        channel = str(await socket.recv())
        channels[channel].add(socket)
        await socket.send("ready")
        await socket.wait_closed()
        channels[channel].discard(socket)

    async with serve(handle, "127.0.0.1", port, compression=None, max_size=None, ping_interval=None):
        await asyncio.get_running_loop().create_future()


def naive() -> Starlette:
    """As Starlette's documentation shows it."""
    channels: dict[str, set[WebSocket]] = defaultdict(set)

    async def feed(socket: WebSocket) -> None:
        await socket.accept()
        try:
            while True:
                found: list[dict[str, Any]] = await socket.receive_json()
                for one in found:
                    event = json.loads(one["text"])
                    for listener in channels[one["channel"]]:
                        await listener.send_json(event)
        except WebSocketDisconnect:
            return

    async def listen(socket: WebSocket) -> None:
        await socket.accept()
        channel = await socket.receive_text()
        channels[channel].add(socket)
        await socket.send_text("ready")
        try:
            await socket.receive_text()
        except WebSocketDisconnect:
            channels[channel].discard(socket)

    return Starlette(routes=[WebSocketRoute("/feed", feed), WebSocketRoute("/", listen)])


def main() -> None:
    """Serve until killed."""
    port, how = int(sys.argv[1]), sys.argv[2]
    if how == "broadcast":
        uvloop.run(bare(port))
    else:
        uvicorn.run(
            naive(), host="127.0.0.1", port=port, log_level="warning", loop="uvloop", ws="websockets-sansio",
            ws_max_size=1 << 30, ws_per_message_deflate=False, ws_ping_interval=None,
        )  # fmt: skip


if __name__ == "__main__":
    main()
