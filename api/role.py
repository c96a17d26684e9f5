"""The API process: serves reads, the live stream and the dashboard until it is told to stop."""

import asyncio
import random
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager

import structlog
import uvicorn
import uvloop
from fastapi import FastAPI

from api.app import create_app
from api.live.feed import Feed
from api.settings import Api, Live
from api.state import open_state
from infra.runtime.errors import PreconditionError
from infra.runtime.health import Check
from infra.runtime.logs import log_effective
from infra.runtime.settings import Cassandra, Kafka, Listen, Runtime

log = structlog.get_logger("hubbub.api")

#: How long a client may take in nothing of what waits for it.
_STALLED_MS = 30_000


def run() -> int:
    """Serve until SIGTERM or SIGINT, then 0.

    Raises `PreconditionError` when Kafka, Cassandra, a topic or the port is not there.
    """
    kafka, cassandra, listen, runtime, settings, live = Kafka(), Cassandra(), Listen(), Runtime(), Api(), Live()
    if not settings.ingest_url:
        here = f"http://{listen.reachable_host}:{listen.ingest_port}"
        settings = settings.model_copy(update={"ingest_url": here})
    log_effective(kafka, cassandra, listen, runtime, settings, live)
    listener = _listen(listen.host, listen.api_port)
    try:
        state, follower = open_state(settings, kafka, cassandra, runtime)
        state.health.add("control", lambda: Check(follower.following, f"{len(state.directory.keys)} keys"))
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                feed = Feed(state, live, random.random)
                runner.run(_serve(create_app(state, feed), feed, listener, runtime.stop_seconds))
        finally:
            follower.stop()
            state.database.close()
    finally:
        listener.close()
    return 0


async def _serve(app: FastAPI, feed: Feed, listener: socket.socket, stop_seconds: float) -> None:
    loop = asyncio.get_running_loop()
    server = _Server(
        uvicorn.Config(
            app,
            loop="uvloop",
            http="httptools",
            ws="websockets-sansio",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=max(1, int(stop_seconds)),
            ws_max_size=feed.settings.message_bytes,
            ws_per_message_deflate=False,  # a few bytes could unfold to megabytes, and each socket would hold a window
        ),
        feed,
    )

    def stop() -> None:
        log.info("stopping")
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    log.info("serving", address=listener.getsockname()[:2])
    await server.serve(sockets=[listener])
    log.info("stopped")


class _Server(uvicorn.Server):
    """Leaves signals to the role: uvicorn would raise them again at the end and hide the exit code.

    Live streams end before their connections do, each with its last resume token.
    """

    def __init__(self, config: uvicorn.Config, feed: Feed) -> None:
        super().__init__(config)
        self._feed = feed

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        await self._feed.stop()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise PreconditionError(
            f"cannot listen on {host}:{port}: {error.strerror}. Set HUBBUB_API_PORT to a free port."
        ) from error
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # Inherited by each connection: the kernel drops a client that reads nothing, which no close of ours could.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _STALLED_MS)
    return listener
