"""A driver session in memory: answers when told to, and fails as told to, on the caller's thread."""

from collections import deque
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from cassandra.query import BatchStatement, PreparedStatement

from infra.contracts.tables import STATEMENTS, Statement


class FakeResponse:
    """One request that was sent."""

    def __init__(self, statement: Any) -> None:
        self.statement = statement
        self.has_more_pages = False
        self.pages: list[Any] = []
        self._callbacks: list[tuple[Callable[[Any], None], Callable[[Exception], None]]] = []

    @property
    def rows(self) -> int:
        is_batch = isinstance(self.statement, BatchStatement)
        return len(self.statement._statements_and_parameters) if is_batch else 1

    def add_callbacks(self, done: Callable[[Any], None], failed: Callable[[Exception], None]) -> None:
        self._callbacks.append((done, failed))

    def start_fetching_next_page(self) -> None:
        self._turn()

    def answer(self, *pages: Sequence[Any]) -> None:
        self.pages = list(pages) or [None]
        self._turn()

    def fail(self, error: Exception) -> None:
        for _, failed in self._callbacks:
            failed(error)

    def _turn(self) -> None:
        page = self.pages.pop(0)
        self.has_more_pages = bool(self.pages)
        for done, _ in self._callbacks:
            done(page)


class FakeDatabase:
    """What `infra.runtime.cassandra.Database` is to the history writer; each key's replica is one of `hosts`."""

    def __init__(self, hosts: int = 1) -> None:
        self.sent: deque[FakeResponse] = deque()
        self.session = SimpleNamespace(execute_async=self._execute, keyspace="ks")
        nodes = [SimpleNamespace(host_id=number) for number in range(hosts)]
        metadata = SimpleNamespace(
            all_hosts=lambda: nodes, get_replicas=lambda keyspace, key: [nodes[sum(key) % len(nodes)]]
        )
        self.cluster = SimpleNamespace(metadata=metadata)
        self._prepared = {
            name: PreparedStatement([], name.encode(), None, statement.cql, "ks", 5, None, None)
            for name, statement in STATEMENTS.items()
        }

    def prepared(self, statement: Statement) -> Any:
        prepared = self._prepared[statement.name]
        return _Reading(prepared) if statement.cql.startswith("SELECT") else prepared

    def _execute(self, statement: Any) -> FakeResponse:
        self.sent.append(FakeResponse(statement))
        return self.sent[-1]


class _Reading:
    def __init__(self, prepared: PreparedStatement) -> None:
        self.prepared = prepared

    def bind(self, values: Sequence[Any]) -> Any:
        return self.prepared, tuple(values)
