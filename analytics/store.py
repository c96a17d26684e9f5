"""The metric tables in Cassandra: windows and tallies read and written whole, in batches within its limits."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from cassandra.query import UNSET_VALUE, BatchStatement

from analytics.ladder import Change, Family
from analytics.persistence import Persistent, batched
from analytics.rollups import Stored, from_columns, to_columns
from analytics.tallies import Board, Score, Tally
from infra.contracts.metrics import channel_scope
from infra.contracts.tables import MEASURE_COLUMNS, MEMBERS, PROGRESS, PUT_MEMBER, PUT_PROGRESS, PUT_WINDOW, WINDOWS
from infra.contracts.windows import MINUTE

SOURCE: Final = "stream"
_CHANNEL: Final = channel_scope("")
_MEMBER_COLUMNS: Final = tuple(MEASURE_COLUMNS.index(name) for name in ("sent", "reactions", "contributors"))
#: Tenant, kind, grain and start.
_PARTITION: Final = itemgetter(0, 1, 2, 3)


class Store(Persistent):
    """Reads and writes that wait for Cassandra as long as it is away, unless `stopping` is set."""

    def families(self, families: Sequence[Family]) -> list[dict[datetime, Stored]]:
        """The stored windows of each family."""
        select = self._database.prepared(WINDOWS)
        rows = self.run(
            lambda: (
                select.bind((f.tenant, f.scope, f.grain.name, f.grain.period_of(f.start), SOURCE, f.start, f.end))
                for f in families
            )
        )
        return [{_utc(row[0]): _stored(row) for row in found} for found in rows]

    def boards(self, boards: Sequence[Board]) -> list[dict[str, Tally]]:
        """The stored tallies of each board."""
        select = self._database.prepared(MEMBERS)
        rows = self.run(lambda: (select.bind((b.tenant, "user", b.grain.name, b.start)) for b in boards))
        return [{user: (sent or 0, reactions or 0) for user, sent, reactions, _ in found} for found in rows]

    def write(self, changes: Sequence[Change], scores: Sequence[Score], now: datetime) -> None:
        """Store windows, the channels' places in rankings, and the users' tallies. Returns once all are confirmed."""
        self.run(lambda: self._batches([(change, to_columns(change.stored.values)) for change in changes], scores, now))

    def progress(self, query: str) -> tuple[Any, ...] | None:
        """The stored progress of a query, in the order `tables.PROGRESS` selects it."""
        rows = self.run(lambda: [self._database.prepared(PROGRESS).bind((query,))])[0]
        return rows[0] if rows else None

    def put_progress(self, *values: Any) -> None:
        """Store the progress of a query, in the order of `tables.PUT_PROGRESS`."""
        self.run(lambda: [self._database.prepared(PUT_PROGRESS).bind(values)])

    def _batches(
        self, windows: Sequence[tuple[Change, list[Any]]], scores: Sequence[Score], now: datetime
    ) -> Iterator[BatchStatement]:
        put = self._database.prepared(PUT_WINDOW)
        yield from batched(put.bind(_window(change, columns, now)) for change, columns in windows)
        channels = (_channel(change, columns) for change, columns in windows if _is_ranked(change))
        users = (
            (s.board.tenant, "user", s.board.grain.name, s.board.start, s.user, *s.tally, UNSET_VALUE) for s in scores
        )
        put = self._database.prepared(PUT_MEMBER)
        for members in (channels, users):
            # A window's members are one partition, and no batch is over two.
            for _, rows in groupby(sorted(members, key=_PARTITION), key=_PARTITION):
                yield from batched(put.bind((*row[5:], *row[:5])) for row in rows)


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
