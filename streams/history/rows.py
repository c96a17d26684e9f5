"""The words history's work is said in: rows to write, rows to read, and the steps they are done in."""

from collections.abc import Generator, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from infra.contracts.events import Event, Invalid
from infra.contracts.tables import Statement

#: About what a row takes beside its text, in bytes.
ROW_OVERHEAD: Final = 200


class Row(msgspec.Struct, frozen=True, gc=False):
    """One row to write. None is a value not set, bytes are text in UTF-8, integers are 64 bits wide.

    `partition` is the partition key, `size` about the row's bytes. A row that many events need at the same time is
    `shared`: all wait for one write of it.
    """

    statement: Statement
    values: tuple[str | bytes | int | bool | None, ...]
    partition: tuple[str | int, ...]
    size: int = ROW_OVERHEAD
    shared: bool = False


class Read(msgspec.Struct, frozen=True, gc=False):
    """Rows to read before the next step."""

    statement: Statement
    values: tuple[Any, ...] = ()


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where a message stands: its channel and its milliseconds since the epoch."""

    channel_id: str
    sent_ms: int


Rows = list[tuple[Any, ...]]
Step = Sequence[Row | Read]
Steps = Generator[Step, list[Rows], None]


def stamp_of(event: Event) -> tuple[str, datetime]:
    """Tenant and time of receipt. Raises `Invalid` for an event that the router did not stamp."""
    if event.tenant is None:
        raise Invalid("missing_field", "tenant", "the router stamps a tenant; this record has none")
    if event.received_at is None:
        raise Invalid("missing_field", "received_at", "the router stamps received_at; this record has none")
    return event.tenant, event.received_at
