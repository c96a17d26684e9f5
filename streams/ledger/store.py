"""The ledger in Cassandra: absolute values, so that writing a minute again changes nothing."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from infra.contracts import placement, tables
from infra.contracts.control import CANARY
from infra.contracts.ledger import Minute
from infra.runtime.cassandra import PASSING, Database
from streams.ledger import canary

STATEMENTS: Final = {
    s.name: s
    for s in (
        tables.PUT_LEDGER_MINUTE,
        tables.PUT_LEDGER_PROGRESS,
        tables.LEDGER_PROGRESS,
        tables.PROGRESS,
        tables.READ_MARKS,
    )
}
_CONCURRENT: Final = 32
_offsets = msgspec.json.Decoder(dict[str, dict[str, int]])


class Store:
    """Blocking reads and writes. All but `canary` may raise one of `PASSING`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def resume_from(self) -> datetime | None:
        """The start of the first minute that was not stored for good; None before the first run."""
        prepared = self._database.prepared(tables.LEDGER_PROGRESS)
        row = self._database.session.execute(prepared).one()
        return None if row is None or row[0] is None else row[0].replace(tzinfo=UTC)

    def analytics_offsets(self) -> Mapping[str, Mapping[str, int]]:
        """The next offsets the metrics query will read: what is before them is in stored windows."""
        prepared = self._database.prepared(tables.PROGRESS)
        row = self._database.session.execute(prepared, (tables.METRICS_QUERY,)).one()
        return {} if row is None else _offsets.decode(row[2] or "{}")

    def canary(self) -> str | None:
        """Which canary history holds; None before the first, and while Cassandra cannot be asked."""
        prepared = self._database.prepared(tables.READ_MARKS)
        try:
            row = self._database.session.execute(prepared, (CANARY.id, canary.NAME)).one()
        except PASSING:
            return None
        return None if row is None else row[2]

    def write(self, minutes: Sequence[Minute], checked_at: datetime) -> None:
        """Store these minutes as they are now."""
        prepared = self._database.prepared(tables.PUT_LEDGER_MINUTE)
        for first in range(0, len(minutes), _CONCURRENT):
            under_way = [
                self._database.session.execute_async(
                    prepared,
                    (
                        m.tenant,
                        placement.day(m.start),
                        m.start,
                        m.accepted,
                        m.events,
                        m.signals,
                        m.held,
                        m.blocked,
                        m.dlq,
                        m.duplicates,
                        m.state.value,
                        None if m.stage is None else m.stage.value,
                        m.expected,
                        m.found,
                        m.src,
                        checked_at,
                    ),
                )
                for m in minutes[first : first + _CONCURRENT]
            ]
            for response in under_way:
                response.result()

    def write_progress(self, resume_from: datetime, read_until: datetime, checked_at: datetime) -> None:
        """Store how far the ledger is: everything before `resume_from` is written for good."""
        prepared = self._database.prepared(tables.PUT_LEDGER_PROGRESS)
        self._database.session.execute(prepared, (resume_from, read_until, checked_at))
