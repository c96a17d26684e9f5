"""What the interactions know, in Cassandra: windows, boards of who waits, and how far all that has come."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from analytics.interactions.windows import Key, Window
from analytics.persistence import Persistent, batched
from infra.contracts.interactions import INTERACTIONS_QUERY, Board
from infra.contracts.tables import PROGRESS, PUT_INTERACTIONS, PUT_PROGRESS, PUT_WAITING
from infra.contracts.windows import BY_NAME

STATEMENTS: Final = {s.name: s for s in (PROGRESS, PUT_INTERACTIONS, PUT_PROGRESS, PUT_WAITING)}


class Store(Persistent):
    """Writes that wait for Cassandra as long as it is away, unless `stopping` is set."""

    def watermark(self) -> datetime | None:
        """How far whoever was here before had come."""
        rows = self.run(lambda: [self._database.prepared(PROGRESS).bind((INTERACTIONS_QUERY,))])[0]
        return rows[0][1].replace(tzinfo=UTC) if rows and rows[0][1] else None

    def write(self, windows: Sequence[tuple[Key, Window]], now: datetime) -> None:
        """Store windows."""
        put = self._database.prepared(PUT_INTERACTIONS)
        self.run(
            lambda: batched(
                put.bind((*window.counts, window.responses, window.revision, now, *_place(key)))
                for key, window in windows
            )
        )

    def show(self, boards: Iterable[tuple[str, str, Board]], now: datetime) -> None:
        """Store who waits, by tenant and scope. A row may be too large to share a batch."""
        put = self._database.prepared(PUT_WAITING)
        rows = [(tenant, scope, msgspec.json.encode(board).decode(), now) for tenant, scope, board in boards]
        self.run(lambda: map(put.bind, rows))

    def write_progress(
        self, watermark: datetime, offsets: dict[str, dict[int, int]], since: datetime | None, late: int, copies: int,
        now: datetime,
    ) -> None:  # fmt: skip
        """Store how far all that is stored has come."""
        values = (INTERACTIONS_QUERY, 0, watermark, msgspec.json.encode(offsets).decode(), since, late, copies, now)
        self.run(lambda: [self._database.prepared(PUT_PROGRESS).bind(values)])


def _place(key: Key) -> tuple[str, str, str, str, datetime]:
    return (key.tenant, key.scope, key.grain, BY_NAME[key.grain].period_of(key.start), key.start)
