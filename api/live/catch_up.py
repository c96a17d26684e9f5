"""What readers missed beyond the rings, read from the log once for everybody who asks at that time."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from api.live.records import Record

#: From offset (inclusive) to offset (exclusive), by partition.
Spans = dict[int, tuple[int, int]]


class TooFar(Exception):
    """More was missed than one catch-up read may span, or the log no longer has it, or it could not be read in time."""


@dataclass(slots=True)
class _Round:
    """One read and everybody who waits for it."""

    spans: Spans
    waiters: list["asyncio.Future[list[Record]]"] = field(default_factory=list)


class CatchUp:
    """One read at a time. Requests that fit into one under way join it; the others share the next."""

    def __init__(self, read: Callable[[Spans], Coroutine[Any, Any, list[Record]]], limit: int) -> None:
        self._read = read
        self._limit = limit
        self._running: _Round | None = None
        self._queued: list[_Round] = []
        self._task: asyncio.Task[None] | None = None

    async def fetch(self, spans: Spans) -> list[Record]:
        """At least the records of these spans, in order within each partition. Raises `TooFar`."""
        if _length(spans) > self._limit:
            raise TooFar(f"{_length(spans)} records were missed")
        waiter: asyncio.Future[list[Record]] = asyncio.get_running_loop().create_future()
        self._join(spans).waiters.append(waiter)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        return await waiter

    def _join(self, spans: Spans) -> _Round:
        if self._running is not None and _within(spans, self._running.spans):
            return self._running
        for queued in self._queued:
            merged = _merge(queued.spans, spans)
            if _length(merged) <= self._limit:
                queued.spans = merged
                return queued
        self._queued.append(_Round(dict(spans)))
        return self._queued[-1]

    async def _work(self) -> None:
        while self._queued:
            self._running = self._queued.pop(0)
            outcome: list[Record] | Exception
            try:
                outcome = await self._read(self._running.spans)
            except Exception as error:  # handed to everybody who waits
                outcome = error
            waiters, self._running = self._running.waiters, None
            for waiter in waiters:
                if waiter.done():
                    continue
                if isinstance(outcome, Exception):
                    waiter.set_exception(outcome)
                else:
                    waiter.set_result(outcome)


def _length(spans: Spans) -> int:
    return sum(end - start for start, end in spans.values())


def _within(spans: Spans, outer: Spans) -> bool:
    return all(p in outer and outer[p][0] <= start and end <= outer[p][1] for p, (start, end) in spans.items())


def _merge(one: Spans, other: Spans) -> Spans:
    merged = dict(one)
    for partition, (start, end) in other.items():
        first, last = merged.get(partition, (start, end))
        merged[partition] = (min(first, start), max(last, end))
    return merged
