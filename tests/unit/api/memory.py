"""Cassandra in memory, as far as the API reads it: rows by table, statements answered by name."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from infra.contracts import placement, tables
from infra.contracts.events import Event, from_ms, to_ms
from infra.contracts.placement import DEFAULT_PLAN, BucketEpoch
from infra.contracts.tables import Statement


def naive(moment: datetime) -> datetime:
    """As the driver gives it."""
    return moment.astimezone(UTC).replace(tzinfo=None)


class MemoryDatabase:
    """Answers `execute`; `asked` lists every statement's name. `fail` makes every read raise."""

    def __init__(self, plan: Sequence[BucketEpoch] = DEFAULT_PLAN) -> None:
        self.plan = plan
        self.asked: list[str] = []
        self.fail: Exception | None = None
        self.messages: dict[tuple[str, str, int], dict[tuple[int, str], dict[str, Any]]] = {}
        self.index: dict[tuple[str, str], tuple[str, datetime]] = {}
        self.reactions: dict[tuple[str, str, int], list[tuple[str, str, str, bool]]] = {}
        self.channels: dict[str, dict[str, tuple[datetime | None, str | None, datetime | None]]] = {}
        self.memberships: dict[tuple[str, str], list[tuple[str, datetime | None, bool]]] = {}
        self.marks: dict[tuple[str, str], list[tuple[str, datetime, str]]] = {}
        self.windows: dict[tuple[str, str, str, str, str], dict[datetime, dict[str, Any]]] = {}
        self.members: dict[tuple[str, str, str, datetime], list[tuple[str, int, int, int]]] = {}
        self.held: dict[tuple[str, str], list[tuple[Any, ...]]] = {}
        #: By tenant and day: JSON of `review.Entry`.
        self.decisions: dict[tuple[str, str], list[str]] = {}
        #: By tenant and user: day and the columns of `tables.USER_REVIEWS`.
        self.reviews: dict[tuple[str, str], list[tuple[Any, ...]]] = {}
        #: By tenant and day: rows of `tables.LEDGER_MINUTES` with an aware start.
        self.ledger: dict[tuple[str, str], list[tuple[Any, ...]]] = {}
        self.ledger_progress: tuple[datetime, datetime, datetime] | None = None
        self.progress: tuple[datetime, str, datetime] | None = None
        self.interactions: dict[tuple[str, str, str, str], dict[datetime, dict[str, Any]]] = {}
        self.interactions_progress: tuple[datetime, str, datetime] | None = None
        #: By tenant and scope: JSON of `interactions.Board`.
        self.waiting: dict[tuple[str, str], str] = {}
        #: By tenant: rows of `tables.REPORT_RUNS`.
        self.report_runs: dict[str, list[tuple[Any, ...]]] = {}
        self.report_documents: dict[tuple[str, str, str, str], str] = {}

    def put(
        self,
        event: Event,
        *,
        edit: Event | None = None,
        deleted: bool = False,
        blocked: bool = False,
        created: bool = True,
    ) -> None:
        """The cells of a message."""
        assert event.tenant is not None
        assert event.channel_id is not None
        moment = placement.sent_at(event)
        bucket = placement.bucket(moment, self.plan)
        cells = {
            "envelope": ("" if deleted else msgspec.json.encode(event).decode()) if created or deleted else None,
            "src": "ingest/0/1/0",
            "rule": "",
            "edit": None if edit is None else msgspec.json.encode(edit).decode(),
            "edited_micros": None if edit is None else placement.micros(edit.time),
            "deleted_at": naive(moment) if deleted else None,
            "blocked_at": naive(moment) if blocked else None,
        }
        rows = self.messages.setdefault((event.tenant, event.channel_id, bucket), {})
        rows[to_ms(moment), event.target] = cells
        if placement.time_of_id(event.target) is None:
            self.index[event.tenant, event.target] = (event.channel_id, moment)

    def react(self, event: Event, reaction: str, user_id: str, *, active: bool = True) -> None:
        """A reaction to this message."""
        assert event.tenant is not None
        assert event.channel_id is not None
        key = (event.tenant, event.channel_id, placement.bucket(placement.sent_at(event), self.plan))
        self.reactions.setdefault(key, []).append((event.target, reaction, user_id, active))

    async def execute(self, statement: Statement, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of one statement."""
        self.asked.append(statement.name)
        if self.fail is not None:
            raise self.fail
        answer = getattr(self, f"_{statement.name}")
        return list(answer(*values))

    def _partition(self, *key: Any) -> list[tuple[int, str]]:
        return sorted(self.messages.get(key, {}), reverse=True)

    def _rows(self, key: tuple[Any, ...], places: Iterable[tuple[int, str]]) -> Iterable[tuple[Any, ...]]:
        for ms, message_id in places:
            yield (naive(from_ms(ms)), message_id, *self.messages[key][ms, message_id].values())

    def _message(self, *values: Any) -> Iterable[tuple[Any, ...]]:
        *key, sent_at, message_id = values
        place = (to_ms(sent_at), message_id)
        return self._rows(tuple(key), [place] if place in self._partition(*key) else [])

    def _newest(self, *values: Any) -> Iterable[tuple[Any, ...]]:
        *key, limit = values
        return self._rows(tuple(key), self._partition(*key)[:limit])

    def _older(self, *values: Any) -> Iterable[tuple[Any, ...]]:
        *key, sent_at, message_id, limit = values
        bound = (to_ms(sent_at), message_id)
        return self._rows(tuple(key), [place for place in self._partition(*key) if place < bound][:limit])

    def _newer(self, *values: Any) -> Iterable[tuple[Any, ...]]:
        *key, sent_at, message_id, limit = values
        bound = (to_ms(sent_at), message_id)
        return self._rows(tuple(key), [place for place in self._partition(*key)[::-1] if place > bound][:limit])

    def _buckets(self, tenant: str, channel_id: str) -> Iterable[tuple[int]]:
        return [(b,) for t, c, b in sorted(self.messages, reverse=True) if (t, c) == (tenant, channel_id)]

    def _find_message(self, tenant: str, message_id: str) -> Iterable[tuple[str, datetime]]:
        found = self.index.get((tenant, message_id))
        return [(found[0], naive(found[1]))] if found else []

    def _reactions(self, tenant: str, channel_id: str, bucket: int, ids: list[str]) -> Iterable[tuple[Any, ...]]:
        return [row for row in self.reactions.get((tenant, channel_id, bucket), ()) if row[0] in ids]

    def _channels(self, tenant: str) -> Iterable[tuple[Any, ...]]:
        return [(channel_id, *row) for channel_id, row in sorted(self.channels.get(tenant, {}).items())]

    def _channel(self, tenant: str, channel_id: str) -> Iterable[tuple[Any, ...]]:
        return [row for row in self._channels(tenant) if row[0] == channel_id]

    def _memberships(self, tenant: str, user_id: str) -> Iterable[tuple[Any, ...]]:
        return [(c, at and naive(at), member) for c, at, member in self.memberships.get((tenant, user_id), ())]

    def _read_marks(self, tenant: str, user_id: str) -> Iterable[tuple[Any, ...]]:
        return [(c, naive(at), message_id) for c, at, message_id in self.marks.get((tenant, user_id), ())]

    def _windows(self, *values: Any) -> Iterable[tuple[Any, ...]]:
        *key, start, end = values
        for at, row in sorted(self.windows.get(tuple(key), {}).items(), reverse=True):
            if start <= at < end:
                measures = (row.get(name) for name in tables.MEASURE_COLUMNS)
                yield (naive(at), *measures, row.get("revision", 1), naive(at))

    def _numbers(self, *values: Any) -> Iterable[tuple[Any, ...]]:
        names = (None, *tables.MEASURE_COLUMNS, None, None)
        for row in self._windows(*values):
            yield tuple(cell for name, cell in zip(names, row, strict=True) if not (name or "").endswith("_sketch"))

    def _members(self, *key: Any) -> Iterable[tuple[Any, ...]]:
        return self.members.get(key, [])

    def _held_of_day(self, tenant: str, day: str, limit: int) -> Iterable[tuple[Any, ...]]:
        return sorted(self.held.get((tenant, day), ()), reverse=True)[:limit]

    def _held_message(self, tenant: str, day: str, held_id: str) -> Iterable[tuple[Any, ...]]:
        return [row for row in self.held.get((tenant, day), ()) if row[0] == held_id]

    def _decisions_of_day(self, tenant: str, day: str, limit: int) -> Iterable[tuple[Any, ...]]:
        return [(line,) for line in self.decisions.get((tenant, day), ())][:limit]

    def _user_reviews(self, tenant: str, user_id: str, since: str, limit: int) -> Iterable[tuple[Any, ...]]:
        return [row[1:] for row in self.reviews.get((tenant, user_id), ()) if row[0] >= since][:limit]

    def _interactions(self, *values: Any) -> Iterable[tuple[Any, ...]]:
        *key, start, end = values
        for at, row in sorted(self.interactions.get(tuple(key), {}).items(), reverse=True):
            if start <= at < end:
                yield (naive(at), *(row.get(name) for name in tables.INTERACTION_COLUMNS), naive(at))

    def _waiting(self, *key: str) -> Iterable[tuple[Any, ...]]:
        return [(self.waiting[key], None)] if key in self.waiting else []

    def _progress(self, query: str) -> Iterable[tuple[Any, ...]]:
        found = self.progress if query == tables.METRICS_QUERY else self.interactions_progress
        if found is None:
            return []
        watermark, offsets, written_at = found
        return [(7, naive(watermark), offsets, None, 0, 0, naive(written_at))]

    def _ledger_minutes(self, tenant: str, day: str, start: datetime, end: datetime) -> Iterable[tuple[Any, ...]]:
        rows = sorted(self.ledger.get((tenant, day), ()), reverse=True)
        return [(naive(row[0]), *row[1:]) for row in rows if start <= row[0] < end]

    def _ledger_progress(self) -> Iterable[tuple[Any, ...]]:
        return [] if self.ledger_progress is None else [tuple(naive(moment) for moment in self.ledger_progress)]

    def _newest_report_runs(self, tenant: str, limit: int) -> Iterable[tuple[Any, ...]]:
        return sorted(self.report_runs.get(tenant, ()), reverse=True)[:limit]

    def _report_runs(self, tenant: str, first: str, last: str) -> Iterable[tuple[Any, ...]]:
        return [row for row in self.report_runs.get(tenant, ()) if first <= row[0] <= last]

    def _report_document(self, *place: str) -> Iterable[tuple[Any, ...]]:
        return [(self.report_documents[place],)] if place in self.report_documents else []

    def _bucket_plan(self) -> Iterable[tuple[Any, ...]]:
        return []
