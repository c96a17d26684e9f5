"""What goes to Cassandra: batches within its limits, each ranking's in one partition, sent again while it is away."""

import threading
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import stamina
from cassandra import OperationTimedOut
from cassandra.query import UNSET_VALUE, BatchStatement

from analytics import persistence as module
from analytics.ladder import Change
from analytics.persistence import MAX_BATCH_BYTES, MAX_BATCH_ROWS, Stopping
from analytics.rollups import Stored, Values
from analytics.store import Store
from analytics.tallies import Board, Score
from infra.contracts.metrics import COUNTS, DISTINCTS
from infra.contracts.tables import PUT_MEMBER, PUT_WINDOW, Statement
from infra.contracts.windows import HOUR, MINUTE, QUARTER
from tests.unit.analytics.test_rollups import sketch

NOW = datetime(2026, 3, 14, 9, 26, tzinfo=UTC)


class Bound:
    """A statement and the values bound to it."""

    def __init__(self, cql: str, values: tuple[Any, ...]) -> None:
        self.cql, self.values = cql, values


class Prepared:
    def __init__(self, cql: str) -> None:
        self.cql = cql

    def bind(self, values: Iterable[Any]) -> Bound:
        return Bound(self.cql, tuple(values))


class Batch:
    """A batch that shows its statements."""

    def __init__(self, **_: Any) -> None:
        self.statements: list[Bound] = []

    def add(self, statement: Bound) -> None:
        self.statements.append(statement)


class Database:
    session = None

    def prepared(self, statement: Statement) -> Prepared:
        return Prepared(statement.cql)


class Server:
    """Takes what is executed; fails as often as told."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.failures = 0

    def execute(self, _session: None, statements: Iterable[tuple[Any, Any]], **_: Any) -> list[Any]:
        taken = [statement for statement, _ in statements]
        if self.failures:
            self.failures -= 1
            raise OperationTimedOut
        self.batches += taken
        return []


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server()
    monkeypatch.setattr(module, "execute_concurrent", made.execute)
    monkeypatch.setattr(module, "BatchStatement", Batch)
    return made


def make(stopping: threading.Event | None = None) -> Store:
    return Store(Database(), stopping or threading.Event())  # type: ignore[arg-type]


def changes(count: int, people: int) -> list[Change]:
    values = Values((1,) * len(COUNTS), (sketch(range(people)) if people else None,) * len(DISTINCTS))
    return [Change("acme", f"channel:c{n}", QUARTER, NOW, Stored(values, 1)) for n in range(count)]


def test_large_sketches_split_batches_by_bytes(server: Server) -> None:
    make().write(changes(20, people=1_000), [], NOW)
    windows = [b for b in server.batches if b.statements[0].cql == PUT_WINDOW.cql]
    assert sum(len(b.statements) for b in windows) == 20
    for batch in windows:
        assert sum(len(v) for s in batch.statements for v in s.values if isinstance(v, bytes)) <= MAX_BATCH_BYTES


def test_small_rows_split_batches_by_number(server: Server) -> None:
    make().write(changes(250, people=0), [], NOW)
    assert max(len(b.statements) for b in server.batches) == MAX_BATCH_ROWS


def test_nothing_is_written_where_there_is_no_sketch(server: Server) -> None:
    make().write(changes(1, people=0), [], NOW)
    assert UNSET_VALUE in server.batches[0].statements[0].values
    assert None not in server.batches[0].statements[0].values


def test_a_batch_of_members_is_of_one_partition(server: Server) -> None:
    scores = [
        Score(Board(f"t{n % 3}", (MINUTE, HOUR)[n % 2], NOW + timedelta(hours=n % 5)), f"u{n}", (n, 0))
        for n in range(200)
    ]
    make().write(changes(5, people=1), scores, NOW)
    members = [b for b in server.batches if b.statements[0].cql == PUT_MEMBER.cql]
    assert sum(len(b.statements) for b in members) == 205
    for batch in members:
        assert len({statement.values[3:7] for statement in batch.statements}) == 1


def test_minutes_of_channels_are_not_ranked(server: Server) -> None:
    minute = [Change(c.tenant, c.scope, MINUTE, c.start, c.stored) for c in changes(1, people=1)]
    make().write(minute, [], NOW)
    assert [s.cql for b in server.batches for s in b.statements] == [PUT_WINDOW.cql]


def test_the_same_is_sent_again_while_cassandra_is_away(server: Server) -> None:
    server.failures = 2
    store = make()
    with stamina.set_testing(True, attempts=10):
        store.write(changes(3, people=1), [], NOW)
    assert sum(len(b.statements) for b in server.batches) == 6
    assert store.reachable


def test_a_role_that_is_to_stop_does_not_wait_for_cassandra(server: Server) -> None:
    server.failures = 100
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(Stopping):
        make(stopping).write(changes(3, people=1), [], NOW)


def test_the_driver_s_batch_is_what_is_made() -> None:
    made = module._new_batch()
    assert isinstance(made, BatchStatement)
    assert made.is_idempotent
