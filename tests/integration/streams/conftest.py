"""Topics of each test's own, and a log file for the processes it starts."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from infra.runtime.kafka import admin, apply_topics
from infra.runtime.settings import Kafka


@pytest.fixture
def own_kafka(kafka: Kafka) -> Iterator[Kafka]:
    """The same Kafka under a prefix that nothing has written to yet."""
    settings = Kafka(topic_prefix=f"{kafka.topic_prefix}{secrets.token_hex(2)}-")
    created = apply_topics(settings)
    yield settings
    client = admin(settings)
    for done in client.delete_topics(created).values():
        done.result(30)


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[IO[bytes]]:
    with (tmp_path / "router.log").open("wb") as file:
        yield file
