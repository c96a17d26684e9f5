"""The archive as one report run sees it: fixed versions of its tables, and what was added since another run."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from deltalake import DeltaTable, QueryBuilder

from analytics.reports.facts import APART, REMOVALS
from analytics.reports.spans import Span
from infra.contracts.archive import ArchiveTable
from infra.contracts.events import MESSAGE_BLOCKED, MESSAGE_EDITED, MESSAGE_SENT
from infra.contracts.reports import Extent
from infra.runtime.archive import ArchiveReader, Partition, archived, files, inputs, reading
from infra.runtime.kafka import partitions_of
from infra.runtime.settings import Kafka

#: An event is appended so much after it was received at the latest, or it was refused.
IN_FLIGHT: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Removal:
    """A message or an edit that was taken away: when it was sent, and when the removal was received."""

    tenant: str
    sent: datetime
    removed: datetime


class Snapshot:
    """Tables opened once: whatever is written meanwhile belongs to the next run."""

    def __init__(self, reader: ArchiveReader, tables: Sequence[ArchiveTable]) -> None:
        """Open them. Raises as `ArchiveReader.open` does."""
        self._tables = tables
        self._root = reader.root
        self._open: dict[str, DeltaTable] = {table.name: reader.open(table) for table in tables}
        self.versions: Mapping[str, int] = {name: delta.version() for name, delta in self._open.items()}
        self._rows: dict[str, dict[date, int]] = {}
        for name, delta in self._open.items():
            of_day = self._rows.setdefault(name, {})
            for file in files(delta):
                of_day[file.day] = of_day.get(file.day, 0) + file.rows

    def extent(self, span: Span, tables: Iterable[ArchiveTable]) -> Extent:
        """How much of these tables a report of this period is made from."""
        first, last = span.utc_days
        names = [table.name for table in tables]
        return Extent(
            versions={name: self.versions[name] for name in names},
            rows={name: sum(n for day, n in self._rows[name].items() if first <= day <= last) for name in names},
            timezone=span.zone.key,
        )

    def archived(self, kafka: Kafka) -> dict[Partition, int | None]:
        """The next offset of every partition that feeds these tables."""
        found: dict[Partition, int | None] = {}
        for table in self._tables:
            for name, topic in zip(inputs(table, kafka), table.topics, strict=True):
                partitions = [(name, number) for number in range(partitions_of(kafka, topic))]
                reached = archived(self._open[table.name], partitions)
                found |= {partition: reached.get(partition) for partition in partitions}
        return found

    def removals(self, spans: Iterable[Span], since: datetime, *, reviewed: bool = False) -> list[Removal]:
        """Messages of these days that something took away which may have been received after `since`.

        A block takes the message's edits away as well, each on its own day. Where it matters what was `reviewed`, what
        a rule stopped and a moderator rejected is among them. Raises `Unreachable`.
        """
        touched = [day for span in spans for day in span.utc_days]
        if not touched:
            return []
        first, last = min(touched), max(touched)
        types = ", ".join(f"'{name}'" for name in sorted(REMOVALS))
        after = (
            f" AND r.type IN ({types}) AND r.day >= DATE '{first - APART}'"
            f" AND r.received_at > TIMESTAMP '{(since - IN_FLIGHT).isoformat()}'"
            f" AND s.day BETWEEN DATE '{first}' AND DATE '{last}' GROUP BY s.tenant, s.time"
        )
        query = (
            "SELECT s.tenant AS tenant, s.time AS sent, max(r.received_at) AS removed FROM events s"  # noqa: S608 - names and dates of our own
            " JOIN events r ON s.tenant = r.tenant AND coalesce(s.message_id, s.id) = r.message_id"
            f" WHERE (s.type = '{MESSAGE_SENT}' OR s.type = '{MESSAGE_EDITED}' AND r.type = '{MESSAGE_BLOCKED}'){after}"
        )
        if reviewed:
            query += (
                " UNION ALL SELECT s.tenant, s.time, max(r.received_at) FROM held s"  # noqa: S608 - as above
                " JOIN events r ON s.tenant = r.tenant AND s.id = r.message_id"
                f" WHERE r.type = '{MESSAGE_BLOCKED}'{after}"
            )
        names = ("tenant", "sent", "removed")
        builder = QueryBuilder()
        for name, delta in self._open.items():
            builder = builder.register(name, delta)
        with reading(self._root):
            columns = [[batch.column(name).to_pylist() for name in names] for batch in builder.execute(query)]
        return [Removal(*row) for batch in columns for row in zip(*batch, strict=True)]


def is_after(removal: Removal, as_of: datetime) -> bool:
    """Whether a report as of this moment may not have seen the removal."""
    return removal.removed > as_of - IN_FLIGHT
