"""The ledger role: one process that audits all the others, until it is told to stop."""

from infra.contracts.tables import migrations
from infra.contracts.topics import TOPICS
from infra.runtime import logs
from infra.runtime.cassandra import connect
from infra.runtime.clock import SystemClock
from infra.runtime.errors import PreconditionError
from infra.runtime.health import Check, Health, serve
from infra.runtime.kafka import partitions_of
from infra.runtime.migrations import check_schema
from infra.runtime.settings import Cassandra, Kafka, Listen, Runtime
from infra.runtime.stopping import stop_event
from streams.ledger.auditor import Auditor
from streams.ledger.canary import Canary, new_key
from streams.ledger.observations import TOPICS as READ
from streams.ledger.reader import Reader
from streams.ledger.settings import LedgerSettings
from streams.ledger.store import STATEMENTS, Store


def run() -> int:
    """Audit until SIGTERM or SIGINT. Returns 0 after a graceful stop, 1 when a restart is needed.

    Raises `PreconditionError` when Kafka, its topics, Cassandra or the schema is not there.
    """
    kafka, cassandra, listen, runtime, settings = Kafka(), Cassandra(), Listen(), Runtime(), LedgerSettings()
    logs.configure(runtime, "ledger")
    logs.log_effective(kafka, cassandra, listen, runtime, settings)
    stopping = stop_event()
    for topic in TOPICS:
        if topic.name in READ:
            partitions_of(kafka, topic)
    if missing := check_schema(cassandra):
        raise PreconditionError(f"{missing[0]}. Run `hubbub schema apply`.")
    database = connect(cassandra, prepare=False)
    database.prepare(STATEMENTS)
    reader = Reader(kafka)
    store, clock = Store(database), SystemClock()
    auditor = Auditor(reader, store, settings, clock)
    health = Health("ledger")
    health.add("kafka", lambda: Check(reader.fatal is None, reader.fatal or ""))
    health.add("schema", lambda: Check(True, f"migration {migrations()[-1].version}"))
    health.add("progress", auditor.progress)
    health.add("differences", auditor.check_differences)
    health.report_lag(lambda: auditor.lag)
    canary = None
    if settings.canary_seconds:
        canary = Canary(
            ingest_url=settings.ingest_url or f"http://{listen.reachable_host}:{listen.ingest_port}",
            api_url=settings.api_url or f"http://{listen.reachable_host}:{listen.api_port}",
            secret=new_key(kafka, clock.now()),
            stored=store.canary,
            clock=clock,
            every=settings.canary_seconds,
            lost_after=settings.canary_lost_seconds,
            stall=settings.canary_stall_seconds,
            stopping=stopping,
        )
        health.add("canary", canary.check)
        canary.start()
    server = serve(health, listen.host, listen.ledger_port)
    try:
        auditor.run(stopping)
    finally:
        stopping.set()
        server.shutdown()
        reader.close()
        database.close()
    return 0 if reader.fatal is None and (canary is None or canary.fatal is None) else 1
