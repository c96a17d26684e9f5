"""The role as a process: killed in the middle it goes on without a trace, told to stop it ends its JVM with it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import socket
from typing import Any

import httpx
import psutil

from analytics.settings import Analytics
from infra.contracts.records import Action
from infra.contracts.tables import METRICS_QUERY
from infra.contracts.windows import HOUR
from infra.runtime.cassandra import Database
from infra.runtime.settings import Cassandra, Kafka
from tests.integration.analytics.logged import Log, event, stored_tallies, stored_totals

_COMMAND = """
import sys
from analytics.role import run
from infra.runtime.errors import PreconditionError
try:
    sys.exit(run())
except PreconditionError as error:
    print(error, file=sys.stderr)
    sys.exit(3)
"""
_START_SECONDS = 180.0


class Role:
    """One analytics process and its JVM."""

    def __init__(self, environment: dict[str, str], log_file: Path) -> None:
        with socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        with log_file.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _COMMAND],
                env={**environment, "HUBBUB_ANALYTICS_PORT": str(self._port)},
                stdout=output,
                stderr=output,
            )

    def report(self) -> dict[str, Any]:
        try:
            return dict(httpx.get(f"http://127.0.0.1:{self._port}/readyz", timeout=5).json())
        except httpx.HTTPError:
            return {"ready": False, "lag": None}

    def jvm(self) -> psutil.Process:
        (child,) = psutil.Process(self._process.pid).children()
        return child

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def terminate(self, seconds: float) -> int:
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(seconds)

    def wait(self, seconds: float) -> int:
        return self._process.wait(seconds)


@contextmanager
def started(environment: dict[str, str], log_file: Path) -> Iterator[Role]:
    role = Role(environment, log_file)
    try:
        yield role
    finally:
        role.kill()


def wait_until(holds: Callable[[], bool], seconds: float = _START_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_killed_it_goes_on_and_stopped_it_leaves_nothing_behind(
    analytics: Analytics, java_home: Path, topics: Kafka, keyspace: Cassandra, database: Database, tmp_path: Path
) -> None:
    log, log_file = Log(topics), tmp_path / "role.log"
    environment = {
        **os.environ,
        "HUBBUB_KAFKA_TOPIC_PREFIX": topics.topic_prefix,
        "HUBBUB_CASSANDRA_KEYSPACE": keyspace.keyspace,
        "HUBBUB_ANALYTICS_JARS": analytics.jars,
        "HUBBUB_JAVA_HOME": str(java_home),
        "HUBBUB_DATA_DIR": str(tmp_path),
    }
    start = HOUR.start(datetime.now(UTC)) - timedelta(hours=1)
    moments = [start + timedelta(milliseconds=100 * n) for n in range(1_000)]
    log.send(*(event(n, moment) for n, moment in enumerate(moments[:500])))

    with started(environment, log_file) as role:
        wait_until(lambda: role.report()["ready"])
        jvm = role.jvm()
        log.send(*(event(n, moment) for n, moment in enumerate(moments[:700])))
        wait_until(lambda: stored_totals(database) != {})
        role.kill()
        assert psutil.wait_procs([jvm], timeout=30)[1] == []

    log.send(*(event(n, moment) for n, moment in enumerate(moments)))
    log.hold(Action.BLOCK, event(2_000, moments[-1]))
    with started(environment, log_file) as role:
        wait_until(lambda: stored_totals(database) == log.totals())
        wait_until(lambda: stored_tallies(database) == log.tallies())
        wait_until(lambda: role.report() == {**role.report(), "ready": True, "lag": 0})
        jvm = role.jvm()
        assert role.terminate(15) == 0
        assert psutil.wait_procs([jvm], timeout=30)[1] == []

    with started({**environment, "HUBBUB_ANALYTICS_SHUFFLE_PARTITIONS": "2"}, log_file) as role:
        assert role.wait(30) == 3
    folder = tmp_path / "checkpoints" / METRICS_QUERY
    assert f"The checkpoint {folder} cannot be continued: it was made with shuffle_partitions 1" in log_file.read_text()
