"""Makes UUIDv7 ids that carry a moment and sort in the order they were made.

RFC 9562 section 5.7: 48 bits of Unix milliseconds, then 74 free bits. Ours hold a counter of 42 bits, so that ids of
one millisecond sort by it (section 6.2, method 1), and 32 bits that are random or a hash.
"""

import secrets
import threading
from typing import Final

COUNTER_BITS: Final = 42
TAIL_BITS: Final = 32


def uuid7(ms: int, counter: int, tail: int) -> str:
    """The UUIDv7 of a moment, a counter below 2^42 and a tail below 2^32. Sorts by (ms, counter, tail)."""
    if not (0 <= ms < 1 << 48 and 0 <= counter < 1 << COUNTER_BITS and 0 <= tail < 1 << TAIL_BITS):
        raise ValueError("a part of the id does not fit")
    rand_a = counter >> 30
    low = (0b10 << 62) | ((counter & 0x3FFFFFFF) << TAIL_BITS) | tail
    digits = f"{ms:012x}7{rand_a:03x}{low:016x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


class MonotonicIds:
    """Ids of one process. Thread safe.

    The counter never restarts, so ids of one millisecond sort in the order they were made, whatever happened between
    them. `uuid_utils.uuid7` is monotonic too, but cannot be asked for a past moment without giving up that order.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # A random start below the top bit: two processes of one millisecond differ, and the counter never runs out.
        self._counter = secrets.randbits(COUNTER_BITS - 1)
        self._latest = 0

    def now(self, ms: int) -> str:
        """The next id at this moment, or at the latest one given here when the clock has stepped back."""
        with self._lock:
            self._latest = max(self._latest, ms)
            return self._next(self._latest)

    def at(self, ms: int) -> str:
        """The next id that carries exactly this moment."""
        with self._lock:
            return self._next(ms)

    def _next(self, ms: int) -> str:
        self._counter += 1
        return uuid7(ms, self._counter, secrets.randbits(TAIL_BITS))
