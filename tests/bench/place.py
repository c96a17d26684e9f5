"""Where stages are measured: real engines of their own, started for it unless the environment names others."""

import os
import secrets
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

from infra.runtime.kafka import apply_topics
from infra.runtime.migrations import apply_schema
from infra.runtime.settings import Cassandra, Kafka
from tests.engines import ADDRESSES, engines


class Place:
    """A folder, and engines that start when first asked for, with all topics and tables under names of their own.

    `scale` is how much of each stage's work is done: 1 for figures that are quoted.
    """

    def __init__(self, scale: float) -> None:
        self.scale = scale
        self._stack = ExitStack()
        self._engines = ExitStack()
        self._run = secrets.token_hex(3)

    def __enter__(self) -> "Place":
        self.folder = Path(self._stack.enter_context(TemporaryDirectory(prefix="hubbub-bench-")))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()
        self._stack.close()

    def scaled(self, events: int) -> int:
        """So many events at this scale, in thousands."""
        return max(1_000, round(events * self.scale / 1_000) * 1_000)

    def clear(self) -> None:
        """Stop the engines, for a stage that brings its own."""
        self._engines.close()

    @cached_property
    def kafka(self) -> Kafka:
        """With every topic."""
        kafka = Kafka(bootstrap=self._addresses[ADDRESSES[0]], topic_prefix=f"bench-{self._run}-")
        apply_topics(kafka)
        return kafka

    @cached_property
    def cassandra(self) -> Cassandra:
        """With the schema."""
        self._addresses  # noqa: B018 - started, and told to the settings
        cassandra = Cassandra(keyspace=f"bench_{self._run}")
        apply_schema(cassandra)
        return cassandra

    @cached_property
    def _addresses(self) -> dict[str, str]:
        addresses = self._engines.enter_context(engines(self.folder))
        before = {name: os.environ.get(name) for name in addresses}
        self._engines.callback(_restore, before)
        os.environ.update(addresses)
        return addresses


def _restore(before: dict[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
