"""What the analytics tests need beside the engines: Spark's jars, a Java, and one session for all that can share it."""

import asyncio
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from analytics.session import DELTA, start_session
from analytics.settings import Analytics
from infra.local import jars, java
from infra.local.settings import Local
from infra.runtime.cassandra import Database, connect
from infra.runtime.kafka import apply_topics
from infra.runtime.migrations import apply_schema
from infra.runtime.settings import Cassandra, Kafka
from tests.integration.analytics.places import Place


@pytest.fixture(scope="session")
def java_home() -> Path:
    """The Java that the local engines would run on."""
    return java.find(os.environ).home


@pytest.fixture(scope="session")
def analytics() -> Analytics:
    """Settings with the jars of the lock, fetched if this machine has not got them yet."""
    if os.environ.get("HUBBUB_ANALYTICS_JARS"):
        return Analytics()
    local, locked = Local(), jars.locked("spark")
    asyncio.run(
        jars.ensure(
            locked,
            cache=local.jar_cache,
            url=local.maven_url,
            maven_local=local.maven_local,
            progress=lambda done, total: None,
        )
    )
    return Analytics(jars=",".join(map(str, jars.spark_jars(local.jar_cache))))


@pytest.fixture(scope="module")
def spark(analytics: Analytics, java_home: Path) -> Iterator[SparkSession]:
    """A real session, configured as the role configures it."""
    session = start_session(analytics, java_home)
    yield session
    session.stop()


@pytest.fixture(scope="module")
def delta(analytics: Analytics, java_home: Path) -> Iterator[SparkSession]:
    """A session that reads Delta tables, as reports start it."""
    session = start_session(analytics, java_home, DELTA)
    yield session
    session.stop()


@pytest.fixture
def place(tmp_path: Path, delta: SparkSession) -> Place:
    """An empty archive of this test's own, and reports over it."""
    return Place(tmp_path / "archive", delta)


@pytest.fixture
def topics(kafka: Kafka) -> Kafka:
    """Topics of this test's own; they go with those of the test session."""
    settings = kafka.model_copy(update={"topic_prefix": f"{kafka.topic_prefix}{secrets.token_hex(3)}-"})
    apply_topics(settings)
    return settings


@pytest.fixture
def keyspace(cassandra: Cassandra) -> Iterator[Cassandra]:
    """The schema in a keyspace of this test's own."""
    settings = cassandra.model_copy(update={"keyspace": f"{cassandra.keyspace}_{secrets.token_hex(3)}"})
    apply_schema(settings)
    yield settings
    database = connect(settings, keyspace="", prepare=False)
    database.session.execute(f'DROP KEYSPACE "{settings.keyspace}"', timeout=60)
    database.close()


@pytest.fixture
def database(keyspace: Cassandra) -> Iterator[Database]:
    """A session in that keyspace."""
    connected = connect(keyspace)
    yield connected
    connected.close()
