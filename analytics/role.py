"""The analytics role: runs the metrics query until it is told to stop, and shows how far it has come."""

import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

import structlog
from py4j.protocol import Py4JError, Py4JJavaError, Py4JNetworkError  # type: ignore[import-untyped]
from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from analytics import checkpoint
from analytics.follower import Follower
from analytics.persistence import Stopping
from analytics.publisher import Publisher
from analytics.query import Reports, start_query
from analytics.session import find_java, start_session
from analytics.settings import Analytics, Java
from analytics.source import find_first_day, source_options
from analytics.store import Store
from analytics.writer import Writer
from infra.contracts.tables import MEMBERS, PROGRESS, PUT_MEMBER, PUT_PROGRESS, PUT_WINDOW, WINDOWS
from infra.contracts.topics import HELD
from infra.runtime import logs
from infra.runtime.cassandra import connect
from infra.runtime.clock import SystemClock
from infra.runtime.errors import PreconditionError
from infra.runtime.health import Check, Health, Progress, serve
from infra.runtime.kafka import DeliveringProducer, producer_config
from infra.runtime.migrations import check_schema
from infra.runtime.settings import Cassandra, Kafka, Listen, Runtime
from infra.runtime.stopping import stop_event

log = structlog.get_logger("hubbub.analytics")

_STATEMENTS: Final = {s.name: s for s in (MEMBERS, PROGRESS, PUT_MEMBER, PUT_PROGRESS, PUT_WINDOW, WINDOWS)}
#: A query that fails so often without finishing a batch is not helped by starting it once more.
_MAX_FAILURES: Final = 5
#: The largest batch, of a backlog of a million records, took 73 s on two busy cores.
_PROGRESS_SECONDS: Final = 180.0
#: How often the query is asked for what it finished.
_FOLLOW_SECONDS: Final = 0.25


def run() -> int:
    """Count until SIGTERM or SIGINT. Returns 0 after a graceful stop, 1 when only a restart can help.

    Raises `PreconditionError` when Java, Kafka, its topics, Cassandra or the schema is not there, and its
    `CheckpointError` when the checkpoint cannot be continued.
    """
    kafka, cassandra, listen, runtime = Kafka(), Cassandra(), Listen(), Runtime()
    settings, java = Analytics(), Java()
    logs.configure(runtime, "analytics")
    logs.log_effective(kafka, cassandra, listen, runtime, settings, java)
    # Cassandra's default threshold warns of batches from 5 KiB on, once a batch; ours are larger on purpose.
    logging.getLogger("cassandra.protocol").setLevel(logging.ERROR)
    stopping = stop_event()
    clock = SystemClock()
    java_home = find_java(java.java_home, os.environ)
    options = source_options(kafka, settings.max_offsets_per_trigger)
    folder = checkpoint.folder_of(settings, runtime.data_dir.absolute())
    manifest = checkpoint.open_checkpoint(
        folder, checkpoint.fixed_by(settings, kafka), lambda: find_first_day(kafka, clock.now())
    )
    if missing := check_schema(cassandra):
        raise PreconditionError(f"{missing[0]}. Run `hubbub schema apply`.")
    with ThreadPoolExecutor(1) as pool:
        # Not in the main thread, where PySpark would take over SIGINT.
        session = pool.submit(start_session, settings, java_home)
        database = connect(cassandra, prepare=False)
        database.prepare(_STATEMENTS)
        spark = session.result()
    producer = DeliveringProducer(producer_config(kafka, "hubbub-analytics"))
    store = Store(database, stopping)
    writer = Writer(
        store,
        Publisher(producer, kafka),
        clock,
        stopping=stopping,
        first_day=manifest.first_day,
        cached_rows=settings.cached_windows,
    )
    engine = _Engine(
        partial(
            start_query,
            spark,
            options=options,
            held_topic=kafka.topic(HELD.name),
            write=writer.write,
            folder=checkpoint.spark_folder(folder),
            read_tasks=settings.read_tasks,
        ),
        spark,
        folder,
        writer,
        Follower(store, clock, manifest.first_day),
    )

    health = Health("analytics")
    health.add("cassandra", lambda: Check(store.reachable, "" if store.reachable else "does not answer"))
    health.add("query", lambda: Check(engine.failures == 0, f"failed {engine.failures} times" * bool(engine.failures)))
    health.add("progress", engine.progress)
    health.report_lag(lambda: engine.follower.lag)
    server = serve(health, listen.host, listen.analytics_port)
    try:
        return engine.run(stopping, runtime.stop_seconds)
    finally:
        server.shutdown()
        producer.close(1)
        database.close()


class _Engine:
    """The query in its session: started again when it fails, given up when that does not help."""

    def __init__(
        self,
        start: Callable[[], StreamingQuery],
        spark: SparkSession,
        folder: Path,
        writer: Writer,
        follower: Follower,
    ) -> None:
        self._start = start
        self._spark = spark
        self._folder = folder
        self._writer = writer
        self.follower = follower
        self.progress = Progress(_PROGRESS_SECONDS)
        self.failures = 0

    def run(self, stopping: threading.Event, stop_seconds: float) -> int:
        """Run until `stopping` is set. Returns the exit code."""
        self._writer.watermark = self.follower.watermark
        try:
            while not stopping.is_set():
                try:
                    query = self._start()
                    log.info("query.started", checkpoint=str(self._folder))
                    if self._follow(query, stopping):
                        self._stop(query, stop_seconds)
                        return 0
                    error = str(query.exception())
                except Py4JJavaError as refused:
                    error = str(refused)
                self.failures += 1
                log.error("query.failed", failures=self.failures, error=error[:2000])
                checkpoint.explain(self._folder, error)
                if self.failures > _MAX_FAILURES:
                    return 1
                stopping.wait(min(2.0**self.failures, 30.0))
        except Py4JNetworkError as error:
            log.error("spark.gone", error=str(error))
            return 0 if stopping.is_set() else 1
        return 0

    def _follow(self, query: StreamingQuery, stopping: threading.Event) -> bool:
        """Take reports until the query ends (False) or the role is to stop (True)."""
        reports = Reports(query)
        while query.isActive and not stopping.is_set():
            batches = reports.take()
            for batch in batches:
                try:
                    self.follower.take(batch)
                except Stopping:
                    return True
                self._writer.watermark = batch.watermark
                self.failures = 0
            if batches or not query.status["isTriggerActive"]:
                self.progress.beat()
            stopping.wait(_FOLLOW_SECONDS)
        return stopping.is_set()

    def _stop(self, query: StreamingQuery, seconds: float) -> None:
        """Let the batch being stored finish and end Spark, in the time given: what is left behind dies with us."""

        def end() -> None:
            self._writer.settle()
            try:
                query.stop()
                self._spark.stop()
            except (Py4JError, OSError) as error:
                log.warning("spark.stop_failed", error=str(error))

        thread = threading.Thread(target=end, name="stop", daemon=True)
        thread.start()
        thread.join(seconds)
        log.info("query.stopped", batch_id=self.follower.batch_id, whole=not thread.is_alive())
