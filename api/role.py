"""The API process: serves reads, the live stream and the dashboard until it is told to stop."""

import asyncio
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager

import structlog
import uvicorn
import uvloop
from fastapi import FastAPI

from api.app import create_app
from api.settings import Api
from api.state import open_state
from infra.runtime.errors import PreconditionError
from infra.runtime.health import Check
from infra.runtime.logs import log_effective
from infra.runtime.settings import Cassandra, Kafka, Listen, Runtime

log = structlog.get_logger("hubbub.api")


def run() -> int:
    """Serve until SIGTERM or SIGINT, then 0.

    Raises `PreconditionError` when Kafka, Cassandra, a topic or the port is not there.
    """
    kafka, cassandra, listen, runtime, settings = Kafka(), Cassandra(), Listen(), Runtime(), Api()
    log_effective(kafka, cassandra, listen, runtime, settings)
    listener = _listen(listen.host, listen.api_port)
    try:
        state, follower = open_state(settings, kafka, cassandra, runtime)
        state.health.add("control", lambda: Check(follower.following, f"{len(state.directory.keys)} keys"))
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_serve(create_app(state), listener, runtime.stop_seconds))
        finally:
            follower.stop()
            state.database.close()
    finally:
        listener.close()
    return 0


async def _serve(app: FastAPI, listener: socket.socket, stop_seconds: float) -> None:
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
        )
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
    """Leaves signals to the role: uvicorn would raise them again at the end and hide the exit code."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise PreconditionError(
            f"cannot listen on {host}:{port}: {error.strerror}. Set HUBBUB_API_PORT to a free port."
        ) from error
