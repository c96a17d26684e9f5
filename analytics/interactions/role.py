"""The interactions role: one process that counts sessions and response times, until it is told to stop."""

import gc
import logging

from analytics.interactions.reader import Reader
from analytics.interactions.settings import InteractionsSettings
from analytics.interactions.snapshot import SnapshotFile
from analytics.interactions.store import STATEMENTS, Store
from analytics.interactions.teller import Teller
from analytics.persistence import Stopping
from infra.contracts.topics import EVENTS
from infra.runtime import logs
from infra.runtime.cassandra import connect
from infra.runtime.clock import SystemClock
from infra.runtime.errors import PreconditionError
from infra.runtime.health import Check, Health, serve
from infra.runtime.kafka import partitions_of
from infra.runtime.migrations import check_schema
from infra.runtime.settings import Cassandra, Kafka, Listen, Runtime
from infra.runtime.stopping import stop_event


def run() -> int:
    """Count until SIGTERM or SIGINT. Returns 0 after a graceful stop, 1 when a restart is needed.

    Raises `PreconditionError` when Kafka, its topics, Cassandra or the schema is not there.
    """
    kafka, cassandra, listen, runtime, settings = Kafka(), Cassandra(), Listen(), Runtime(), InteractionsSettings()
    logs.configure(runtime, "interactions")
    logs.log_effective(kafka, cassandra, listen, runtime, settings)
    # Cassandra's default threshold warns of batches from 5 KiB on, once a batch; ours are larger on purpose.
    logging.getLogger("cassandra.protocol").setLevel(logging.ERROR)
    stopping = stop_event()
    partitions_of(kafka, EVENTS)
    if missing := check_schema(cassandra):
        raise PreconditionError(f"{missing[0]}. Run `hubbub schema apply`.")
    database = connect(cassandra, prepare=False)
    database.prepare(STATEMENTS)
    reader, store = Reader(kafka), Store(database, stopping)
    folder = settings.snapshot_dir or runtime.data_dir.absolute() / "interactions"
    teller = Teller(
        reader=reader,
        store=store,
        file=SnapshotFile(folder, kafka.topic(EVENTS.name)),
        settings=settings,
        kafka=kafka,
        clock=SystemClock(),
    )
    health = Health("interactions")
    health.add("kafka", teller.check_kafka)
    health.add("cassandra", lambda: Check(store.reachable, "" if store.reachable else "does not answer"))
    health.add("snapshots", teller.check_disk)
    health.add("progress", teller.progress)
    health.report_lag(lambda: teller.lag)
    gc.freeze()
    server = serve(health, listen.host, listen.interactions_port)
    try:
        teller.run(stopping)
    except Stopping:
        return 0  # the last snapshot is behind what is stored, and the next start comes to the same
    finally:
        server.shutdown()
        reader.close()
        database.close()
    return 0 if reader.fatal is None else 1
