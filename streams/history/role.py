"""The history role: one process that turns accepted and held events into history, until it is told to stop."""

import gc
import logging
import random
from typing import Final

from infra.contracts.tables import migrations
from infra.runtime import logs
from infra.runtime.cassandra import connect
from infra.runtime.clock import SystemClock
from infra.runtime.errors import PreconditionError
from infra.runtime.health import Check, Health, Progress, serve
from infra.runtime.kafka import DeliveringProducer, partitions_of, producer_config
from infra.runtime.migrations import check_schema
from infra.runtime.settings import Cassandra, Kafka, Listen, Runtime
from infra.runtime.stopping import stop_event
from streams.history.cells import Cells
from streams.history.dead_letters import DeadLetters
from streams.history.records import INPUTS
from streams.history.settings import History
from streams.history.store import Store
from streams.history.writer import Writer

_PROGRESS_SECONDS: Final = 30.0
#: Left of the stop time for the last commit and for closing connections.
_CLOSING_SECONDS: Final = 2.0


def run() -> int:
    """Write history until SIGTERM or SIGINT. Returns 0 after a graceful stop, 1 when a restart is needed.

    Raises `PreconditionError` when Kafka, its topics, Cassandra or the schema is not there.
    """
    kafka, cassandra, listen, runtime, settings = Kafka(), Cassandra(), Listen(), Runtime(), History()
    logs.configure(runtime, "history")
    logs.log_effective(kafka, cassandra, listen, runtime, settings)
    # Cassandra's default threshold warns of batches from 5 KiB on, once a batch; ours are larger on purpose.
    logging.getLogger("cassandra.protocol").setLevel(logging.ERROR)
    stopping = stop_event()
    for topic in INPUTS:
        partitions_of(kafka, topic)
    if missing := check_schema(cassandra):
        raise PreconditionError(f"{missing[0]}. Run `hubbub schema apply`.")
    database = connect(cassandra)
    producer = DeliveringProducer(producer_config(kafka, "hubbub-history-dead-letters"))
    clock, progress = SystemClock(), Progress(_PROGRESS_SECONDS)
    store = Store(database, clock=clock, jitter=random.Random(), max_batches=settings.max_batches)  # noqa: S311 - jitter
    writer = Writer(
        kafka=kafka,
        settings=settings,
        cells=Cells(settings.commit_seconds),
        store=store,
        dead_letters=DeadLetters(producer, kafka),
        clock=clock,
        progress=progress,
    )

    def cassandra_answers() -> Check:
        up = any(host.is_up for host in database.cluster.metadata.all_hosts())
        return Check(up and store.failing is None, store.failing or ("" if up else "no host is up"))

    def kafka_answers() -> Check:
        broken = writer.fatal or producer.fatal
        return Check(broken is None, broken or "")

    health = Health("history")
    health.add("kafka", kafka_answers)
    health.add("cassandra", cassandra_answers)
    health.add("schema", lambda: Check(True, f"migration {migrations()[-1].version}"))
    health.add("progress", progress)
    health.report_lag(lambda: writer.lag)
    # Thousands of records are under way at any time: at the default thresholds a sixth of the time goes into looking
    # through them for cycles.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    server = serve(health, listen.host, listen.history_port)
    try:
        writer.run(stopping, max(1.0, runtime.stop_seconds - _CLOSING_SECONDS))
    finally:
        server.shutdown()
        producer.close(1)
        database.close()
    return 0 if writer.fatal is None else 1
