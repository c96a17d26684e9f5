"""Keeps batches and reads in flight to Cassandra and repeats each until it is confirmed.

Every statement is idempotent and carries its write time, so a request whose outcome is unknown is simply sent again.
Driver callbacks run on the driver's I/O thread and only hand over; all else happens on the caller's thread.
"""

import heapq
import queue
import random
import re
import struct
from collections import Counter, deque
from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from typing import Any, Final

import structlog
from cassandra import InvalidRequest
from cassandra.query import UNSET_VALUE, BatchStatement, BatchType, BoundStatement, PreparedStatement

from infra.contracts.tables import STATEMENTS
from infra.runtime.cassandra import Database
from infra.runtime.clock import Clock
from infra.runtime.telemetry import HISTORY_SECONDS, WRITTEN
from streams.history.batches import MAX_ROWS, Batches
from streams.history.rows import Read, Row, Rows, Step, Steps

log = structlog.get_logger("hubbub.history.store")

_MAX_READS: Final = 64
_PARTIAL_BATCHES: Final = 4
_FIRST_DELAY: Final = 0.05
_LAST_DELAY: Final = 5.0
#: So often is a row sent that Cassandra calls invalid, before it is given up.
_REFUSALS: Final = 5
#: A schema that is not there refuses everything: that is no fault of the row.
_MISSING: Final = re.compile(r"unconfigured table|[Kk]eyspace|table .* does not exist")
_TABLE: Final = re.compile(r"(?:UPDATE|INTO) (\w+)")
_TABLES: Final = {name: m.group(1) for name, s in STATEMENTS.items() if (m := _TABLE.search(s.cql))}


class Work:
    """One generator of steps under way. `waiting` parts of its present step are not confirmed yet.

    `refused` says why Cassandra will never take one of its rows; the work is over then.
    """

    __slots__ = ("owner", "refused", "results", "steps", "waiting")

    def __init__(self, steps: Steps | Step, owner: Any) -> None:
        self.steps: Steps | Step = steps
        self.owner: Final = owner
        self.waiting = 0
        self.results: list[Rows] | None = None
        self.refused: str | None = None

    def advance(self) -> Step:
        """The next step that asks for anything; empty when there is none."""
        if not isinstance(self.steps, Generator):
            step, self.steps = self.steps, ()
            return step
        try:
            step = next(self.steps) if self.results is None else self.steps.send(self.results)
            while not step:
                step = self.steps.send([])
        except StopIteration:
            return ()
        return step


class _Request:
    """A batch of rows, each with the work that waits for it, or one read and which of its work's results it is."""

    __slots__ = ("attempts", "first_failed", "parts", "read", "sent", "slot")

    def __init__(self, parts: Sequence[tuple[Row | Read, Sequence[Work]]], slot: int = -1) -> None:
        self.parts: Final = parts
        self.read: Final = slot >= 0
        self.slot: Final = slot
        self.attempts = 0
        self.sent = 0.0
        self.first_failed = 0.0


class Store:
    """Bounded requests in flight. Not thread safe: one thread begins work, pumps and settles."""

    def __init__(self, database: Database, *, clock: Clock, jitter: random.Random, max_batches: int) -> None:
        self._database = database
        self._clock = clock
        self._jitter = jitter
        self._max_batches = max_batches
        self._shared: dict[Row, list[Work]] = {}
        self._batches: Batches[Sequence[Work]] = Batches(self._replicas)
        self._reads: deque[_Request] = deque()
        self._in_flight = {True: 0, False: 0}
        self._retries: list[tuple[float, int, _Request]] = []
        self._outcomes: queue.SimpleQueue[tuple[_Request, Any, BaseException | None]] = queue.SimpleQueue()
        self._replica_sets: dict[tuple[str | int, ...], Hashable] = {}
        self._last_success = 0.0
        self._single_host = self._count_hosts() == 1
        self.failing: str | None = None

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing is in flight."""
        return not (len(self._batches) or self._reads or self._retries or any(self._in_flight.values()))

    def begin(self, work: Work, step: Step) -> None:
        """Take a step of this work; `pump` sends it."""
        work.waiting = len(step)
        results: list[Rows] = []
        work.results = results
        for part in step:
            if isinstance(part, Row):
                if not part.shared:
                    self._batches.add(part, (work,))
                elif part in self._shared:
                    self._shared[part].append(work)
                else:
                    self._shared[part] = [work]
                    self._batches.add(part, self._shared[part])
            else:
                self._reads.append(_Request([(part, (work,))], len(results)))
                results.append([])

    def pump(self) -> None:
        """Send what may be sent now: repetitions that are due, then reads, then batches."""
        now = self._clock.monotonic()
        self._single_host = self._count_hosts() == 1  # asked once a turn: the driver takes a lock for it
        while self._retries and self._retries[0][0] <= now:
            self._send(heapq.heappop(self._retries)[2])
        while self._reads and self._in_flight[True] < _MAX_READS:
            self._in_flight[True] += 1
            self._send(self._reads.popleft())
        # While some are under way a batch may wait to be full: rows come faster than answers then.
        while self._in_flight[False] < self._max_batches and (
            len(self._batches) >= MAX_ROWS or (len(self._batches) and self._in_flight[False] < _PARTIAL_BATCHES)
        ):
            self._in_flight[False] += 1
            self._send(_Request(self._batches.take()))

    def settle(self, timeout: float) -> Iterator[Work]:
        """Work whose step is confirmed; waits at most `timeout` seconds for the first outcome."""
        if self._retries:
            timeout = min(timeout, max(0.0, self._retries[0][0] - self._clock.monotonic()))
        try:
            outcome = self._outcomes.get(timeout=timeout) if timeout > 0 else self._outcomes.get_nowait()
            while True:
                yield from self._take(*outcome)
                outcome = self._outcomes.get_nowait()
        except queue.Empty:
            return

    def _send(self, request: _Request) -> None:
        request.sent = self._clock.monotonic()
        prepared = self._database.prepared
        first = request.parts[0][0]
        if request.read:
            statement = prepared(first.statement).bind(first.values)
        elif len(request.parts) == 1:
            statement = _bound(prepared(first.statement), first.values)
        else:
            statement = BatchStatement(BatchType.UNLOGGED)
            for part, _ in request.parts:
                statement.add(_bound(prepared(part.statement), part.values))
            statement.is_idempotent = True
        put = self._outcomes.put
        future = self._database.session.execute_async(statement)
        if request.read:
            _collect(future, request, put)
        else:
            future.add_callbacks(lambda _: put((request, None, None)), lambda error: put((request, None, error)))

    def _take(self, request: _Request, rows: Any, error: BaseException | None) -> Iterator[Work]:
        if error is not None:
            yield from self._fail(request, error)
            return
        self.failing = None
        self._last_success = self._clock.monotonic()
        self._in_flight[request.read] -= 1
        if request.read:
            results = request.parts[0][1][0].results
            assert results is not None
            results[request.slot] = rows
        else:
            HISTORY_SECONDS.observe(self._clock.monotonic() - request.sent)
            for name, count in Counter(part.statement.name for part, _ in request.parts).items():
                WRITTEN.labels(_TABLES[name]).inc(count)
        for part, waiting in request.parts:
            if isinstance(part, Row) and part.shared:
                del self._shared[part]
            for work in waiting:
                work.waiting -= 1
                if not work.waiting and work.refused is None:
                    yield work

    def _fail(self, request: _Request, error: BaseException) -> Iterator[Work]:
        request.attempts += 1
        self.failing = type(error).__name__
        if request.attempts == 1:
            request.first_failed = self._clock.monotonic()
        if isinstance(error, InvalidRequest) and len(request.parts) > 1:
            # One row spoils its batch: each is sent by itself. The slots beyond this batch's own are given back one
            # by one, so the bound is passed for a moment only.
            log.error("batch.refused", rows=len(request.parts), error=type(error).__name__)
            self._in_flight[False] += len(request.parts) - 1
            for part in request.parts:
                self._send(_Request([part]))
            return
        if self._refuses(request, error):
            self._in_flight[request.read] -= 1
            refused, waiting = request.parts[0]
            if isinstance(refused, Row) and refused.shared:
                del self._shared[refused]
            for work in waiting:
                if work.refused is None:  # its step may hold more than one such row
                    work.refused = str(error)
                    yield work
            return
        if request.attempts in (1, 10) or request.attempts % 100 == 0:
            log.warning("request.repeated", attempts=request.attempts, error=type(error).__name__)
        delay = min(_LAST_DELAY, _FIRST_DELAY * 2 ** min(request.attempts - 1, 10))
        due = self._clock.monotonic() + delay * self._jitter.uniform(0.5, 1.0)
        heapq.heappush(self._retries, (due, id(request), request))

    def _refuses(self, request: _Request, error: BaseException) -> bool:
        """Whether Cassandra takes other requests and will never take this one, however often it is repeated."""
        return (
            isinstance(error, InvalidRequest)
            and not _MISSING.search(str(error))
            and request.attempts >= _REFUSALS
            and self._last_success > request.first_failed
        )

    def _count_hosts(self) -> int:
        return len(self._database.cluster.metadata.all_hosts())

    def _replicas(self, row: Row) -> Hashable:
        if self._single_host:
            return None
        metadata = self._database.cluster.metadata
        replicas = self._replica_sets.get(row.partition)
        if replicas is None:
            hosts = metadata.get_replicas(self._database.session.keyspace, routing_key(row.partition))
            if len(self._replica_sets) >= 100_000:
                self._replica_sets.clear()
            replicas = self._replica_sets[row.partition] = frozenset(host.host_id for host in hosts)
        return replicas


def routing_key(partition: tuple[str | int, ...]) -> bytes:
    """The partition key as Cassandra hashes it: a lone value bare, several each in a length and a zero."""
    parts = [v.encode() if isinstance(v, str) else struct.pack(">q", v) for v in partition]
    if len(parts) == 1:
        return parts[0]
    return b"".join(struct.pack(">H", len(part)) + part + b"\0" for part in parts)


def _bound(prepared: PreparedStatement, values: Sequence[str | bytes | int | bool | None]) -> BoundStatement:
    """The statement with these values.

    The driver's own `bind` looks up and converts each by its column's type, which takes longer than all else that is
    done for a row. History's values are of few types.
    """
    bound = BoundStatement(prepared)
    bound.values = [_PACKED[type(value)](value) for value in values]
    return bound


_PACKED: Final[dict[type, Callable[[Any], Any]]] = {
    str: str.encode,
    bytes: bytes,
    int: struct.Struct(">q").pack,
    bool: (b"\0", b"\1").__getitem__,
    type(None): lambda _: UNSET_VALUE,
}


def _collect(future: Any, request: _Request, put: Any) -> None:
    """Hand over all pages of a read at once. The driver calls back once a page."""
    rows: Rows = []

    def take(page: Any) -> None:
        rows.extend(page or ())
        if future.has_more_pages:
            future.start_fetching_next_page()
        else:
            put((request, rows, None))

    future.add_callbacks(take, lambda error: put((request, None, error)))
