"""The role as a process: killed in the middle it goes on without a trace, told to stop it ends its JVM with it."""

import os
import sys
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

from analytics.settings import Analytics
from infra.contracts.records import Action
from infra.contracts.tables import METRICS_QUERY
from infra.contracts.windows import HOUR
from infra.runtime.cassandra import Database
from infra.runtime.settings import Cassandra, Kafka
from tests.integration.analytics.logged import Log, event, stored_tallies, stored_totals
from tests.integration.analytics.roles import Role, running, wait_until

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


def started(environment: dict[str, str], log_file: Path) -> AbstractContextManager[Role]:
    """An analytics process and its JVM."""
    return running([sys.executable, "-c", _COMMAND], "HUBBUB_ANALYTICS_PORT", environment, log_file)


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
