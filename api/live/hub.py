"""The live hub: every event of the log to every stream that wants it, once, in order, and nobody waits for anybody.

It lives on one event loop. A reader thread hands it bursts of records; it drops the router's replays, keeps rings for
readers that come back, and puts one shared frame into the queue of each stream.
"""

import asyncio
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog
from cachetools import TTLCache

from api.auth import Principal
from api.live.catch_up import CatchUp, TooFar
from api.live.frames import Frame
from api.live.positions import Position, Tokens
from api.live.rates import Rates
from api.live.records import Record
from api.live.rings import Ring
from api.live.subscribers import Subscriber
from api.settings import Live
from infra.contracts import placement
from infra.contracts.events import MESSAGE_BLOCKED, MESSAGE_EDITED, MESSAGE_SENT
from infra.runtime.clock import Clock
from infra.runtime.telemetry import LIVE_SENT

log = structlog.get_logger("hubbub.live")

K = TypeVar("K", bound=Hashable)

#: Tenant, channel, and the id of a message or change.
_Named = tuple[str, str | None, str]

#: How long a token that is ahead of this process may wait for it: another one may have read a little further.
_AHEAD_SECONDS = 2.0
#: How often a gap that opens while it is being closed is chased before the reader is told of it.
_CHASES = 3
#: So long, and so many at most, it is known which messages were blocked: by then no copy of them is on its way.
_BLOCKED_SECONDS = 900.0
_BLOCKED_NAMES = 200_000
#: Types that carry what a block takes away.
_CONTENT = frozenset({MESSAGE_SENT, MESSAGE_EDITED})


@dataclass(frozen=True, slots=True)
class Start:
    """The reader begins, or begins again because the log is not the one it read before."""

    epoch: int
    offsets: list[int]


@dataclass(frozen=True, slots=True)
class Burst:
    """Records in the order read, and the next offset of each partition that moved."""

    records: list[Record]
    ends: dict[int, int]
    live: bool
    """False for what was there before the hub began."""


@dataclass(slots=True)
class Opening:
    """How a stream begins. `recovered` None: it did not ask to resume."""

    recovered: bool | None
    token: str
    missed: list[Record] = field(default_factory=list)
    position: Position | None = None
    size: int = 0


class Unready(Exception):
    """The hub has not read the log up to its end yet."""


class Hub:
    """Rings, streams and gauges. Every method is called on the loop."""

    def __init__(
        self, settings: Live, tokens: Tokens, clock: Clock, catch_up: CatchUp, on_change: Callable[[Record], None]
    ) -> None:
        self._settings = settings
        self._tokens = tokens
        self._catch_up = catch_up
        self._on_change = on_change
        self._position: Position | None = None
        self._token: str | None = None
        self._rings: list[Ring] = []
        self._first_partitions = 0
        self._by_channel: dict[tuple[str, str], dict[Subscriber[Any], None]] = {}
        self._by_tenant: dict[str, dict[Subscriber[Any], None]] = {}
        self._subscribers: dict[Subscriber[Any], None] = {}
        self._blocked: TTLCache[_Named, None] = TTLCache(_BLOCKED_NAMES, _BLOCKED_SECONDS, clock.monotonic)
        self._moved = asyncio.Event()
        self.rates = Rates(clock)
        self.ready = False

    # Records in

    def start(self, start: Start) -> None:
        """Begin at these offsets. Streams that were open are ended: what they were promised cannot be kept."""
        for subscriber in list(self._subscribers):
            subscriber.close("reset")
        self._position = Position(start.epoch, list(start.offsets))
        self._rings = [self._ring(offset, len(start.offsets)) for offset in start.offsets]
        self._first_partitions = len(start.offsets)
        self._token = None
        self.ready = False

    def caught_up(self) -> None:
        """The log was read up to where it ended at the start: streams may come in."""
        self.ready = True

    def take(self, burst: Burst) -> None:
        """Pass on a burst."""
        position = self._at()
        self._token = None
        partitions = max((p for p in burst.ends), default=-1) + 1
        while len(self._rings) < partitions:
            self._rings.append(self._ring(0, partitions))
        position.grow(partitions)
        for record in burst.records:
            if position.advance(record) and self._rings[record.partition].append(record):
                self._on_change(record)
                if record.type == MESSAGE_BLOCKED:
                    self._blocked[record.tenant, record.channel_id, record.message_id] = None
                if burst.live:
                    self.rates.count(record.tenant)
                    self._pass_on(record)
        for partition, end in burst.ends.items():
            position.offsets[partition] = max(position.offsets[partition], end)
        self._moved.set()

    def _pass_on(self, record: Record) -> None:
        if self._is_blocked(record):
            return
        everything = self._by_tenant.get(record.tenant)
        channel = None if record.channel_id is None else self._by_channel.get((record.tenant, record.channel_id))
        if everything is None and channel is None:
            return
        frame = Frame(self._tokens.encode(self._at()), record.value)
        sent = 0
        for group in (everything, channel):
            for subscriber in group or ():
                subscriber.push(frame)
                sent += 1
        LIVE_SENT.inc(sent)

    def _is_blocked(self, record: Record) -> bool:
        """Whether it shows what a moderator took away lately, as a release after a reject would."""
        if record.type not in _CONTENT or not self._blocked:
            return False
        return any((record.tenant, record.channel_id, name) in self._blocked for name in (record.id, record.message_id))

    # Streams

    async def open(self, subscriber: Subscriber[Any], resume: str | None) -> Opening:
        """Add a stream whose channels are set; from here on it misses nothing. Raises `Unready`.

        With a token of ours, `missed` holds what came since; `recovered` says whether that is all of it.
        """
        if not self.ready:
            raise Unready
        asked = None
        if resume is not None:
            asked = self._tokens.decode(resume, self._at().epoch, len(self._rings))
        if asked is None or not await self._reach(asked):
            return self._attach(subscriber, None if resume is None else False)
        missed: list[Record] = []
        offsets = list(asked.offsets)
        for _ in range(_CHASES):
            missing = {
                p: (offsets[p], self._rings[p].start)
                for p in self._partitions(subscriber)
                if offsets[p] < self._rings[p].start
            }
            if not missing:
                break
            try:
                missed += await self._catch_up.fetch(missing)
            except TooFar as far:
                log.info("live.not_recovered", reason=str(far))
                return self._attach(subscriber, False)
            for partition, (_, end) in missing.items():
                offsets[partition] = end
        else:
            return self._attach(subscriber, False)
        # From here to the return nothing is awaited, so no burst can come between the ring and the queue.
        for partition in self._partitions(subscriber):
            missed += self._rings[partition].since(offsets[partition])
        known = asked.copy()
        tenant = subscriber.tenant
        missed = [r for r in missed if r.tenant == tenant and subscriber.wants(r.channel_id) and known.advance(r)]
        first: dict[tuple[str, str], Record] = {}
        for record in missed:
            first.setdefault(record.copy_of, record)
        # What was taken away meanwhile is not shown once more on its way to that.
        blocked = {record.message_id for record in missed if record.type == MESSAGE_BLOCKED}
        missed = [
            r
            for r in first.values()
            if r.type not in _CONTENT or not (r.message_id in blocked or r.id in blocked or self._is_blocked(r))
        ]
        self._at().learn(known)
        self._token = None
        opening = self._attach(subscriber, True)
        if missed:
            # Until what was missed is sent, the reader stands where it stood.
            opening.token, opening.missed, opening.position = resume or "", missed, asked
        return opening

    def replay(self, opening: Opening) -> Iterator[Frame]:
        """The frames of what was missed. Each carries the token of this reader's own position."""
        position = opening.position
        for record in opening.missed:
            assert position is not None
            position.advance(record)
            yield Frame(self._tokens.encode(position), record.value)
        opening.missed = []

    def add(self, subscriber: Subscriber[Any], channels: set[str]) -> None:
        """An open stream wants more channels, from now on."""
        subscriber.channels |= channels
        for channel_id in channels:
            self._by_channel.setdefault((subscriber.tenant, channel_id), {})[subscriber] = None

    def remove(self, subscriber: Subscriber[Any], channels: set[str]) -> None:
        """An open stream wants fewer channels."""
        subscriber.channels -= channels
        for channel_id in channels:
            self._forget(self._by_channel, (subscriber.tenant, channel_id), subscriber)

    def watch(self, subscriber: Subscriber[Any]) -> None:
        """Know an open connection before it asks for anything, to end it when its time comes."""
        self._subscribers[subscriber] = None

    def leave(self, subscriber: Subscriber[Any]) -> None:
        """Forget a stream; harmless when it was never open."""
        self.remove(subscriber, set(subscriber.channels))
        self._forget(self._by_tenant, subscriber.tenant, subscriber)
        subscriber.everything = False
        self._subscribers.pop(subscriber, None)

    def sweep(self, still_valid: Callable[[Principal], bool]) -> None:
        """End the streams whose key was revoked or whose token ran out."""
        for subscriber in list(self._subscribers):
            if not still_valid(subscriber.principal):
                subscriber.close("revoked")

    def close(self) -> None:
        """End every stream because the server stops, and let no more in."""
        self.ready = False
        for subscriber in list(self._subscribers):
            subscriber.close("stopping")

    def token(self) -> str:
        """The token of everything read so far."""
        if self._token is None:
            self._token = self._tokens.encode(self._at())
        return self._token

    @property
    def offsets(self) -> list[int]:
        """The next offset of each partition; empty before the reader began."""
        return [] if self._position is None else list(self._position.offsets)

    def subscribers(self, tenant: str | None = None) -> int:
        """Open streams, of one tenant or of all."""
        return sum(1 for s in self._subscribers if tenant is None or s.tenant == tenant)

    def _attach(self, subscriber: Subscriber[Any], recovered: bool | None) -> Opening:
        self._subscribers[subscriber] = None
        if subscriber.everything:
            self._by_tenant.setdefault(subscriber.tenant, {})[subscriber] = None
        else:
            self.add(subscriber, set(subscriber.channels))
        return Opening(recovered, self.token())

    async def _reach(self, asked: Position) -> bool:
        """Whether this process has read as far as the token, waiting a little for it."""
        try:
            async with asyncio.timeout(_AHEAD_SECONDS):
                while self._at().behind(asked):
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            return False
        return self._at().epoch == asked.epoch

    def _partitions(self, subscriber: Subscriber[Any]) -> set[int]:
        """Where this stream's events can be. After partitions were added, a channel's older events may be anywhere."""
        count = len(self._rings)
        if subscriber.everything or count != self._first_partitions:
            return set(range(count))
        keys = (f"{subscriber.tenant}:{channel_id}".encode() for channel_id in subscriber.channels)
        return {placement.partition(key, count) for key in keys}

    def _ring(self, start: int, partitions: int) -> Ring:
        events = max(1, self._settings.ring_events // partitions)
        return Ring(start, events=events, size=max(1, self._settings.ring_bytes // partitions))

    def _at(self) -> Position:
        if self._position is None:
            raise Unready
        return self._position

    @staticmethod
    def _forget(groups: dict[K, dict[Subscriber[Any], None]], key: K, subscriber: Subscriber[Any]) -> None:
        group = groups.get(key)
        if group is not None:
            group.pop(subscriber, None)
            if not group:
                del groups[key]
