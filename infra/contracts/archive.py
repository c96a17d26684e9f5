"""The archive: its tables and their columns. The archive writer fills them, reports and backtests read them.

A table holds each record of its topics once, and so the copies that a client's or the router's repetition left there:
rows are told apart by their `identity`, and of several the one that was received first counts, by `FIRST`.
"""

from dataclasses import dataclass
from typing import Final, Literal

from infra.contracts import topics
from infra.contracts.topics import Topic

Kind = Literal["string", "timestamp", "date", "boolean", "integer"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column. Timestamps are in UTC with microseconds, integers 64 bits wide; objects are JSON strings."""

    name: str
    kind: Kind
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveTable:
    """One table: a folder under the archive's root, partitioned by the UTC `day` of `by`."""

    name: str
    topics: tuple[Topic, ...]
    by: Literal["time", "received_at"]
    columns: tuple[Column, ...]
    #: Columns whose values two copies of one thing share.
    identity: tuple[str, ...] = ("tenant", "id")

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names, in order."""
        return tuple(column.name for column in self.columns)


_DAY: Final = Column("day", "date", required=True)
_TENANT: Final = Column("tenant", "string", required=True)
#: Where the record came from: the input record's element, as in the `src` header.
SRC: Final = (
    Column("src_topic", "string"),
    Column("src_partition", "integer"),
    Column("src_offset", "integer"),
    Column("src_index", "integer"),
)
#: The envelope, field by field.
EVENT: Final = (
    Column("id", "string", required=True),
    Column("type", "string", required=True),
    Column("time", "timestamp", required=True),
    Column("received_at", "timestamp", required=True),
    Column("client_time", "timestamp"),
    Column("channel_id", "string"),
    Column("user_id", "string"),
    Column("anonymous_id", "string"),
    Column("message_id", "string"),
    Column("thread_id", "string"),
    Column("reply_to", "string"),
    Column("text", "string"),
    Column("reaction", "string"),
    Column("is_bot", "boolean"),
    Column("historical", "boolean"),
    Column("late", "boolean"),
    Column("source", "string"),
    Column("request_id", "string"),
    Column("properties", "string"),
    Column("context", "string"),
)
VERDICT: Final = (
    Column("action", "string", required=True),
    Column("rule", "string", required=True),
    Column("rule_version", "integer", required=True),
    Column("reason", "string", required=True),
    Column("matches", "integer", required=True),
    # Rows from before these two were kept have none.
    Column("severity", "string"),
    Column("shadow", "boolean"),
)

EVENTS: Final = ArchiveTable(
    name="events",
    topics=(topics.EVENTS, topics.EVENTS_BACKFILL),
    by="time",
    columns=(_DAY, _TENANT, *EVENT, *SRC, Column("rule", "string")),
)
#: An event as received, and the verdict that stopped it.
HELD: Final = ArchiveTable(
    name="held", topics=(topics.HELD,), by="time", columns=(_DAY, _TENANT, *EVENT, *VERDICT, *SRC)
)
VERDICTS: Final = ArchiveTable(
    name="verdicts",
    topics=(topics.VERDICTS,),
    by="received_at",
    identity=("tenant", "event_id", "rule", "rule_version", "action"),
    columns=(
        _DAY,
        _TENANT,
        Column("event_id", "string", required=True),
        Column("channel_id", "string"),
        Column("received_at", "timestamp", required=True),
        *VERDICT,
        Column("applied", "boolean", required=True),
        *SRC,
    ),
)

TABLES: Final = (EVENTS, HELD, VERDICTS)
#: Columns by which the copies of one thing are ordered; of those received at the same time the first in the log.
FIRST: Final = ("received_at", *(column.name for column in SRC))
