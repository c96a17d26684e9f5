"""One open stream: what it wants, a bounded queue of what waits for it, and why it ended."""

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Generic, Literal, Protocol, TypeVar

from api.auth import Principal, check_channel
from api.errors import Refused

#: `slow`: the queue was full. `reset`: the log is not the one read before.
Ending = Literal["slow", "stopping", "revoked", "reset", "gone"]

#: One write carries about this much at most, so that what is buffered for one stream stays small.
WRITE_BYTES = 64 * 1024
#: How long a stream that is over may take to hear why.
GOODBYE_SECONDS = 2.0


class Item(Protocol):
    """Something that waits for a stream."""

    size: int


T = TypeVar("T", bound=Item)


def wanted(principal: Principal, names: Iterable[str], limit: int) -> set[str] | None:
    """The channels asked for; None means all of the tenant's. Raises `Refused`, 404 for one out of reach."""
    channels = {name for name in names if name and name != "*"}
    if not channels:
        return None if principal.channels is None else set(principal.channels)
    if len(channels) > limit or any(len(name) > 200 for name in channels):
        raise Refused(422, f"Name at most {limit} channels of at most 200 characters each.")
    for name in channels:
        check_channel(principal, name)
    return channels


class Subscriber(Generic[T]):
    """Fed by the hub, drained by the task of one connection; both on the same event loop. Pushing never waits."""

    def __init__(self, principal: Principal, *, events: int, size: int) -> None:
        self.principal = principal
        self.tenant = principal.tenant
        self.channels: set[str] = set()
        #: Every channel of the tenant, and events without one.
        self.everything = False
        self.closed: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._max_events = events
        self._max_bytes = size
        self._queue: deque[T] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()

    def wants(self, channel_id: str | None) -> bool:
        """Whether an event of this channel is for this stream."""
        return self.everything or (channel_id is not None and channel_id in self.channels)

    def push(self, frame: T) -> None:
        """Queue one frame; a stream whose queue is full is ended instead."""
        if self.closed.done():
            return
        self._queue.append(frame)
        self._bytes += frame.size
        if len(self._queue) > self._max_events or self._bytes > self._max_bytes:
            self.close("slow")
        else:
            self._wake.set()

    def close(self, ending: Ending) -> None:
        """End the stream. What waits is let go unless the server stops: then it is sent first."""
        if self.closed.done():
            return
        if ending != "stopping":
            self._queue.clear()
            self._bytes = 0
        self.closed.set_result(ending)
        self._wake.set()

    async def take(self, size: int, seconds: float) -> list[T]:
        """What waits, at most about `size` bytes of it; empty when nothing came in time or the stream is over."""
        if not self._queue and not self.closed.done():
            self._wake.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self._wake.wait()
            except TimeoutError:
                return []
        taken = []
        room = size
        while self._queue and room > 0:
            frame = self._queue.popleft()
            self._bytes -= frame.size
            room -= frame.size
            taken.append(frame)
        return taken

    @property
    def waiting(self) -> int:
        """Frames in the queue."""
        return len(self._queue)
