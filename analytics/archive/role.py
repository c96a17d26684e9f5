"""The archive role: one process that archives the log until it is told to stop, and keeps the archive in order."""

import gc
import threading
from typing import Final

import structlog

from analytics.archive.settings import ArchiveWriter
from analytics.archive.table import Unwritable, open_table
from analytics.archive.writer import Writer
from analytics.rounds import GRACE_SECONDS, Rounds
from infra.contracts.archive import TABLES
from infra.runtime import logs
from infra.runtime.archive import ArchiveReader, files
from infra.runtime.clock import SystemClock
from infra.runtime.errors import PreconditionError
from infra.runtime.health import Check, Health, Progress, serve
from infra.runtime.kafka import partitions_of
from infra.runtime.settings import Archive, Kafka, Listen, Runtime
from infra.runtime.stopping import stop_event
from infra.runtime.telemetry import ARCHIVE_BYTES, ARCHIVE_FILES

log = structlog.get_logger("hubbub.archive")

_PROGRESS_SECONDS: Final = 30.0


def run() -> int:
    """Archive until SIGTERM or SIGINT. Returns 0 after a graceful stop, 1 when a restart is needed.

    Raises `PreconditionError` when Kafka, its topics or the archive's place is not there.
    """
    kafka, archive, listen, runtime, settings = Kafka(), Archive(), Listen(), Runtime(), ArchiveWriter()
    logs.configure(runtime, "archive")
    logs.log_effective(kafka, archive, listen, runtime, settings)
    stopping = stop_event()
    for table in TABLES:
        for topic in table.topics:
            partitions_of(kafka, topic)
    tables = [open_table(table, archive, runtime) for table in TABLES]
    progress = Progress(_PROGRESS_SECONDS)
    writer = Writer(kafka=kafka, settings=settings, tables=tables, clock=SystemClock(), progress=progress)

    health = Health("archive")
    health.add("kafka", lambda: Check(writer.fatal is None, writer.fatal or ""))
    health.add("tables", writer.check_tables)
    health.add("gaps", writer.check_gaps)
    health.add("progress", progress)
    upkeep = Rounds("analytics.archive.maintenance", "run `hubbub archive maintain` to see why")
    health.add("upkeep", upkeep)
    health.report_lag(lambda: writer.lag)
    gc.freeze()
    keeping = threading.Thread(
        target=_keep_up,
        args=(ArchiveReader(archive, runtime), settings.maintain_seconds, stopping, upkeep),
        name="upkeep",
    )
    keeping.start()
    server = serve(health, listen.host, listen.archive_port)
    try:
        writer.run(stopping)
    except Unwritable as error:
        log.error("archive.unreadable", error=str(error)[:500])
        return 1
    finally:
        stopping.set()
        server.shutdown()
        keeping.join(2 * GRACE_SECONDS)
    return 0 if writer.fatal is None else 1


def _keep_up(reader: ArchiveReader, seconds: float, stopping: threading.Event, upkeep: Rounds) -> None:
    """Show how large the tables are, and each `seconds` have them put in order."""
    _show(reader)
    while seconds and not stopping.wait(seconds):
        # Sorting a day takes memory by the size of the day.
        upkeep.run(stopping)
        _show(reader)


def _show(reader: ArchiveReader) -> None:
    for table in TABLES:
        try:
            found = files(reader.open(table))
        except PreconditionError as error:
            log.warning("archive.unreadable", table=table.name, error=str(error))
            continue
        ARCHIVE_BYTES.labels(table.name).set(sum(file.bytes for file in found))
        ARCHIVE_FILES.labels(table.name).set(len(found))
