"""Statements that wait for Cassandra as long as it is away, many at once and in batches within its limits."""

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

import stamina
import structlog
from cassandra.concurrent import execute_concurrent
from cassandra.query import BatchStatement, BatchType, BoundStatement

from infra.runtime.cassandra import PASSING, Database

log = structlog.get_logger("hubbub.analytics")

#: Cassandra refuses a batch over 50 KiB unless told otherwise; keys and overhead are not counted exactly here.
MAX_BATCH_BYTES: Final = 30 * 1024
MAX_BATCH_ROWS: Final = 100
_CONCURRENT: Final = 16
_ROW_BYTES: Final = 160

T = TypeVar("T")


class Stopping(Exception):
    """The role is to stop and Cassandra does not answer: the batch is left to the next start."""


class Persistent:
    """A store whose statements are sent again until they succeed, unless `stopping` is set."""

    def __init__(self, database: Database, stopping: threading.Event) -> None:
        self._database = database
        self._stopping = stopping
        self.reachable = True

    def run(self, statements: Callable[[], Iterable[Any]]) -> list[list[tuple[Any, ...]]]:
        """All rows of each statement. They are made while others are on their way, and anew to be sent again."""

        def once() -> list[list[tuple[Any, ...]]]:
            results = execute_concurrent(
                self._database.session,
                ((statement, ()) for statement in statements()),
                concurrency=_CONCURRENT,
                raise_on_first_error=True,
            )
            return [list(result.result_or_exc) for result in results]

        return self._persist(once)

    def _persist(self, action: Callable[[], T]) -> T:
        for attempt in stamina.retry_context(
            on=self._may_pass, attempts=None, timeout=None, wait_initial=0.1, wait_max=2.0
        ):
            with attempt:
                result = action()
        self.reachable = True
        return result

    def _may_pass(self, error: Exception) -> bool:
        if not isinstance(error, PASSING):
            return False
        self.reachable = False
        log.warning("store.retry", error=type(error).__name__)
        if self._stopping.is_set():
            raise Stopping from error
        return True


def batched(statements: Iterable[BoundStatement]) -> Iterator[BatchStatement]:
    """The statements in unlogged batches; all of them belong to one table."""
    batch, size, rows = _new_batch(), 0, 0
    for statement in statements:
        width = _ROW_BYTES + sum(len(value) for value in statement.values if value.__class__ is bytes)
        if rows and (size + width > MAX_BATCH_BYTES or rows == MAX_BATCH_ROWS):
            yield batch
            batch, size, rows = _new_batch(), 0, 0
        batch.add(statement)
        size, rows = size + width, rows + 1
    if rows:
        yield batch


def _new_batch() -> BatchStatement:
    batch = BatchStatement(batch_type=BatchType.UNLOGGED)
    batch.is_idempotent = True
    return batch
