"""The metric tables in Cassandra: windows and tallies read and written whole, in batches within its limits."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, TypeVar

import stamina
import structlog
from cassandra.concurrent import execute_concurrent
from cassandra.query import UNSET_VALUE, BatchStatement, BatchType, BoundStatement

from analytics.ladder import Change, Family
from analytics.rollups import Stored, from_columns, to_columns
from analytics.tallies import Board, Score, Tally
from infra.contracts.metrics import channel_scope
from infra.contracts.tables import MEASURE_COLUMNS, MEMBERS, PROGRESS, PUT_MEMBER, PUT_PROGRESS, PUT_WINDOW, WINDOWS
from infra.contracts.windows import MINUTE
from infra.runtime.cassandra import PASSING, Database

log = structlog.get_logger("hubbub.analytics")

#: Cassandra refuses a batch over 50 KiB unless told otherwise; keys and overhead are not counted exactly here.
MAX_BATCH_BYTES: Final = 30 * 1024
MAX_BATCH_ROWS: Final = 100
SOURCE: Final = "stream"
_CONCURRENT: Final = 16
_ROW_BYTES: Final = 160
_CHANNEL: Final = channel_scope("")
_MEMBER_COLUMNS: Final = tuple(MEASURE_COLUMNS.index(name) for name in ("sent", "reactions", "contributors"))
#: Tenant, kind, grain and start.
_PARTITION: Final = itemgetter(0, 1, 2, 3)

T = TypeVar("T")


class Stopping(Exception):
    """The role is to stop and Cassandra does not answer: the batch is left to the next start."""


class Store:
    """Reads and writes that wait for Cassandra as long as it is away, unless `stopping` is set."""

    def __init__(self, database: Database, stopping: threading.Event) -> None:
        self._database = database
        self._stopping = stopping
        self.reachable = True

    def families(self, families: Sequence[Family]) -> list[dict[datetime, Stored]]:
        """The stored windows of each family."""
        select = self._database.prepared(WINDOWS)
        rows = self._run(
            lambda: (
                select.bind((f.tenant, f.scope, f.grain.name, f.grain.period_of(f.start), SOURCE, f.start, f.end))
                for f in families
            )
        )
        return [{_utc(row[0]): _stored(row) for row in found} for found in rows]

    def boards(self, boards: Sequence[Board]) -> list[dict[str, Tally]]:
        """The stored tallies of each board."""
        select = self._database.prepared(MEMBERS)
        rows = self._run(lambda: (select.bind((b.tenant, "user", b.grain.name, b.start)) for b in boards))
        return [{user: (sent or 0, reactions or 0) for user, sent, reactions, _ in found} for found in rows]

    def write(self, changes: Sequence[Change], scores: Sequence[Score], now: datetime) -> None:
        """Store windows, the channels' places in rankings, and the users' tallies. Returns once all are confirmed."""
        self._run(
            lambda: self._batches([(change, to_columns(change.stored.values)) for change in changes], scores, now)
        )

    def progress(self, query: str) -> tuple[Any, ...] | None:
        """The stored progress of a query, in the order `tables.PROGRESS` selects it."""
        rows = self._run(lambda: [self._database.prepared(PROGRESS).bind((query,))])[0]
        return rows[0] if rows else None

    def put_progress(self, *values: Any) -> None:
        """Store the progress of a query, in the order of `tables.PUT_PROGRESS`."""
        self._run(lambda: [self._database.prepared(PUT_PROGRESS).bind(values)])

    def _batches(
        self, windows: Sequence[tuple[Change, list[Any]]], scores: Sequence[Score], now: datetime
    ) -> Iterator[BatchStatement]:
        put = self._database.prepared(PUT_WINDOW)
        yield from _batched(put.bind(_window(change, columns, now)) for change, columns in windows)
        channels = (_channel(change, columns) for change, columns in windows if _is_ranked(change))
        users = (
            (s.board.tenant, "user", s.board.grain.name, s.board.start, s.user, *s.tally, UNSET_VALUE) for s in scores
        )
        put = self._database.prepared(PUT_MEMBER)
        for members in (channels, users):
            # A window's members are one partition, and no batch is over two.
            for _, rows in groupby(sorted(members, key=_PARTITION), key=_PARTITION):
                yield from _batched(put.bind((*row[5:], *row[:5])) for row in rows)

    def _run(self, statements: Callable[[], Iterable[Any]]) -> list[list[tuple[Any, ...]]]:
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


def _batched(statements: Iterable[BoundStatement]) -> Iterator[BatchStatement]:
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


def _window(change: Change, columns: Sequence[Any], now: datetime) -> tuple[Any, ...]:
    grain, start = change.grain, change.start
    key = (change.tenant, change.scope, grain.name, grain.period_of(start), SOURCE, start)
    return (*(UNSET_VALUE if v is None else v for v in columns), change.stored.revision, now, *key)


def _is_ranked(change: Change) -> bool:
    return change.grain is not MINUTE and change.scope.startswith(_CHANNEL)


def _channel(change: Change, columns: Sequence[Any]) -> tuple[Any, ...]:
    member = change.scope.removeprefix(_CHANNEL)
    values = (columns[i] for i in _MEMBER_COLUMNS)
    return (change.tenant, "channel", change.grain.name, change.start, member, *values)


def _stored(row: tuple[Any, ...]) -> Stored:
    return Stored(from_columns(row[1 : 1 + len(MEASURE_COLUMNS)]), row[1 + len(MEASURE_COLUMNS)] or 0)


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC)
