"""Finished history pages as bytes: each read once for everybody who asks at that moment, never shown after a delete.

A delete reaches the API through the log, sometimes before history has written it. So it does more than drop pages: the
message stays masked, and every page assembled meanwhile shows the marker instead.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass

from cachetools import TTLCache

from infra.runtime.clock import Clock
from infra.runtime.telemetry import CACHE

_Channel = tuple[str, str]
_Key = tuple[str, str, Hashable]

#: What an entry costs beside its bytes.
_OVERHEAD = 512
#: After an edit or reaction a channel's older pages are kept no longer than its newest, until history has caught up.
_UNSETTLED_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _Entry:
    body: bytes
    expires: float


class PageCache:
    """Pages by (tenant, channel, which page). Used from one event loop; ask only after authorization."""

    def __init__(
        self, clock: Clock, *, entries: int, size: int, newest_seconds: float, older_seconds: float, mask_seconds: float
    ) -> None:
        self._clock = clock
        self._max_entries = entries
        self._max_bytes = size
        self._newest = newest_seconds
        self._older = older_seconds
        self._entries: OrderedDict[_Key, _Entry] = OrderedDict()
        self._of_channel: dict[_Channel, set[_Key]] = {}
        self._bytes = 0
        self._flights: dict[_Key, asyncio.Task[bytes]] = {}
        self._masked: TTLCache[tuple[str, str, str], None] = TTLCache(200_000, mask_seconds, clock.monotonic)
        self._unsettled: TTLCache[_Channel, None] = TTLCache(50_000, _UNSETTLED_SECONDS, clock.monotonic)

    async def get(
        self, tenant: str, channel_id: str, page: Hashable, fill: Callable[[], Awaitable[bytes]], *, settled: bool
    ) -> bytes:
        """The page, read by `fill` unless it is kept or being read. `settled`: new messages cannot change it."""
        key = (tenant, channel_id, page)
        entry = self._entries.get(key)
        if entry is not None and entry.expires > self._clock.monotonic():
            self._entries.move_to_end(key)
            CACHE.labels("hit").inc()
            return entry.body
        flight = self._flights.get(key)
        if flight is None:
            CACHE.labels("miss").inc()
            flight = asyncio.ensure_future(self._fly(key, fill, settled))
            self._flights[key] = flight
        else:
            CACHE.labels("joined").inc()
        # Shielded: a client that goes away takes nothing from the others.
        return await asyncio.shield(flight)

    def mask(self, tenant: str, channel_id: str, message_id: str) -> None:
        """Show this message as deleted from now on, and drop every page it may be on."""
        self._masked[tenant, channel_id, message_id] = None
        self.invalidate(tenant, channel_id)

    def masked(self, tenant: str, channel_id: str, message_id: str) -> bool:
        """Whether a delete or block of this message was seen lately."""
        return (tenant, channel_id, message_id) in self._masked

    def invalidate(self, tenant: str, channel_id: str) -> None:
        """Drop the channel's pages, and those being read: an edit, a reaction or something else changed one."""
        channel = (tenant, channel_id)
        self._unsettled[channel] = None
        for key in self._of_channel.pop(channel, ()):
            self._bytes -= _cost(self._entries.pop(key))
        for key in [key for key in self._flights if key[:2] == channel]:
            del self._flights[key]

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size(self) -> int:
        """Bytes held, overhead included."""
        return self._bytes

    async def _fly(self, key: _Key, fill: Callable[[], Awaitable[bytes]], settled: bool) -> bytes:
        me = asyncio.current_task()
        try:
            body = await fill()
            # Dropped meanwhile: what was read may be from before the change.
            if self._flights.get(key) is me:
                self._keep(key, body, settled)
            return body
        finally:
            if self._flights.get(key) is me:
                del self._flights[key]

    def _keep(self, key: _Key, body: bytes, settled: bool) -> None:
        seconds = self._older if settled and key[:2] not in self._unsettled else self._newest
        if seconds <= 0:
            return
        self._drop(key)
        entry = _Entry(body, self._clock.monotonic() + seconds)
        self._entries[key] = entry
        self._of_channel.setdefault(key[:2], set()).add(key)
        self._bytes += _cost(entry)
        while self._entries and (len(self._entries) > self._max_entries or self._bytes > self._max_bytes):
            self._drop(next(iter(self._entries)))

    def _drop(self, key: _Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        self._bytes -= _cost(entry)
        keys = self._of_channel[key[:2]]
        keys.discard(key)
        if not keys:
            del self._of_channel[key[:2]]


def _cost(entry: _Entry) -> int:
    return len(entry.body) + _OVERHEAD
