"""Days of facts through the real stream: what test both of it and of the archive begin with."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from analytics.settings import Analytics
from infra.contracts.records import Action
from infra.runtime.settings import Cassandra, Kafka
from tests.integration.analytics.archived import Fact
from tests.integration.analytics.logged import Log
from tests.integration.analytics.roles import wait_until
from tests.integration.analytics.test_role import started
from tests.integration.archive.archiving import ArchiveProcess

#: Records sent before those that a rule stopped.
_CHUNK = 20_000
#: For each fact, where years pass in minutes: nearly each is in windows of its own then.
_SECONDS = 0.02


def stream(
    facts: Sequence[Fact], topics: Kafka, keyspace: Cassandra, analytics: Analytics, java_home: Path, folder: Path
) -> None:
    """Write the facts, in the order they were received, and wait until they are counted, and archived in the folder."""
    _publish(Log(topics), facts)
    environment = {
        **os.environ,
        "HUBBUB_KAFKA_TOPIC_PREFIX": topics.topic_prefix,
        "HUBBUB_CASSANDRA_KEYSPACE": keyspace.keyspace,
        "HUBBUB_ANALYTICS_JARS": analytics.jars,
        "HUBBUB_JAVA_HOME": str(java_home),
        "HUBBUB_DATA_DIR": str(folder),
    }
    with _archiving(topics, folder) as archive, started(environment, folder / "analytics.log") as role:
        archive.wait_archived(300)
        wait_until(lambda: role.report()["ready"] and role.report()["lag"] == 0, 600 + len(facts) * _SECONDS)


def _publish(log: Log, facts: Sequence[Fact]) -> None:
    """As the router would have, with a heartbeat after them."""
    for first in range(0, len(facts), _CHUNK):
        chunk = facts[first : first + _CHUNK]
        log.send(*(event for event, outcome in chunk if outcome == "events"))
        for action, name in ((Action.HOLD, "held"), (Action.BLOCK, "blocked")):
            log.hold(action, *(event for event, outcome in chunk if outcome == name))
    last = max(event.time for event, _ in facts)
    log.beat(last + timedelta(days=1))


@contextmanager
def _archiving(topics: Kafka, folder: Path) -> Iterator[ArchiveProcess]:
    process = ArchiveProcess(topics, folder)
    process.start()
    try:
        yield process
    finally:
        process.kill()
