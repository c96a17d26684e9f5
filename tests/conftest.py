"""Fixtures every kind of test shares. Each session has its own topics and keyspace, so sessions never meet."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from infra.runtime.kafka import admin, apply_topics
from infra.runtime.migrations import apply_schema
from infra.runtime.settings import Cassandra, Kafka
from tests.engines import engines

# Whether a test passes must not depend on what else the machine does.
hypothesis.settings.register_profile("hubbub", deadline=None)
hypothesis.settings.load_profile("hubbub")

KINDS = ("unit", "contract", "integration", "system")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test's kind is the folder it lies in."""
    here = Path(__file__).parent
    for item in items:
        kind = item.path.relative_to(here).parts[0]
        if kind in KINDS:
            item.add_marker(kind)


@pytest.fixture(scope="session")
def engine_addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Addresses of a real Kafka and Cassandra as `HUBBUB_*` variables, also set in this process's environment."""
    with engines(tmp_path_factory.mktemp("engines")) as addresses, pytest.MonkeyPatch.context() as patch:
        for name, value in addresses.items():
            patch.setenv(name, value)
        yield addresses


@pytest.fixture(scope="session")
def kafka(engine_addresses: dict[str, str]) -> Iterator[Kafka]:
    """A real Kafka with every topic of the contract, under a prefix of this session's own."""
    settings = Kafka(topic_prefix=f"test-{os.getpid()}-{secrets.token_hex(3)}-")
    apply_topics(settings)
    yield settings
    client = admin(settings)
    mine = [name for name in client.list_topics(timeout=10).topics if name.startswith(settings.topic_prefix)]
    for done in client.delete_topics(mine).values():
        done.result(30)


@pytest.fixture(scope="session")
def cassandra(engine_addresses: dict[str, str]) -> Iterator[Cassandra]:
    """A real Cassandra with the whole schema, in a keyspace of this session's own."""
    from infra.runtime.cassandra import connect

    settings = Cassandra(keyspace=f"test_{os.getpid()}_{secrets.token_hex(3)}")
    apply_schema(settings)
    yield settings
    database = connect(settings, keyspace="", prepare=False)
    database.session.execute(f'DROP KEYSPACE "{settings.keyspace}"', timeout=60)
    database.close()
