"""Reads a channel's messages in order, across buckets, and fills a page even where rows are hidden."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from cachetools import LRUCache

from api.history.cursors import Place
from api.history.messages import Row, utc
from infra.contracts import placement, tables
from infra.contracts.events import from_ms
from infra.contracts.placement import BucketEpoch
from infra.contracts.tables import Statement
from infra.runtime.clock import Clock

#: Rows one page may look at for each row it may show, and at least, so that hidden ones cannot make a request long.
_SCAN_FACTOR, _SCAN_ROWS = 10, 500
_BUCKETS_SECONDS = 5.0


class Reads(Protocol):
    """What this module needs of a database."""

    async def execute(self, statement: Statement, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of one statement."""


@dataclass(frozen=True, slots=True)
class Run:
    """Visible rows in reading order. `last` is the last row looked at, if there may be more behind it."""

    rows: list[Row]
    last: Place | None


class History:
    """One channel's rows, newest or oldest first."""

    def __init__(self, database: Reads, plan: Callable[[], Sequence[BucketEpoch]], clock: Clock) -> None:
        self._database = database
        self._plan = plan
        self._clock = clock
        self._buckets: LRUCache[tuple[str, str], tuple[float, list[int]]] = LRUCache(50_000)

    def bucket(self, moment: datetime) -> int:
        """The bucket of a place in time, by the plan in force."""
        return placement.bucket(moment, self._plan())

    async def buckets(self, tenant: str, channel_id: str) -> list[int]:
        """The channel's buckets that hold anything, newest first.

        Remembered for a few seconds once the present bucket is among them: only a message placed far from the present
        begins another one then.
        """
        kept = self._buckets.get((tenant, channel_id))
        if kept is not None and kept[0] > self._clock.monotonic() and self.bucket(self._clock.now()) in kept[1]:
            return kept[1]
        rows = await self._database.execute(tables.BUCKETS, (tenant, channel_id))
        buckets = [row[0] for row in rows]
        if buckets:
            self._buckets[tenant, channel_id] = (self._clock.monotonic() + _BUCKETS_SECONDS, buckets)
        return buckets

    async def older(self, tenant: str, channel_id: str, bound: Place | None, limit: int) -> Run | None:
        """Up to `limit` rows before the bound, or the newest, newest first. None: the channel has no messages."""
        if bound is not None:
            guess = self.bucket(bound.sent_at)
        elif kept := self._buckets.get((tenant, channel_id)):
            guess = kept[1][0]
        else:
            guess = None
        first = None
        if guess is None:
            buckets = await self.buckets(tenant, channel_id)
        else:
            # Where the page most likely lies is read beside the list that confirms it.
            buckets, first = await asyncio.gather(
                self.buckets(tenant, channel_id), self._read(tenant, channel_id, guess, bound, limit)
            )
        if not buckets:
            return None
        if bound is not None:
            buckets = [bucket for bucket in buckets if bucket <= self.bucket(bound.sent_at)]
        scan = _Scan(limit)
        for bucket in buckets:
            # What was read ahead fits only an empty page: there may be a newer bucket than the one guessed.
            ahead = first if bucket == guess and scan.missing == limit else None
            here = bound
            while True:
                asked = scan.missing
                rows = await self._read(tenant, channel_id, bucket, here, asked) if ahead is None else ahead
                ahead = None
                scan.take(rows)
                if scan.full:
                    return scan.run()
                if len(rows) < asked:
                    break
                here = _place(rows[-1])
        return Run(scan.rows, None)

    async def newer(self, tenant: str, channel_id: str, bound: Place, limit: int) -> Run | None:
        """Up to `limit` rows after the bound, oldest first. None: the channel has no messages."""
        buckets = await self.buckets(tenant, channel_id)
        if not buckets:
            return None
        start = self.bucket(bound.sent_at)
        scan = _Scan(limit)
        for bucket in reversed([bucket for bucket in buckets if bucket >= start]):
            here = bound
            while True:
                asked = scan.missing
                values = (tenant, channel_id, bucket, here.sent_at, here.message_id, asked)
                rows = [Row.of(row) for row in await self._database.execute(tables.NEWER, values)]
                scan.take(rows)
                if scan.full:
                    return scan.run()
                if len(rows) < asked:
                    break
                here = _place(rows[-1])
        return Run(scan.rows, None)

    async def message(self, tenant: str, channel_id: str, place: Place) -> Row | None:
        """The row at this place, hidden or not."""
        values = (tenant, channel_id, self.bucket(place.sent_at), place.sent_at, place.message_id)
        rows = await self._database.execute(tables.MESSAGE, values)
        return Row.of(rows[0]) if rows else None

    async def find(self, tenant: str, channel_id: str, message_id: str) -> Place | None:
        """Where this message of the channel stands: by the time in its id, else by the index."""
        moment = placement.time_of_id(message_id)
        if moment is not None:
            return Place(moment, message_id)
        indexed = await self.indexed(tenant, message_id)
        return indexed[1] if indexed is not None and indexed[0] == channel_id else None

    async def indexed(self, tenant: str, message_id: str) -> tuple[str, Place] | None:
        """Channel and place of a message whose id carries no time."""
        rows = await self._database.execute(tables.FIND_MESSAGE, (tenant, message_id))
        if not rows:
            return None
        channel_id, sent_at = rows[0]
        return channel_id, Place(utc(sent_at), message_id)

    def ids_by_bucket(self, rows: Sequence[Row]) -> dict[int, list[str]]:
        """The ids of rows, newest first, that may have reactions to show."""
        found: dict[int, list[str]] = {}
        start = None
        for row in rows:
            if start is None or row.sent_at < start:
                bucket = self.bucket(row.sent_at)
                start = from_ms(bucket)
            if not row.deleted:
                found.setdefault(bucket, []).append(row.message_id)
        return found

    async def reactions(
        self, tenant: str, channel_id: str, ids: Mapping[int, Sequence[str]]
    ) -> list[tuple[str, str, str, bool | None]]:
        """Every reaction to these messages: one read a bucket."""
        reads = (
            self._database.execute(tables.REACTIONS, (tenant, channel_id, bucket, of_bucket))
            for bucket, of_bucket in ids.items()
        )
        found = await asyncio.gather(*reads)
        return [row for rows in found for row in rows]

    async def _read(self, tenant: str, channel_id: str, bucket: int, bound: Place | None, limit: int) -> list[Row]:
        if bound is None:
            rows = await self._database.execute(tables.NEWEST, (tenant, channel_id, bucket, limit))
        else:
            values = (tenant, channel_id, bucket, bound.sent_at, bound.message_id, limit)
            rows = await self._database.execute(tables.OLDER, values)
        return [Row.of(row) for row in rows]


class _Scan:
    """Collects visible rows until there are enough or too many were looked at."""

    def __init__(self, limit: int) -> None:
        self.rows: list[Row] = []
        self._limit = limit
        self._seen = 0
        self._last: Row | None = None

    @property
    def missing(self) -> int:
        return self._limit - len(self.rows)

    @property
    def full(self) -> bool:
        return self.missing <= 0 or self._seen >= max(self._limit * _SCAN_FACTOR, _SCAN_ROWS)

    def take(self, rows: Sequence[Row]) -> None:
        self._seen += len(rows)
        self.rows.extend(row for row in rows if row.visible)
        if rows:
            self._last = rows[-1]

    def run(self) -> Run:
        return Run(self.rows, None if self._last is None else _place(self._last))


def _place(row: Row) -> Place:
    return Place(row.sent_at, row.message_id)
