"""What became of every send, one JSON line each, so that what is stored can be held against what was accepted."""

import threading
from collections import Counter
from dataclasses import dataclass
from typing import BinaryIO, Literal

import msgspec

from ingest.client import Outcome
from ingest.simulator.community import Planned

LedgerOutcome = Literal["accepted", "duplicate", "refused", "unknown"]


class LedgerLine(msgspec.Struct, frozen=True, kw_only=True):
    """One send. The first of an id that ingest stored is `accepted`, a later one `duplicate`."""

    id: str
    type: str
    channel: str | None
    outcome: LedgerOutcome


@dataclass(slots=True)
class _Entry:
    type: str
    channel: str | None
    left: int
    is_stored: bool = False


class Ledger:
    """Counts outcomes and writes them to a file, if there is one. Thread safe."""

    def __init__(self, file: BinaryIO | None = None) -> None:
        self.outcomes: Counter[LedgerOutcome] = Counter()
        self.types: Counter[str] = Counter()
        self._file = file
        self._entries: dict[str, _Entry] = {}
        self._lock = threading.Lock()

    def expect(self, planned: Planned) -> None:
        """Call before the send."""
        with self._lock:
            event = planned.event
            self._entries.setdefault(event.id, _Entry(event.type, event.channel_id, planned.sends))

    def settle(self, identifier: str, outcome: Outcome) -> None:
        """Take the outcome of one send."""
        with self._lock:
            entry = self._entries[identifier]
            entry.left -= 1
            if entry.left == 0:
                del self._entries[identifier]
            name: LedgerOutcome
            if outcome is Outcome.STORED:
                name = "duplicate" if entry.is_stored else "accepted"
                entry.is_stored = True
            else:
                name = "refused" if outcome is Outcome.REFUSED else "unknown"
            self.outcomes[name] += 1
            if name == "accepted":
                self.types[entry.type] += 1
            if self._file is not None:
                line = LedgerLine(id=identifier, type=entry.type, channel=entry.channel, outcome=name)
                self._file.write(msgspec.json.encode(line) + b"\n")
