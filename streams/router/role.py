"""The router role: reads `ingest` and `backfill`, judges, and writes every record to where it belongs."""

import asyncio
import threading
from contextlib import suppress

import structlog

from infra.contracts import topics
from infra.runtime import health, logs
from infra.runtime.clock import SystemClock
from infra.runtime.control import ControlFollower
from infra.runtime.errors import PreconditionError, Undelivered
from infra.runtime.health import Check, Health
from infra.runtime.kafka import DeliveringProducer, check_topics, producer_config
from infra.runtime.settings import Kafka, Listen, Runtime
from infra.runtime.stopping import stop_event
from infra.runtime.telemetry import LAG
from streams.router.agents import RouterApp, Standing, make_app
from streams.router.book import RuleBook
from streams.router.deliveries import Deliveries, Lane
from streams.router.frontier import Frontier
from streams.router.fuse import Fuse
from streams.router.heartbeats import beat
from streams.router.memories import Memories
from streams.router.past import Past
from streams.router.pipeline import Pipeline
from streams.router.routing import Router
from streams.router.settings import RouterSettings

log = structlog.get_logger("hubbub.router")

_INPUTS = (topics.INGEST, topics.BACKFILL)
#: Routing stands still while rules are not known so recently, so the check is patient only with a busy machine.
_RULES_SECONDS = 5.0


class Worker:
    """One router process: the app, its producer, its rules and what watches them."""

    def __init__(
        self, kafka: Kafka, runtime: Runtime, settings: RouterSettings, book: RuleBook, rules: ControlFollower
    ) -> None:
        clock = SystemClock()
        # Nothing is ever given up: the input waits in Kafka, and a record given up would break the order behind it.
        self.producer = DeliveringProducer(
            producer_config(kafka, settings.instance_id, **{"delivery.timeout.ms": 0, "linger.ms": 5}), threaded=False
        )
        self.deliveries = Deliveries(self.producer, asyncio.get_running_loop())
        frontier = Frontier()
        routers = {t.name: Router(t, kafka, book) for t in _INPUTS}
        # Rules that count make no sense of imported history: its records come at the importer's pace.
        live, self.past = routers[topics.INGEST.name], Past(kafka, topics.INGEST, settings.instance_id)
        self.memories = Memories(book, frontier, live, self.past)
        self.pipeline = Pipeline(
            routers,
            {t.name: Lane(self.deliveries, settings.in_flight_records) for t in _INPUTS},
            frontier,
            Fuse(clock, settings.fuse_ratio),
            clock,
            {topics.INGEST.name: self.memories},
            lambda: rules.current_at,
        )
        self.app: RouterApp = make_app(kafka, settings, frontier, self.pipeline.handle, self._fail)
        self.failed = asyncio.Event()
        self.standings: list[Standing] = []
        self._kafka, self._runtime, self._settings, self._clock = kafka, runtime, settings, clock
        self._book, self._rules = book, rules

    async def run(self, stopping: threading.Event) -> int:
        """Run until told to stop (0) or something fails for good (1)."""
        watch = asyncio.create_task(self._watch())
        ends = [
            asyncio.create_task(self.app.start()),
            asyncio.create_task(asyncio.to_thread(stopping.wait)),
            asyncio.create_task(self.failed.wait()),
        ]
        start, stop, failure = ends
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        crash = asyncio.create_task(self.app.wait_until_stopped())
        if start.done():
            if (error := start.exception()) is not None:
                self._fail(error)
            else:
                log.info("router.started", instance=self._settings.instance_id)
                await asyncio.wait([stop, failure, crash], return_when=asyncio.FIRST_COMPLETED)
        if (reason := self.app.crash_reason) is not None:
            self._fail(reason)
        graceful = stop.done() and not self.failed.is_set() and not self.app.crashed
        log.info("router.stopping", graceful=graceful)
        stopping.set()
        try:
            async with asyncio.timeout(self._runtime.stop_seconds):
                await self._stop(graceful)
        except TimeoutError:
            log.error("router.stop_timeout", in_flight=self.pipeline.in_flight)
            graceful = False
        for task in (watch, *ends, crash):
            task.cancel()
        return 0 if graceful else 1

    def lag(self) -> int | None:
        """Records before the router, as of the last look."""
        return sum(max(s.end - s.done, 0) for s in self.standings) if self.standings else None

    def check_progress(self) -> Check:
        """Ready once partitions are assigned, and while whatever waits is being settled."""
        if not self.standings:
            return Check(False, "no partition assigned yet")
        waiting, idle = self.lag(), self._clock.monotonic() - self.pipeline.last_settled
        stalled = bool(waiting) and idle > self._settings.stall_seconds
        return Check(not stalled, f"{waiting} records waiting, last settled {idle:.1f} s ago")

    def check_producer(self) -> Check:
        """Ready while the producer can deliver."""
        return Check(self.producer.fatal is None, self.producer.fatal or "delivering")

    def check_rules(self) -> Check:
        """Ready while every published set is known in time and can be used."""
        if self._book.refused:
            key, why = next(iter(self._book.refused.items()))
            return Check(False, f"{key.decode(errors='replace')} cannot be used: {why}"[:300])
        age = self._clock.monotonic() - self._rules.current_at
        return Check(age <= _RULES_SECONDS, f"known up to {age:.1f} s ago")

    def _fail(self, error: BaseException) -> None:
        log.error("router.failed", error=type(error).__name__, reason=str(error)[:200])
        self.failed.set()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._settings.watermark_seconds)
            if self.producer.fatal is not None:
                self._fail(Undelivered(self.producer.fatal))
                return
            if not self._rules.following:
                self._fail(RuntimeError("the control topic is not followed any more"))
                return
            if self.app.consumer.started:
                self.standings = self.app.standings()
                self.app.reread_stranded(self._clock.monotonic())
                beat(self._kafka, self.producer, self.standings, self.pipeline.settled_at)
            self.deliveries.poll()
            self.memories.observe()
            for standing in self.standings:
                LAG.labels(standing.tp[0], standing.tp[1]).set(max(standing.end - standing.done, 0))

    async def _stop(self, graceful: bool) -> None:
        self.pipeline.stop_taking()
        self.past.close()
        if graceful:
            await self.pipeline.drain()
            await self.app.consumer.commit()
        await self.app.stop()
        await asyncio.to_thread(self.producer.close, 1.0 if graceful else 0.0)


def run() -> int:
    """Run the router until SIGTERM or SIGINT. Returns the exit code. Raises `PreconditionError`."""
    runtime, kafka, listen, settings = Runtime(), Kafka(), Listen(), RouterSettings()
    logs.configure(runtime, "router")
    logs.log_effective(runtime, kafka, listen, settings)
    stopping = stop_event()
    problems = [str(p) for p in check_topics(kafka) if p.kind == "missing"]
    if problems:
        raise PreconditionError(f"{'; '.join(problems)}. Run `hubbub topics apply`.")
    book = RuleBook()
    rules = ControlFollower(kafka, settings.instance_id, book, confirm=True)
    rules.start()
    try:
        return asyncio.run(_run(kafka, runtime, listen, settings, book, rules, stopping))
    finally:
        rules.stop()


async def _run(
    kafka: Kafka,
    runtime: Runtime,
    listen: Listen,
    settings: RouterSettings,
    book: RuleBook,
    rules: ControlFollower,
    stopping: threading.Event,
) -> int:
    worker = Worker(kafka, runtime, settings, book, rules)
    state = Health("router")
    state.add("progress", worker.check_progress)
    state.add("producer", worker.check_producer)
    state.add("rules", worker.check_rules)
    state.report_lag(worker.lag)
    server = health.serve(state, listen.host, listen.router_port)
    try:
        return await worker.run(stopping)
    finally:
        with suppress(OSError):
            server.shutdown()
