"""The ledger's surroundings in memory: a log that ends where a test says, stages that stand where it says, a table."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from infra.contracts.ledger import Minute
from streams.ledger.books import TP


class FakeMessage:
    """A record as a consumer hands it over."""

    def __init__(self, offset: int, value: bytes, *, at_ms: int = 0, key: bytes = b"", found: Any = ()) -> None:
        self._offset, self._value, self._at_ms, self._key, self._headers = offset, value, at_ms, key, list(found)

    def offset(self) -> int:
        return self._offset

    def value(self) -> bytes:
        return self._value

    def key(self) -> bytes:
        return self._key

    def headers(self) -> Any:
        return self._headers

    def timestamp(self) -> tuple[int, int]:
        return 2, self._at_ms


class FakeReader:
    """Hands over what is in `waiting`; `end` and `done` are what Kafka would answer."""

    fatal = None

    def __init__(self) -> None:
        self.waiting: list[tuple[TP, FakeMessage]] = []
        self.positions: dict[TP, int] = {}
        self.end: dict[TP, int] = {}
        self.done: dict[str, dict[TP, int]] = {"router": {}, "history": {}}
        self.started_at: datetime | None = None
        self.paces: list[tuple[bool, bool]] = []
        self.asked: list[str] = []

    def start(self, moment: datetime) -> dict[TP, int]:
        self.started_at = moment
        return {("ingest", 0): 0}

    def read(self, _: float) -> Iterable[tuple[TP, FakeMessage]]:
        while self.waiting:
            tp, message = self.waiting.pop(0)
            yield tp, message
            self.positions[tp] = message.offset() + 1

    def pace(self, *, inputs: bool, outputs: bool) -> None:
        self.paces.append((inputs, outputs))

    def ends(self) -> dict[TP, int]:
        self.asked.append("ends")
        return dict(self.end)

    def committed(self, role: str) -> dict[TP, int]:
        self.asked.append(role)
        return dict(self.done[role])

    def here(self, offsets: Mapping[str, Mapping[str, int]]) -> dict[TP, int]:
        return {(topic, int(p)): offset for topic, found in offsets.items() for p, offset in found.items()}

    def reached(self, ends: Mapping[TP, int]) -> bool:
        return all(self.positions.get(tp, 0) >= end for tp, end in ends.items())


class FakeStore:
    """Keeps rows by tenant and start. `fail` is raised by the next write of minutes."""

    def __init__(self, resume_from: datetime | None = None) -> None:
        self._resume_from = resume_from
        self.rows: dict[tuple[str, datetime], Minute] = {}
        self.progress: tuple[datetime, datetime] | None = None
        self.fail: Exception | None = None
        self.writes = 0

    def resume_from(self) -> datetime | None:
        return self._resume_from

    def analytics_offsets(self) -> Mapping[str, Mapping[str, int]]:
        return {}

    def write(self, minutes: Sequence[Minute], checked_at: datetime) -> None:
        if self.fail is not None:
            failure, self.fail = self.fail, None
            raise failure
        self.writes += len(minutes)
        self.rows |= {(m.tenant, m.start): m for m in minutes}

    def write_progress(self, resume_from: datetime, read_until: datetime, checked_at: datetime) -> None:
        self.progress = (resume_from, read_until)
