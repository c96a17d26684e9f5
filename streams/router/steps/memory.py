"""What was said in a partition lately, as far as rules that count need it: a function of its records alone.

Every judged message is counted, whatever the verdict on it, so what is remembered never depends on rules. Times are
the broker's append times. A copy of an event that comes again within a minute counts once and is judged as the first
was. Only a stretch of the log that ends at the present is remembered: by time, and at most so many messages.
"""

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from typing import Final

from infra.contracts.events import Event
from infra.contracts.rules import By, Flood, Repetition

#: A copy of an event is known as one for so long.
COPY_SECONDS: Final = 60
#: Messages of one partition that are remembered, at most.
MAX_MESSAGES: Final = 100_000
#: Messages of one millisecond are told apart by their order.
_PER_MS: Final = 1_000_000
_PUNCTUATION: Final = bytes(code for code in range(128) if not chr(code).isalnum())

#: What is counted: texts or messages, by whom.
Counter = tuple[bool, By]


def counter_of(rule: Repetition | Flood) -> Counter:
    """What this rule counts."""
    return isinstance(rule, Repetition), rule.by


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How far back rules look, and what they count there."""

    seconds: int
    counters: frozenset[Counter]

    def __or__(self, other: "Reach") -> "Reach":
        return Reach(seconds=max(self.seconds, other.seconds), counters=self.counters | other.counters)

    def covers(self, other: "Reach") -> bool:
        """Whether who remembers this knows what the other asks for."""
        return self.seconds >= other.seconds and self.counters >= other.counters

    @property
    def horizon_seconds(self) -> int:
        """How much of the log makes up the memory; 0 when nothing counts.

        A copy is judged as of its first, up to `COPY_SECONDS` ago, by messages that may be copies of still older ones.
        """
        return self.seconds + 2 * COPY_SECONDS if self.counters else 0


NOTHING: Final = Reach(seconds=0, counters=frozenset())


class Memory:
    """Of one partition, fed with its messages in their order. Grows with what `reach` asks for, and no further."""

    def __init__(self, reach: Reach, limit: int = MAX_MESSAGES) -> None:
        self.reach = reach
        self._limit = limit
        self._keep = reach.horizon_seconds * 1_000 * _PER_MS
        self._counters = tuple(sorted(reach.counters))
        #: One entry a message: its place in time, and the keys it stands under.
        self._log: deque[tuple[int, tuple[int, ...]]] = deque()
        #: Places in time by key; the first alone needs no deque.
        self._times: dict[int, int | deque[int]] = {}
        self._ms = 0
        self._number = 0

    def __len__(self) -> int:
        return len(self._log)

    def note(self, tenant: str, event: Event, folded: str, at_ms: int) -> "Recall":
        """Count this message, and what can be told of it now. `at_ms` is its record's append time."""
        if at_ms > self._ms:
            self._ms, self._number = at_ms, 0
        else:
            self._number += 1
        now = self._ms * _PER_MS + self._number
        self._forget(now - self._keep)
        known = self._first_after(copy := hash((tenant, event.id)), now - COPY_SECONDS * 1_000 * _PER_MS)
        keys = [self._key(counter, tenant, event, folded) for counter in self._counters]
        stands_under = (copy,) if known is not None else (copy, *keys)
        for key in stands_under:
            self._add(key, now)
        self._log.append((now, stands_under))
        return Recall(self, dict(zip(self._counters, keys, strict=True)), now if known is None else known, len(folded))

    def count(self, key: int, since: int, until: int, enough: int) -> bool:
        """Whether at least `enough` messages stand under this key after `since` and up to `until`."""
        times = self._times.get(key)
        if times is None or isinstance(times, int):
            return enough <= (times is not None and since < times <= until)
        end = len(times) if times[-1] <= until else bisect_right(times, until)
        return end >= enough and times[end - enough] > since

    def _key(self, counter: Counter, tenant: str, event: Event, folded: str) -> int:
        texts, by = counter
        author = event.author if by == "user" else None
        return hash((tenant, event.channel_id, author, _essence(folded) if texts else None))

    def _add(self, key: int, now: int) -> None:
        times = self._times.get(key)
        if times is None:
            self._times[key] = now
        elif isinstance(times, int):
            self._times[key] = deque((times, now))
        else:
            times.append(now)

    def _first_after(self, key: int, since: int) -> int | None:
        times = self._times.get(key)
        if times is None or isinstance(times, int):
            return times if times is not None and times > since else None
        at = bisect_right(times, since)
        return times[at] if at < len(times) else None

    def _forget(self, before: int) -> None:
        log = self._log
        while log and (log[0][0] <= before or len(log) >= self._limit):
            for key in log.popleft()[1]:
                times = self._times[key]
                if isinstance(times, int) or len(times) == 1:
                    del self._times[key]
                else:
                    times.popleft()


@dataclass(frozen=True, slots=True)
class Recall:
    """What the memory says of one message that it has just noted."""

    memory: Memory
    keys: dict[Counter, int]
    at: int
    length: int

    def exceeds(self, rule: Repetition | Flood) -> bool:
        """Whether this message is one too many."""
        enough = rule.messages + 1 if isinstance(rule, Flood) else rule.times
        if isinstance(rule, Repetition) and self.length < rule.min_length:
            return False
        since = self.at - rule.seconds * 1_000 * _PER_MS
        return self.memory.count(self.keys[counter_of(rule)], since, self.at, enough)


def _essence(folded: str) -> str:
    """The text without punctuation and spaces, unless it has nothing else."""
    if folded.isascii():
        return folded.encode().translate(None, _PUNCTUATION).decode() or folded
    return "".join(filter(str.isalnum, folded)) or folded
