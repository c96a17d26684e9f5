"""The ingest process: takes events in over HTTP until it is told to stop, and leaves nothing acknowledged behind."""

import asyncio
import gc
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager

import structlog
import uvicorn
import uvloop

from infra.contracts.topics import BACKFILL, INGEST
from infra.runtime.clock import SystemClock
from infra.runtime.control import ControlFollower
from infra.runtime.errors import PreconditionError
from infra.runtime.health import Check
from infra.runtime.kafka import partitions_of
from infra.runtime.logs import log_effective
from infra.runtime.settings import Kafka, Listen, Runtime
from ingest.intake import Lane
from ingest.settings import Ingest
from ingest.stack import Stack
from ingest.topic_watch import TopicWatch

log = structlog.get_logger("hubbub.ingest")


def run() -> int:
    """Serve until SIGTERM or SIGINT. 0 after a graceful stop, 1 when the producer is broken for good.

    Raises `PreconditionError` when Kafka, a topic or the port is not there.
    """
    kafka, listen, runtime, settings = Kafka(), Listen(), Runtime(), Ingest()
    log_effective(kafka, listen, runtime, settings)
    listener = _listen(listen.host, listen.ingest_port)
    follower = ControlFollower(kafka, "hubbub-ingest")
    try:
        follower.start()
        lanes = {t.name: Lane(kafka.topic(t.name), partitions_of(kafka, t)) for t in (INGEST, BACKFILL)}
        # Requests make no cycles, so rare collections of what is younger than the start are enough: 8 % of the time.
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(listener, kafka, runtime, settings, follower, lanes))
    finally:
        follower.stop()
        listener.close()


async def _serve(
    listener: socket.socket,
    kafka: Kafka,
    runtime: Runtime,
    settings: Ingest,
    follower: ControlFollower,
    lanes: dict[str, Lane],
) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def give_up(_reason: str) -> None:
        loop.call_soon_threadsafe(stop.set)

    stack = Stack(kafka, settings, follower.directory, lanes, clock=SystemClock(), on_fatal=give_up)
    watch = TopicWatch(kafka, every=settings.topics_check_seconds)
    stack.health.add("topics", watch.check)
    stack.health.add("control", lambda: Check(follower.following, f"{len(follower.directory.keys)} keys"))
    server = _Server(
        uvicorn.Config(
            stack.app,
            loop="uvloop",
            http="httptools",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=max(1, int(runtime.stop_seconds)),
        )
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    watching = loop.create_task(watch.run())
    serving = loop.create_task(server.serve(sockets=[listener]))
    stopped = loop.create_task(stop.wait())
    log.info("serving", address=listener.getsockname()[:2])
    await asyncio.wait((serving, stopped), return_when=asyncio.FIRST_COMPLETED)
    deadline = stack.clock.monotonic() + runtime.stop_seconds
    log.info("stopping", fatal=stack.producer.fatal, in_flight=stack.framer.in_flight_events)
    server.should_exit = True
    await serving
    left = await stack.close(max(0.0, deadline - stack.clock.monotonic()))
    watching.cancel()
    stopped.cancel()
    log.info("stopped", unconfirmed=left)
    return 0 if stack.producer.fatal is None else 1


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
            f"cannot listen on {host}:{port}: {error.strerror}. Set HUBBUB_INGEST_PORT to a free port."
        ) from error
