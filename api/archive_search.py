"""Finds one event in the archive, in the days around the one its id tells.

Importing this loads delta-rs, and the first search its query engine, 90 MB together: a trace does so when it needs to.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from infra.contracts import archive
from infra.contracts.archive import ArchiveTable
from infra.contracts.events import Event
from infra.contracts.headers import Src
from infra.contracts.records import Action, Verdict
from infra.runtime.archive import ArchiveReader
from infra.runtime.settings import Archive, Runtime

#: An event's time may have been corrected, so that it is archived in a day beside its id's.
_MARGIN = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """An event as it was archived."""

    event: Event
    outcome: str
    verdict: Verdict | None
    src: str | None
    rule: str | None


def find(place: Archive, runtime: Runtime, tenant: str, event_id: str, moment: datetime) -> Archived | None:
    """The tenant's event with an id of this moment. Blocks for seconds.

    Raises `PreconditionError` when there is no archive or it does not answer.
    """
    reader = ArchiveReader(place, runtime)
    days = ((moment - _MARGIN).date(), (moment + _MARGIN).date())
    for table in (archive.EVENTS, archive.HELD):
        for row in reader.rows(table, tenant=tenant, days=days, where={"id": event_id}):
            return _archived(table, row)
    return None


def _archived(table: ArchiveTable, row: dict[str, Any]) -> Archived:
    fields = {column.name: row[column.name] for column in archive.EVENT}
    for name in ("properties", "context"):
        fields[name] = msgspec.json.decode(fields[name]) if fields[name] else None
    outcome, verdict, rule = "events", None, row["rule"]
    if table is archive.HELD:
        names = ("action", "rule", "reason", "matches", "severity", "shadow")
        given = {name: row[name] for name in names if row[name] is not None}
        verdict = msgspec.convert(given | {"version": row["rule_version"]}, Verdict)
        rule = None
        outcome = "held" if verdict.action is Action.HOLD else "blocked"
    src = None
    if row["src_topic"] is not None:
        src = Src(row["src_topic"], row["src_partition"], row["src_offset"], row["src_index"]).encode().decode()
    event = Event(tenant=row["tenant"], **fields)
    return Archived(event=event, outcome=outcome, verdict=verdict, src=src, rule=rule)
