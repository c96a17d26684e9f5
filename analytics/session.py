"""The Spark session: tuned for one small, quick streaming query, on a Java that Spark can run on."""

import os
import re
import shutil
import sys
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Final

from pyspark.sql import SparkSession

from analytics.settings import Analytics
from infra.runtime.errors import PreconditionError

SUPPORTED_JAVA: Final = (17, 21)

_STATE_STORES: Final = {
    "memory": "org.apache.spark.sql.execution.streaming.state.HDFSBackedStateStoreProvider",
    "rocksdb": "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider",
}


def find_java(asked: Path | None, environ: Mapping[str, str]) -> Path:
    """The Java home to run Spark on: the one asked for, else JAVA_HOME, else the one on the path.

    Raises `PreconditionError` when it is not a Java 17 or 21.
    """
    home = asked or (Path(environ["JAVA_HOME"]) if environ.get("JAVA_HOME") else None)
    if home is None:
        found = shutil.which("java", path=environ.get("PATH"))
        if found is None:
            raise PreconditionError("Spark needs Java 17 or 21 and there is none. Set HUBBUB_JAVA_HOME.")
        home = Path(found).resolve().parent.parent
    release = home / "release"
    version = re.search(r'^JAVA_VERSION="(\d+)', release.read_text(), re.MULTILINE) if release.is_file() else None
    if version is None or int(version[1]) not in SUPPORTED_JAVA:
        is_what = f"Java {version[1]}" if version else "no Java home"
        raise PreconditionError(f"{home} is {is_what}; Spark needs Java 17 or 21. Set HUBBUB_JAVA_HOME.")
    return home


def spark_options(settings: Analytics) -> dict[str, str]:
    """Spark's configuration. Each line that is not plain says why it is there."""
    jars = [jar for jar in settings.jars.split(",") if jar]
    options = {
        "spark.driver.memory": settings.driver_memory,
        "spark.driver.extraJavaOptions": (
            f"-Dlog4j2.configurationFile={resources.files('analytics') / 'log4j2.properties'}"
            # Without memory it must end, not linger with a query that stands still. Each batch brings code of its own:
            # on two busy cores the optimizing compiler took 47 s of 180, and gave the batches nothing back. Without it
            # the JVM sets aside 48 MB for code, full after 250 s of reports, and then compiles nothing any more.
            " -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m"
            " -Xss4m -XX:+ExitOnOutOfMemoryError"
        ),
        # On the launcher's own class path: the file system below is loaded before `spark.jars` are.
        "spark.driver.extraClassPath": os.pathsep.join(jars),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.eventLog.enabled": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": str(settings.shuffle_partitions),
        # Hadoop's local file system forks a chmod for every checkpoint file: 85 to 124 ms a log write against 2 to 4.
        "spark.hadoop.fs.file.impl": "com.globalmentor.apache.hadoop.fs.BareLocalFileSystem",
        "spark.sql.streaming.checkpointFileManagerClass": (
            "org.apache.spark.sql.execution.streaming.checkpointing.FileSystemBasedCheckpointFileManager"
        ),
        "spark.sql.streaming.stateStore.providerClass": _STATE_STORES[settings.state_store],
        "spark.sql.streaming.stateStore.rocksdb.changelogCheckpointing.enabled": "true",
        "spark.sql.streaming.stateStore.rocksdb.trackTotalNumberOfRows": "false",
        "spark.sql.streaming.stateStore.rocksdb.boundedMemoryUsage": "true",
        "spark.sql.streaming.stateStore.rocksdb.maxMemoryUsageMB": "128",
        # Heartbeats move the watermark; a batch without data after each batch would only double the work.
        "spark.sql.streaming.noDataMicroBatches.enabled": "false",
        # How soon an idle query looks again; Spark's 10 ms keep a fifth of a core busy with asking for offsets.
        "spark.sql.streaming.pollingDelay": "100ms",
        "spark.sql.streaming.minBatchesToRetain": "20",
        # Above this many keys a batch Spark would sort instead of hash.
        "spark.sql.objectHashAggregate.sortBased.fallbackThreshold": "100000",
        "spark.sql.streaming.numRecentProgressUpdates": "10",
        "spark.cleaner.periodicGC.interval": "10min",
    }
    if settings.master.startswith("local"):
        options |= {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}
    else:
        options["spark.jars"] = settings.jars  # for the executors
    return options


#: What a session needs to read Delta tables. A log of a few hundred commits is not worth several tasks.
DELTA: Final = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.databricks.delta.snapshotPartitions": "1",
    # A plan over wide rows is cut short where it is shown; that is not worth a warning.
    "spark.sql.debug.maxToStringFields": "1000",
}


def start_session(settings: Analytics, java_home: Path, more: Mapping[str, str] | None = None) -> SparkSession:
    """Start the driver's JVM, with more options. It ends with this process: when its standard input closes."""
    os.environ["JAVA_HOME"] = str(java_home)
    if settings.master.startswith("local"):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        # For its own functions in Python Spark would take the python3 on the path, which has nothing of ours.
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName("hubbub-analytics").master(settings.master)
    for name, value in {**spark_options(settings), **(more or {})}.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()
