"""S6: the metrics query with a backlog, beside a `noop` sink, default settings, and a Python UDF."""

import asyncio
import json
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as fn
from pyspark.sql.streaming.readwriter import DataStreamWriter

from analytics.engagement import by_minute, deduplicated, parsed
from analytics.session import start_session
from analytics.settings import Analytics
from analytics.source import source_options
from analytics.store import Store
from analytics.writer import Writer
from infra.contracts.tables import MEMBERS, PROGRESS, PUT_MEMBER, PUT_PROGRESS, PUT_WINDOW, WINDOWS
from infra.contracts.topics import EVENTS, HELD
from infra.local import jars, java
from infra.local.settings import Local
from infra.runtime.cassandra import connect
from infra.runtime.clock import SystemClock
from infra.runtime.kafka import apply_topics
from infra.runtime.settings import Cassandra, Kafka
from tests.bench.chat import stamped
from tests.bench.contest import Bar, Contender, Contest, Figures
from tests.bench.place import Place
from tests.bench.records import check
from tests.bench.routing import fill_plain
from tests.bench.workers import Stopwatch, Worker, cpu_seconds

EVENTS_A_RUN: Final = 200_000
_OURS, _AGAIN, _NOOP = "hubbub", "hubbub again", "noop sink"
_DEFAULTS, _UDF = "200 partitions, state on disk", "parsed by a Python UDF"
_STATEMENTS: Final = {s.name: s for s in (MEMBERS, PROGRESS, PUT_MEMBER, PUT_PROGRESS, PUT_WINDOW, WINDOWS)}
_ROCKSDB: Final = "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"
_PARTITIONS: Final = "spark.sql.shuffle.partitions"
_PROVIDER: Final = "spark.sql.streaming.stateStore.providerClass"


@contextmanager
def contests(place: Place) -> Iterator[list[Contest]]:
    """One: draining what has gathered."""
    seeds = count()
    settings, home = _analytics(), java.find(os.environ).home
    with ExitStack() as stack:
        worker = stack.enter_context(closing(Worker()))
        pid = worker.call(_begin, settings, home)

        def run(how: str) -> Figures:
            total = place.scaled(EVENTS_A_RUN)
            kafka = place.kafka.model_copy(
                update={"topic_prefix": f"{place.kafka.topic_prefix}{secrets.token_hex(3)}-"}
            )
            apply_topics(kafka, [EVENTS, HELD])
            fill_plain(kafka, EVENTS, stamped(total, seed=next(seeds)))
            cpu = cpu_seconds(pid)
            seconds, counted = worker.call(
                _drain, kafka, place.cassandra, how, place.folder / f"checkpoint-{next(seeds)}"
            )
            check(total, counted)
            return {"per_second": total / seconds, "per_cpu_second": total / (cpu_seconds(pid) - cpu)}

        against = partial(Bar, figure="per_second", of=_OURS)
        kinds = {_NOOP: "limit", _DEFAULTS: "peer", _UDF: "peer", _OURS: "ours", _AGAIN: "ours"}
        yield [
            Contest(
                title="S6 metrics, a backlog",
                contenders=tuple(Contender(name=how, kind=kind, run=partial(run, how)) for how, kind in kinds.items()),  # type: ignore[arg-type]
                bars=(against(against=_NOOP, least=0.7), against(against=_DEFAULTS, least=5.0)),
            )
        ]


class _Session:
    """The worker's Spark, started once, so that every contender finds it warm."""

    spark: SparkSession


def _begin(settings: Analytics, home: Path) -> int:
    _Session.spark = start_session(settings, home)
    return os.getpid()


def _drain(kafka: Kafka, cassandra: Cassandra, how: str, checkpoint: Path) -> tuple[float, int]:
    """Seconds from the query's start until all that was in the topic is counted, and how many events were."""
    spark = _Session.spark
    kept = {name: spark.conf.get(name) for name in (_PARTITIONS, _PROVIDER)}
    if how == _DEFAULTS:
        spark.conf.set(_PARTITIONS, "200")
        spark.conf.set(_PROVIDER, _ROCKSDB)
    records = spark.readStream.format("kafka").options(**source_options(kafka, 1_000_000)).load().coalesce(2)
    events = _parsed_in_python(records) if how == _UDF else parsed(records, kafka.topic(HELD.name))
    minutes = by_minute(deduplicated(events))
    with closing(connect(cassandra, prepare=False)) as database:
        database.prepare(_STATEMENTS)
        stopping = threading.Event()
        writer = Writer(
            Store(database, stopping),
            lambda point: None,
            SystemClock(),
            stopping=stopping,
            first_day=None,
            cached_rows=100_000,
        )
        stream: DataStreamWriter = minutes.writeStream.outputMode("update").option(
            "checkpointLocation", str(checkpoint)
        )
        stream = stream.format("noop") if how == _NOOP else stream.foreachBatch(writer.write)
        with Stopwatch() as took:
            query = stream.trigger(availableNow=True).start()
            query.awaitTermination()
        counted = sum(progress["numInputRows"] for progress in query.recentProgress)
    for name, value in kept.items():
        assert value is not None
        spark.conf.set(name, value)
    return took.seconds, counted


def _parsed_in_python(records: DataFrame) -> DataFrame:
    """The same columns as `parsed` makes, row by row in Python."""

    def fields(value: bytes) -> dict[str, Any]:
        event = json.loads(value)
        author = event.get("user_id") or event.get("anonymous_id")
        kept = {name: event.get(name) for name in ("id", "type", "tenant", "channel_id")}
        return {**kept, "time": event["time"], "author": author, "is_bot": bool(event.get("is_bot"))}

    schema = "id string, type string, tenant string, channel_id string, time string, author string, is_bot boolean"
    made = records.select(fn.udf(fields, schema)("value").alias("event")).select("event.*")
    return made.withColumn("time", fn.col("time").cast("timestamp")).withColumn("outcome", fn.lit("events"))


def _analytics() -> Analytics:
    """Settings with the jars of the lock, fetched if this machine has not got them yet."""
    local = Local()
    asyncio.run(
        jars.ensure(
            jars.locked("spark"),
            cache=local.jar_cache,
            url=local.maven_url,
            maven_local=local.maven_local,
            progress=lambda done, total: None,
        )
    )
    return Analytics(jars=",".join(map(str, jars.spark_jars(local.jar_cache))))
