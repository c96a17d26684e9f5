"""The archive role: one process that archives the log until it is told to stop, and keeps the archive in order."""

import gc
import subprocess
import sys
import threading
from typing import Final

import structlog

from analytics.archive.settings import ArchiveWriter
from analytics.archive.table import Unwritable, open_table
from analytics.archive.writer import Writer
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
#: What a round of maintenance gets to end by itself. It may be cut off at any moment.
_GRACE_SECONDS: Final = 2.0


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
    upkept = Upkeep()
    health.add("upkeep", upkept)
    health.report_lag(lambda: writer.lag)
    gc.freeze()
    upkeep = threading.Thread(
        target=_keep_up,
        args=(ArchiveReader(archive, runtime), settings.maintain_seconds, stopping, upkept),
        name="upkeep",
    )
    upkeep.start()
    server = serve(health, listen.host, listen.archive_port)
    try:
        writer.run(stopping)
    except Unwritable as error:
        log.error("archive.unreadable", error=str(error)[:500])
        return 1
    finally:
        stopping.set()
        server.shutdown()
        upkeep.join(2 * _GRACE_SECONDS)
    return 0 if writer.fatal is None else 1


class Upkeep:
    """A check that holds unless the last round of maintenance failed."""

    def __init__(self) -> None:
        self._code = 0

    def ended(self, code: int) -> None:
        """A round has ended by itself, with this exit code."""
        self._code = code
        if code:
            log.error("archive.upkeep_failed", code=code)

    def __call__(self) -> Check:
        told = f"the last round ended with {self._code}: run `hubbub archive maintain` to see why"
        return Check(self._code == 0, told if self._code else "")


def _keep_up(reader: ArchiveReader, seconds: float, stopping: threading.Event, upkept: Upkeep) -> None:
    """Show how large the tables are, and each `seconds` have them put in order by a process of its own."""
    _show(reader)
    while seconds and not stopping.wait(seconds):
        # Sorting a day takes memory by the size of the day, and this process should not keep it.
        with subprocess.Popen([sys.executable, "-m", "analytics.archive.maintenance"]) as round_:
            while round_.poll() is None and not stopping.wait(0.5):
                pass
            if (code := round_.poll()) is not None:
                upkept.ended(code)
            else:
                round_.terminate()
                try:
                    round_.wait(_GRACE_SECONDS)
                except subprocess.TimeoutExpired:
                    round_.kill()
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
