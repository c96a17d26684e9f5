"""Real engines of this room's own, killed with -9: they come back by themselves with every acknowledged write."""

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest
import stamina
from cassandra import DriverException
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable, Session
from cassandra.policies import RoundRobinPolicy
from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from infra.local.engines import Engines, local_engines

PORTS = {
    "kafka": 25092,
    "kafka_controller": 25093,
    "cassandra": 25042,
    "cassandra_storage": 25000,
    "cassandra_jmx": 25199,
}
WRITERS = 8


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    with local_engines(tmp_path_factory.mktemp("own-engines"), ports=PORTS) as running:
        yield running


def kill(engines: Engines, name: str) -> int:
    """Kill an engine; its pid."""
    running = engines.keepers[name].running
    assert running is not None
    os.kill(running.identity.pid, signal.SIGKILL)
    return running.identity.pid


def cluster(engines: Engines) -> Cluster:
    profile = ExecutionProfile(load_balancing_policy=RoundRobinPolicy())
    port = int(engines.environment["HUBBUB_CASSANDRA_PORT"])
    return Cluster(["127.0.0.1"], port=port, protocol_version=5, execution_profiles={EXEC_PROFILE_DEFAULT: profile})


def write_until_refused(session: Session, first: int, acknowledged: list[int]) -> None:
    statement = session.prepare("INSERT INTO kept.rows (id) VALUES (?)")
    number = first
    try:
        while True:
            session.execute(statement, (number,), timeout=2)
            acknowledged.append(number)
            number += WRITERS
    except (DriverException, NoHostAvailable):
        return


def test_cassandra_comes_back_with_every_acknowledged_row(engines: Engines) -> None:
    acknowledged: list[int] = []
    with cluster(engines) as before:
        session = before.connect()
        session.execute(
            "CREATE KEYSPACE kept WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}", timeout=30
        )
        session.execute("CREATE TABLE kept.rows (id int PRIMARY KEY)", timeout=30)
        writers = [
            threading.Thread(target=write_until_refused, args=(session, first, acknowledged))
            for first in range(WRITERS)
        ]
        for writer in writers:
            writer.start()
        deadline = time.monotonic() + 30
        while len(acknowledged) < 2000 and time.monotonic() < deadline:
            writers[0].join(0.05)
        pid = kill(engines, "cassandra")
        for writer in writers:
            writer.join()

    for attempt in stamina.retry_context(on=NoHostAvailable, attempts=None, timeout=90, wait_max=0.5):
        with attempt, cluster(engines) as after:
            stored = {row.id for row in after.connect().execute("SELECT id FROM kept.rows", timeout=30)}
    assert len(acknowledged) >= 2000
    assert set(acknowledged) <= stored
    keeper = engines.keepers["cassandra"]
    assert keeper.restarts == 1
    assert keeper.running is not None
    assert keeper.running.identity.pid != pid


def test_kafka_comes_back_and_a_waiting_producer_is_served(engines: Engines) -> None:
    servers = engines.environment["HUBBUB_KAFKA_BOOTSTRAP"]
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    admin.create_topics([NewTopic("kept", 1, 1)])["kept"].result(30)
    outcomes: list[KafkaError | None] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        outcomes.append(error)

    producer = Producer({"bootstrap.servers": servers, "acks": "all", "log_level": 0})
    producer.produce("kept", b"x" * 100, on_delivery=delivered)
    producer.flush(30)
    kill(engines, "kafka")
    producer.produce("kept", b"y" * 100, on_delivery=delivered)
    producer.flush(60)
    assert outcomes == [None, None]
    assert engines.keepers["kafka"].restarts == 1
