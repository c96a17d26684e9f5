"""What becomes of an event a client was given: stored, refused, or given up with the outcome unknown."""

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """The end of one `send`, told to `on_result` once; an event that stays in the disk spool has none yet."""

    STORED = "stored"
    """Ingest has it, from this send or an earlier one."""
    REFUSED = "refused"
    """It breaks a rule, or never left this process: it is not stored by this send."""
    UNKNOWN = "unknown"
    """It was sent, no answer came, and the client was closed: it may be stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """Why an event was given up. `code` is ingest's, or one of the client's own: `queue_full`, `spool_full`,
    `spool_failed`, `closed`.
    """

    code: str
    field: str | None = None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Counters since the client was made; `queued` and `spooled` are what waits now, in memory and on disk."""

    queued: int = 0
    spooled: int = 0
    sent: int = 0
    accepted: int = 0
    duplicates: int = 0
    retried: int = 0
    dropped: int = 0
