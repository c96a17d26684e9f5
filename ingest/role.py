"""The ingest process: takes events in over HTTP until it is told to stop, and leaves nothing acknowledged behind."""

import asyncio
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager

import structlog
import uuid_utils
import uvicorn
import uvloop

from infra.contracts.topics import BACKFILL, INGEST
from infra.runtime.clock import SystemClock
from infra.runtime.control import ControlFollower
from infra.runtime.errors import PreconditionError
from infra.runtime.health import Check, Health
from infra.runtime.kafka import AsyncDeliveries, DeliveringProducer, partitions_of, producer_config
from infra.runtime.logs import log_effective
from infra.runtime.settings import Kafka, Listen, Runtime
from infra.runtime.telemetry import QUEUED_EVENTS
from ingest.app import create_app
from ingest.dedupe import Seen
from ingest.framer import Framer
from ingest.intake import Intake, Lane
from ingest.limits import Limiter
from ingest.settings import Ingest
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
    clock = SystemClock()
    directory = follower.directory
    stop = asyncio.Event()
    config = producer_config(kafka, "hubbub-ingest", **{"linger.ms": 0})  # a frame has lingered already

    def give_up(_reason: str) -> None:
        loop.call_soon_threadsafe(stop.set)

    producer = DeliveringProducer(config, on_fatal=give_up)
    seen = Seen(seconds=settings.dedupe_seconds, limit=settings.dedupe_events, monotonic=clock.monotonic)
    framer = Framer(AsyncDeliveries(producer, loop), loop, linger=settings.linger_ms / 1000, settled=seen.settle)
    limiter = Limiter(settings.bucket_count)
    intake = Intake(settings, lanes=lanes, framer=framer, seen=seen, limiter=limiter, clock=clock)
    watch = TopicWatch(kafka, every=settings.topics_check_seconds)
    health = Health("ingest")
    health.add("topics", watch.check)
    health.add("producer", lambda: Check(producer.fatal is None, producer.fatal or ""))
    health.add("control", lambda: Check(follower.following, f"{len(directory.keys)} keys"))
    health.add("queue", lambda: Check(not intake.full, f"{framer.in_flight_events} events in flight"))
    QUEUED_EVENTS.set_function(lambda: framer.in_flight_events)
    app = create_app(intake, directory, settings, health, clock=clock, new_id=lambda: str(uuid_utils.uuid7()))
    server = _Server(
        uvicorn.Config(
            app,
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
    deadline = clock.monotonic() + runtime.stop_seconds
    log.info("stopping", fatal=producer.fatal, in_flight=framer.in_flight_events)
    server.should_exit = True
    await serving
    left = await framer.drain(max(0.0, deadline - clock.monotonic()))
    await asyncio.to_thread(producer.close, max(0.0, deadline - clock.monotonic()))
    watching.cancel()
    stopped.cancel()
    log.info("stopped", unconfirmed=left)
    return 0 if producer.fatal is None else 1


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
