"""Ids already taken in: in flight, and stored within the window. It knows a second copy and another body."""

from collections import deque
from collections.abc import Callable

from ingest.framer import Frame


class Seen:
    """Each id of a tenant with a fingerprint of its body. Bounded by time and by count, oldest out first."""

    def __init__(self, *, seconds: float, limit: int, monotonic: Callable[[], float]) -> None:
        self._seconds = seconds
        self._limit = limit
        self._monotonic = monotonic
        self._stored: dict[str, int] = {}
        self._in_flight: dict[str, Frame] = {}
        self._batches: deque[tuple[float, tuple[str, ...]]] = deque()
        #: The fingerprint of the stored event with this key, else None.
        self.stored: Callable[[str], int | None] = self._stored.get
        #: The frame that holds the first copy while its outcome is open, its fingerprint in `frame.prints`; else None.
        self.in_flight: Callable[[str], Frame | None] = self._in_flight.get

    def __len__(self) -> int:
        return len(self._stored)

    def sending(self, key: str, fingerprint: int, frame: Frame) -> None:
        """The event is in this frame from now on."""
        self._in_flight[key] = frame
        frame.prints[key] = fingerprint

    def settle(self, frame: Frame) -> None:
        """The frame's outcome is known: remember its ids if it is stored, forget them if not."""
        for key in frame.prints:
            del self._in_flight[key]
        if frame.stored and self._limit:
            self._stored.update(frame.prints)
            self._batches.append((self._monotonic() + self._seconds, tuple(frame.prints)))
            self.expire()

    def expire(self) -> None:
        """Forget what is older than the window or beyond the bound."""
        now = self._monotonic()
        while self._batches and (self._batches[0][0] <= now or len(self._stored) > self._limit):
            for key in self._batches.popleft()[1]:
                self._stored.pop(key, None)


def seen_key(tenant: str, event_id: str) -> str:
    """The key of an event; a tenant's id holds no slash."""
    return f"{tenant}/{event_id}"
