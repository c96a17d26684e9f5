"""What a run of reports is connected to: the archive, Cassandra, Kafka, and Spark once something is due."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pyspark.sql import SparkSession

from analytics.publisher import Publisher
from analytics.reports.job import Job
from analytics.reports.runs import STATEMENTS, Runs
from infra.runtime.archive import ArchiveReader
from infra.runtime.cassandra import connect
from infra.runtime.clock import SystemClock
from infra.runtime.errors import PreconditionError
from infra.runtime.kafka import DeliveringProducer, producer_config
from infra.runtime.migrations import check_schema
from infra.runtime.settings import Archive, Cassandra, Kafka, Runtime

_CLOSE_SECONDS = 5.0


@contextmanager
def open_job(kafka: Kafka, cassandra: Cassandra, start: Callable[[], SparkSession]) -> Iterator[tuple[Job, Runs]]:
    """A job on these engines; `start` is called when something is due, and its session ends with the job.

    Raises `PreconditionError` when the archive is in an object store or Cassandra's schema is not applied.
    """
    reader = ArchiveReader(Archive(), Runtime())
    if "://" in reader.root:
        raise PreconditionError(f"reports read the archive from a folder, not from {reader.root}.")
    if missing := check_schema(cassandra):
        raise PreconditionError(f"{missing[0]}. Run `hubbub schema apply`.")
    database = connect(cassandra, prepare=False)
    producer = DeliveringProducer(producer_config(kafka, "hubbub-reports"))
    sessions: list[SparkSession] = []

    def spark() -> SparkSession:
        if not sessions:
            sessions.append(start())
        return sessions[0]

    try:
        database.prepare(STATEMENTS)
        runs = Runs(database)
        publish = Publisher(producer, kafka)
        yield Job(runs=runs, reader=reader, kafka=kafka, clock=SystemClock(), spark=spark, publish=publish), runs
    finally:
        for session in sessions:
            session.stop()
        producer.close(_CLOSE_SECONDS)
        database.close()
