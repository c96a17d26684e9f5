"""Tables of rows kept in memory: the most recently used, as long as all rows together stay within a limit."""

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
R = TypeVar("R", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, R, V]):
    """Tables by key; each maps a row's key to its value."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tables: OrderedDict[K, dict[R, V]] = OrderedDict()

    def __getitem__(self, key: K) -> dict[R, V]:
        """The table with this key, to be read and changed. KeyError unless it was put."""
        return self._tables[key]

    def missing(self, keys: Iterable[K]) -> list[K]:
        """Those of the keys that have no table. The others count as used now."""
        absent = []
        for key in dict.fromkeys(keys):
            if key in self._tables:
                self._tables.move_to_end(key)
            else:
                absent.append(key)
        return absent

    def put(self, tables: Mapping[K, dict[R, V]]) -> None:
        """Keep these tables, used now."""
        self._tables.update(tables)

    def shrink(self) -> None:
        """Let go of the least recently used until the limit is met."""
        rows = sum(len(table) + 1 for table in self._tables.values())
        while rows > self._limit and self._tables:
            _, table = self._tables.popitem(last=False)
            rows -= len(table) + 1

    def clear(self) -> None:
        """Keep nothing: what is in memory may no longer be what is stored."""
        self._tables.clear()
