"""The live side of the API process: the reader, the hub, metric points and who may open a stream, as one thing.

Started on the server's loop and stopped before the server closes its connections, so that every stream gets its
last token.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from api.auth import Principal
from api.live.admission import Admission
from api.live.catch_up import CatchUp
from api.live.hub import Hub
from api.live.points import Points
from api.live.positions import Tokens
from api.live.reader import EventReader, SpanReader
from api.live.records import Record
from api.live.series import Followed, read
from api.live.subscribers import Subscriber
from api.settings import Live
from api.state import State
from infra.contracts.events import (
    MESSAGE_BLOCKED,
    MESSAGE_DELETED,
    MESSAGE_EDITED,
    REACTION_ADDED,
    REACTION_REMOVED,
)
from infra.runtime.health import Health

_ROUND_SECONDS = 1.0
_HIDING = frozenset({MESSAGE_DELETED, MESSAGE_BLOCKED})
_CHANGES = frozenset({MESSAGE_EDITED, REACTION_ADDED, REACTION_REMOVED})


class Feed:
    """Everything the live endpoints need. `jitter` gives numbers in [0, 1)."""

    def __init__(self, state: State, settings: Live, jitter: Callable[[], float]) -> None:
        self.settings = settings
        self.authenticator = state.authenticator
        self.clock = clock = state.clock
        self.jitter = jitter
        self._kafka = state.kafka
        self._cache = state.cache
        spans = SpanReader(state.kafka, settings.catch_up_seconds)
        catch_up = CatchUp(spans.read, settings.catch_up_records)
        self.hub = Hub(settings, Tokens(state.signer), clock, catch_up, self._changed)
        self.followed = Followed(partial(read, state))
        self.points = Points(self.hub, self.followed.wake)
        self.admission = Admission(
            clock,
            jitter,
            connections=settings.connections,
            of_tenant=settings.tenant_connections,
            per_second=settings.connects_per_second,
        )
        self._reader: EventReader | None = None
        self._rounds: asyncio.Task[None] | None = None

    async def start(self, health: Health) -> None:
        """Begin to read; readiness then includes the live stream."""
        self._reader = EventReader(self._kafka, self.settings, self.hub, self.points.take)
        health.add("live", self._reader.check)
        health.report_lag(self._lag)
        self._reader.start()
        self._rounds = asyncio.create_task(self._round())

    async def stop(self, seconds: float = 3.0) -> None:
        """End every stream, wait until each has said so, and stop reading. Stopping twice does no harm."""
        self.hub.close()
        self.points.close()
        self.followed.close()
        if self._rounds is not None:
            self._rounds.cancel()
        await self.admission.empty(seconds)
        if self._reader is not None:
            await self._reader.stop()

    def subscriber(self, principal: Principal) -> Subscriber[Any]:
        """A stream for this reader, with its bounds."""
        return Subscriber(principal, events=self.settings.queue_events, size=self.settings.queue_bytes)

    def _lag(self) -> int | None:
        return None if self._reader is None else self._reader.lag

    def _changed(self, record: Record) -> None:
        if record.channel_id is None:
            return
        if record.type in _HIDING:
            self._cache.mask(record.tenant, record.channel_id, record.message_id)
        elif record.late or record.type in _CHANGES:  # a late message goes into a page that was settled
            self._cache.invalidate(record.tenant, record.channel_id)

    async def _round(self) -> None:
        """Once a second: gauges out, and streams of revoked keys ended."""
        while True:
            await asyncio.sleep(_ROUND_SECONDS)
            self.points.tick(self.clock.now())
            self.hub.sweep(self.authenticator.still_valid)
            self.points.sweep(self.authenticator.still_valid)
            self.followed.sweep(self.authenticator.still_valid)
