"""Where stages are measured: real engines of their own, started for it unless the environment names others."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from infra.runtime.kafka import apply_topics
from infra.runtime.migrations import apply_schema
from infra.runtime.settings import Cassandra, Kafka
from tests.engines import engines


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Engines with all topics and tables under names of their own, and a folder for what is written."""

    kafka: Kafka
    cassandra: Cassandra
    folder: Path
    scale: float
    """How much of each stage's work is done; 1 for figures that are quoted."""

    def scaled(self, events: int) -> int:
        """So many events at this scale, in thousands."""
        return max(1_000, round(events * self.scale / 1_000) * 1_000)


@contextmanager
def opened(scale: float) -> Iterator[Place]:
    """The place, gone at the end."""
    with TemporaryDirectory(prefix="hubbub-bench-") as name, engines(Path(name)) as addresses:
        os.environ.update(addresses)
        run = secrets.token_hex(3)
        kafka, cassandra = Kafka(topic_prefix=f"bench-{run}-"), Cassandra(keyspace=f"bench_{run}")
        apply_topics(kafka)
        apply_schema(cassandra)
        yield Place(kafka=kafka, cassandra=cassandra, folder=Path(name), scale=scale)
