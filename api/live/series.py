"""Metrics that streams follow: read again when the numbers of their tenant change, and what changed sent to all.

The windows are read where everybody reads them, not copied from the log: whatever changed one, the stream or a later
correction, its newest value is sent. A stream that comes back gets what was written since, from the same rows.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from api.auth import Principal
from api.errors import UNAVAILABLE, Refused
from api.live.frames import Notice
from api.live.subscribers import Subscriber
from api.numbers.freshness import Freshness
from api.numbers.metrics import point, read_freshness, says
from api.numbers.windows import Number, read_numbers, span_of
from api.state import State
from infra.contracts.events import from_ms, to_ms
from infra.contracts.metrics import Metric
from infra.contracts.problems import encode
from infra.contracts.windows import Grain

log = structlog.get_logger("hubbub.live")

#: Between two reads of one series. The writer stores about once a second.
_AT_MOST_SECONDS: Final = 1.0
#: A quiet tenant's windows become final, too.
_AT_LEAST_SECONDS: Final = 10.0
#: Those who write windows take the time before they do.
_OVERLAP: Final = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Place:
    """The windows a stream follows: those of one scope and grain, as far back as a query without `from` looks."""

    tenant: str
    scope: str
    grain: Grain


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The windows of a place as they were read, by metric and start, and since when they are all there."""

    numbers: Mapping[str, Mapping[datetime, Number]]
    freshness: Freshness
    start: datetime
    end: datetime


Metrics = Iterable[Metric]
Read = Callable[[Place, Metrics], Awaitable[Reading]]


class Followed:
    """The series that streams follow, each read once for all of them."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._series: dict[Place, _Series] = {}

    async def open(
        self, subscriber: Subscriber[Notice], place: Place, metrics: tuple[Metric, ...], token: str | None
    ) -> tuple[list[Notice], bool]:
        """Add a stream. Returns what it is told first, and whether that is all it missed since its token.

        Without a token it is told every window; such a stream missed nothing. Raises what reading raises.
        """
        since = since_of(token)
        series = self._series.get(place)
        if series is None:
            series = self._series[place] = _Series(place, self._read)
        try:
            return await series.open(subscriber, metrics, since)
        except BaseException:
            self.leave(subscriber)
            raise

    def leave(self, subscriber: Subscriber[Notice]) -> None:
        """Forget a stream; harmless when it was never open."""
        for place, series in list(self._series.items()):
            if series.leave(subscriber):
                del self._series[place]

    def wake(self, tenant: str) -> None:
        """The tenant's numbers have changed."""
        for place, series in self._series.items():
            if place.tenant == tenant:
                series.wake()

    def sweep(self, still_valid: Callable[[Principal], bool]) -> None:
        """End the streams whose key was revoked or whose token ran out."""
        for subscriber in self._subscribers():
            if not still_valid(subscriber.principal):
                subscriber.close("revoked")

    def close(self) -> None:
        """End every stream because the server stops."""
        for subscriber in self._subscribers():
            subscriber.close("stopping")

    def _subscribers(self) -> list[Subscriber[Notice]]:
        return [subscriber for series in self._series.values() for subscriber in series.streams]


async def read(state: State, place: Place, metrics: Metrics) -> Reading:
    """These metrics of a place as they are now."""
    span = span_of(place.grain, None, None, state.clock.now(), state.settings.max_points)
    # Progress first: what is read after it is at least as new as its watermark claims.
    freshness = await read_freshness(state)
    found = await read_numbers(state.database, place.tenant, place.scope, span, metrics)
    numbers = {name: {number.start: number for number in series} for name, series in found.items()}
    return Reading(numbers=numbers, freshness=freshness, start=span.start, end=span.end)


def since_of(token: str | None) -> datetime | None:
    """The moment in a resume token. Raises `Refused` for one that no stream gave out."""
    if token is None:
        return None
    try:
        return from_ms(int(token))
    except (ValueError, OverflowError):
        raise Refused(400, "The resume token is not one of this stream.") from None


class _Series:
    """One place: its windows as last read, the streams that follow it, and the task that reads on."""

    def __init__(self, place: Place, read: Read) -> None:
        self._place = place
        self._read = read
        self.streams: dict[Subscriber[Notice], tuple[Metric, ...]] = {}
        self._waiting = 0
        self._now: Reading | None = None
        self._reading = asyncio.Lock()
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def open(
        self, subscriber: Subscriber[Notice], metrics: tuple[Metric, ...], since: datetime | None
    ) -> tuple[list[Notice], bool]:
        self._waiting += 1
        try:
            async with self._reading:
                now = self._now
                if now is None or not now.numbers.keys() >= {metric.name for metric in metrics}:
                    now = await self._read(self._place, self._followed | set(metrics))
                    self._tell(now)
        finally:
            self._waiting -= 1
        # From here on without a wait: what changes after this comes through the queue.
        self.streams[subscriber] = metrics
        if self._task is None:
            self._task = asyncio.create_task(self._follow())
        told = [
            (metric, number)
            for metric in metrics
            for number in now.numbers[metric.name].values()
            if (since is None and says(metric, number)) or (since is not None and number.updated_at >= since - _OVERLAP)
        ]
        notices = [self._notice(now, metric, number) for metric, number in sorted(told, key=_written)]
        return [*notices, _progress(now)], since is None or since >= now.start

    def leave(self, subscriber: Subscriber[Notice]) -> bool:
        """Returns whether nobody follows any more, and the series has ended."""
        self.streams.pop(subscriber, None)
        if self.streams or self._waiting:
            return False
        self.close()
        return True

    def wake(self) -> None:
        self._woken.set()

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    @property
    def _followed(self) -> set[Metric]:
        return {metric for metrics in self.streams.values() for metric in metrics}

    async def _follow(self) -> None:
        while True:
            try:
                async with asyncio.timeout(_AT_LEAST_SECONDS):
                    await self._woken.wait()
            except TimeoutError:
                pass
            self._woken.clear()
            try:
                async with self._reading:
                    self._tell(await self._read(self._place, self._followed))
            except UNAVAILABLE as error:
                log.warning("series.unread", tenant=self._place.tenant, error=type(error).__name__)
                self._woken.set()
            await asyncio.sleep(_AT_MOST_SECONDS)

    def _tell(self, found: Reading) -> None:
        before, self._now = self._now, found
        if before is None:
            return
        progress = _progress(found)
        for subscriber, metrics in self.streams.items():
            news = [
                (metric, number)
                for metric in metrics
                for number in found.numbers[metric.name].values()
                if _is_news(metric, before.numbers[metric.name].get(number.start), number)
            ]
            for metric, number in sorted(news, key=_written):
                subscriber.push(self._notice(found, metric, number))
            subscriber.push(progress)

    def _notice(self, now: Reading, metric: Metric, number: Number) -> Notice:
        place = self._place
        body = {"metric": metric.name, "scope": place.scope, "grain": place.grain.name}
        told = point(metric, place.grain, number, now.freshness)
        return Notice("point", encode({**body, **told}), str(to_ms(number.updated_at)))


def _is_news(metric: Metric, old: Number | None, number: Number) -> bool:
    """Of a window that was written again, another value than before is; of a new one, whatever says anything."""
    return says(metric, number) if old is None else old.value != number.value


def _written(told: tuple[Metric, Number]) -> datetime:
    """In this order a stream that is cut off in the middle knows where it was."""
    return told[1].updated_at


def _progress(now: Reading) -> Notice:
    """How far the numbers are: what ends before the watermark is final."""
    return Notice("progress", encode(now.freshness.fields(now.end)))
