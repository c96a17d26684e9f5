"""A small Cassandra in memory: cells with write times, of which the later wins and of equal ones the larger value.

It reads the contract's own CQL, so a value bound in the wrong order lands in the wrong column here as well.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from infra.contracts.tables import Statement

_UPDATE = re.compile(r"UPDATE (\w+) USING TIMESTAMP \? SET (.+) WHERE (.+)")
_INSERT = re.compile(r"INSERT INTO (\w+) \((.+?)\) VALUES \(.+?\)( USING TIMESTAMP \?)?")
_SELECT = re.compile(r"SELECT (.+) FROM (\w+) WHERE (.+)")
_TIMES = {"sent_at", "deleted_at", "joined_at", "created_at", "last_activity", "effective_from", "blocked_at"}

Key = tuple[tuple[str, Any], ...]


class LastWriteWins:
    """Rows by table and primary key; each cell is (write time, value)."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[Key, dict[str, tuple[int, Any]]]] = {}
        self._clock = 0

    def write(self, statement: Statement, values: Sequence[Any]) -> None:
        left: list[Any] = [value.decode() if isinstance(value, bytes) else value for value in values]
        if update := _UPDATE.fullmatch(statement.cql):
            written = left.pop(0)
            cells: dict[str, Any] = {}
            for assignment in update[2].split(", "):
                column, _, value = assignment.partition(" = ")
                cells[column] = left.pop(0) if value == "?" else value.strip("'")
            key = tuple((condition.split()[0], left.pop(0)) for condition in update[3].split(" AND "))
            table = update[1]
        else:
            insert = _INSERT.fullmatch(statement.cql)
            assert insert is not None, statement.cql
            self._clock += 1
            written = left.pop() if insert[3] else self._clock
            columns = insert[2].split(", ")
            split = {"channel_buckets": 3, "pending_changes": 3}[insert[1]]
            pairs = list(zip(columns, left, strict=True))
            left.clear()
            key, table = tuple(pairs[:split]), insert[1]
            cells = dict(pairs[split:])
        assert not left, "more values than places"
        row = self.tables.setdefault(table, {}).setdefault(key, {})
        for column, value in cells.items():
            if value is not None and (column not in row or (written, value) > row[column]):
                row[column] = (written, value)

    def read(self, statement: Statement, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        select = _SELECT.fullmatch(statement.cql)
        assert select is not None, statement.cql
        left = list(values)
        wanted = {
            condition.split()[0]: left.pop(0) for condition in select[3].split(" AND ") if condition.endswith("?")
        }
        rows = []
        for key, cells in self.tables.get(select[2], {}).items():
            columns = {**{name: value for name, (_, value) in cells.items()}, **dict(key)}
            if all(columns.get(name) == value for name, value in wanted.items()):
                rows.append(tuple(_show(column, columns, cells) for column in select[1].split(", ")))
        return rows

    def rows(self, table: str) -> dict[Key, dict[str, Any]]:
        """The table's rows without write times."""
        return {
            key: {name: value for name, (_, value) in cells.items()}
            for key, cells in self.tables.get(table, {}).items()
        }


def _show(column: str, columns: dict[str, Any], cells: dict[str, tuple[int, Any]]) -> Any:
    if column.startswith("writetime("):
        cell = cells.get(column[len("writetime(") : column.index(")")])
        return cell and cell[0]
    value = columns.get(column)
    if column in _TIMES and value is not None:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=value)).replace(tzinfo=None)
    return value
