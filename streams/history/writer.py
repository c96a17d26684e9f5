"""The history writer's loop: reads accepted and held events, writes them to Cassandra, commits what is confirmed there.

One thread reads, builds and commits; the driver's I/O thread hands outcomes over. Offsets are committed after the
channel activity they imply is stored. Nothing is ever given up but by becoming a dead letter.
"""

import threading
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from infra.contracts.events import Invalid
from infra.contracts.topics import HELD
from infra.runtime.clock import Clock
from infra.runtime.errors import PreconditionError
from infra.runtime.health import Progress
from infra.runtime.kafka import consumer_config, is_fatal
from infra.runtime.membership import Membership
from infra.runtime.settings import Kafka
from infra.runtime.telemetry import HISTORY_PAUSED, LAG, UNEXPECTED
from streams.history.cells import Cells
from streams.history.confirmed import Confirmed, Entry, Partition
from streams.history.dead_letters import DeadLetters
from streams.history.records import INPUTS, steps_of
from streams.history.rows import Step, Steps
from streams.history.settings import History
from streams.history.store import Store, Work

log = structlog.get_logger("hubbub.history")

_READ: Final = 500
_IDLE_SECONDS: Final = 0.1
_BUSY_SECONDS: Final = 0.005
_TICK_SECONDS: Final = 1.0
_REPLAN_SECONDS: Final = 60.0
_QUIET_COMMIT_SECONDS: Final = 0.5
#: A group gives out its places within a session or two; the sessions here are ten seconds long.
_REJOIN_SECONDS: Final = 30.0
_ASK_SECONDS: Final = 1.0


class _Source(NamedTuple):
    """The record a piece of work is done for."""

    message: Message
    entry: Entry


class Writer:
    """The loop of one process. `run` returns once told to stop, or when Kafka's client is beyond repair."""

    def __init__(
        self,
        *,
        kafka: Kafka,
        settings: History,
        cells: Cells,
        store: Store,
        dead_letters: DeadLetters,
        clock: Clock,
        progress: Progress,
    ) -> None:
        self._settings = settings
        self._cells = cells
        self._store = store
        self._dead_letters = dead_letters
        self._clock = clock
        self._progress = progress
        self._held = kafka.topic(HELD.name)
        self._topics = [kafka.topic(topic.name) for topic in INPUTS]
        self._prefix = kafka.topic_prefix
        self._confirmed = Confirmed()
        self._membership = Membership(_REJOIN_SECONDS)
        self._starts: dict[Partition, int] = {}
        self._moved: dict[Partition, int] = {}
        self._open = 0
        self._full_since: float | None = None
        self._paused = False
        self._committing = False
        self._last_commit = self._last_tick = self._last_plan = clock.monotonic()
        self.fatal: str | None = None
        self.lag: int | None = None
        self._consumer = Consumer(
            consumer_config(
                kafka,
                f"hubbub-history-{settings.instance}",
                kafka.group("history"),
                **{
                    "group.instance.id": f"history-{settings.instance}",
                    "partition.assignment.strategy": "cooperative-sticky",
                    # One queue feeds all partitions: what is fetched ahead of a backfill stands before a live event.
                    "queued.min.messages": 2_000,
                    "fetch.message.max.bytes": 256 * 1024,
                    "error_cb": self._on_error,
                    "on_commit": self._on_commit,
                },
            )
        )

    def run(self, stopping: threading.Event, stop_seconds: float) -> None:
        """Read and write until told to stop, then finish what is under way, at most `stop_seconds`."""
        self._consumer.subscribe(
            self._topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )
        self._begin(self._cells.replan(), None)
        try:
            while not stopping.is_set() and self.fatal is None:
                read = self._read()
                self._write(0 if read or self._quiet else _BUSY_SECONDS)
                self._tick()
            if self.fatal is None:
                self._finish(self._clock.monotonic() + stop_seconds)
        finally:
            self._consumer.close()

    @property
    def _quiet(self) -> bool:
        """Nothing is under way, so only Kafka can wake us."""
        return self._store.idle and self._dead_letters.idle

    def _read(self) -> int:
        """Take what Kafka has, as far as there is room. Waits for it only while nothing else is to be done."""
        room = self._settings.max_records - self._open
        if self._paused:
            if self._open <= self._settings.max_records // 2:
                self._pause(False)
            else:
                room = 1  # paused partitions yield nothing; polling keeps the membership
        elif room <= 0:
            return self._stand_still()
        self._full_since = None
        first = self._consumer.poll(_IDLE_SECONDS if self._quiet else 0)
        if first is None:
            return 0
        self._take(first)
        more = self._consumer.consume(min(room, _READ) - 1, 0) if room > 1 else []
        for message in more:
            self._take(message)
        return 1 + len(more)

    def _stand_still(self) -> int:
        now = self._clock.monotonic()
        if self._full_since is None:
            self._full_since = now
        elif now - self._full_since >= self._settings.pause_seconds:
            # Pausing drops what was fetched, so a short wait is left to the fetch queue.
            self._pause(True)
        return 0

    def _pause(self, pause: bool) -> None:
        assigned = self._consumer.assignment()
        (self._consumer.pause if pause else self._consumer.resume)(assigned)
        self._paused = pause
        HISTORY_PAUSED.set(len(assigned) if pause else 0)
        log.warning("partitions.paused" if pause else "partitions.resumed", partitions=len(assigned), open=self._open)

    def _take(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            if is_fatal(error):
                self.fatal = error.name()
            log.warning("consumer.error", code=error.name())
            return
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        entry = self._confirmed.read((topic, partition), offset)  # type: ignore[arg-type] # a message has all three
        if entry is None:
            return  # fetched before its partition was taken away
        self._open += 1
        try:
            now = self._clock.monotonic()
            steps = steps_of(message, held=topic == self._held, cells=self._cells, now=now)
        except Invalid as bad:
            self._bury(message, entry, bad.code, bad.message)
        except Exception as unforeseen:
            self._unexpected(message, entry, unforeseen)
        else:
            self._begin(steps, _Source(message, entry))

    def _write(self, timeout: float) -> None:
        self._store.pump()
        for work in self._store.settle(timeout):
            if work.refused is not None:
                self._refuse(work)
            else:
                self._advance(work)
        for entry in self._dead_letters.delivered():
            self._done(entry)

    def _begin(self, steps: Steps | Step, owner: Any) -> None:
        self._advance(Work(steps, owner))

    def _advance(self, work: Work) -> None:
        owner = work.owner
        try:
            step = work.advance()
        except Exception as unforeseen:
            if not isinstance(owner, _Source):
                raise
            self._unexpected(owner.message, owner.entry, unforeseen)
            return
        if step:
            self._store.begin(work, step)
        elif isinstance(owner, _Source):
            self._done(owner.entry)
        elif owner is not None:
            owner()

    def _done(self, entry: Entry) -> None:
        entry.done = True
        self._open -= 1

    def _bury(self, message: Message, entry: Entry, code: str, reason: str) -> None:
        self._dead_letters.bury(message, entry, code, reason, self._clock.now())

    def _unexpected(self, message: Message, entry: Entry, error: Exception) -> None:
        UNEXPECTED.labels("history").inc()
        where = {"topic": message.topic(), "partition": message.partition(), "offset": message.offset()}
        log.error("record.unexpected", exc_info=error, **where)
        self._bury(message, entry, "unexpected", type(error).__name__)

    def _refuse(self, work: Work) -> None:
        if isinstance(work.owner, _Source):
            self._bury(work.owner.message, work.owner.entry, "refused", work.refused or "")
        else:
            raise PreconditionError(f"Cassandra refuses what no record asked for: {work.refused}")

    # Progress

    def _tick(self) -> None:
        now = self._clock.monotonic()
        since = now - self._last_commit
        quiet = self._open == 0 and not self._cells.unsettled
        if since >= self._settings.commit_seconds or (quiet and since >= _QUIET_COMMIT_SECONDS):
            self._commit()
        if now - self._last_plan >= _REPLAN_SECONDS:
            self._last_plan = now
            self._begin(self._cells.replan(), None)
        if now - self._last_tick >= _TICK_SECONDS:
            self._last_tick = now
            self._measure()
            if self._membership.given_up(now, self._kafka_answers):
                self.fatal = "NO_PLACE_IN_GROUP"
                log.error("consumer.given_up", waited_seconds=_REJOIN_SECONDS)

    def _kafka_answers(self) -> bool:
        try:
            self._consumer.list_topics(self._held, timeout=_ASK_SECONDS)
        except KafkaException:
            return False
        return True

    def _commit(self, then: Callable[[list[TopicPartition]], Any] | None = None) -> None:
        """Store the activity of channels, then the offsets as they stand now."""
        if self._committing:
            return
        self._last_commit = self._clock.monotonic()
        positions = self._confirmed.positions()
        steps = self._cells.settle()

        def store_offsets() -> None:
            self._committing = False
            offsets = self._confirmed.committable(positions)
            if offsets:
                (then or self._commit_async)(offsets)

        self._committing = True
        self._begin(steps, store_offsets)

    def _commit_async(self, offsets: list[TopicPartition]) -> None:
        self._consumer.commit(offsets=offsets, asynchronous=True)

    def _commit_now(self, offsets: list[TopicPartition]) -> None:
        try:
            self._confirmed.committed(self._consumer.commit(offsets=offsets, asynchronous=False) or [])
        except KafkaException as error:
            log.warning("commit.failed", code=error.args[0].name())  # the next process does these records again

    def _measure(self) -> None:
        """Lag by partition, and whether it moves."""
        total = 0
        try:
            for partition in self._confirmed.partitions:
                lag = self._lag(partition)
                LAG.labels(partition[0].removeprefix(self._prefix), partition[1]).set(lag)
                total += lag
        except KafkaException as error:
            log.warning("lag.unknown", code=error.args[0].name())
            return
        moved = self._confirmed.positions()
        if self._membership.joined and (total == 0 or moved != self._moved):
            self._progress.beat()
        self._moved = moved
        self.lag = total

    def _lag(self, partition: Partition) -> int:
        where = TopicPartition(*partition)
        known = None if self._paused else self._consumer.get_watermark_offsets(where, cached=True)
        if known is None or known[1] < 0:  # nothing is being fetched, so nothing is cached, or it is stale
            known = self._consumer.get_watermark_offsets(where, timeout=1)
        low, high = known
        position = self._confirmed.position(partition)
        if position is None:
            if partition not in self._starts:
                self._starts[partition] = self._consumer.committed([where], timeout=1)[0].offset
            position = max(self._starts[partition], low)
        return max(0, high - position)

    def _finish(self, deadline: float) -> None:
        """Confirm what was read, commit it, or leave it to the next process when time is up."""
        finished = False
        while not finished and self._clock.monotonic() < deadline:
            self._write(0 if self._quiet else _BUSY_SECONDS)
            if self._open == 0 and self._quiet:
                self._commit(self._commit_now)
                finished = not self._committing
        log.info("stopped", open=self._open)

    # What Kafka's client reports

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._membership.join()
        for found in partitions:
            self._confirmed.assign((found.topic, found.partition))
        consumer.incremental_assign(partitions)
        if self._paused:
            consumer.pause(partitions)
        log.info("partitions.assigned", partitions=[f"{p.topic}/{p.partition}" for p in partitions])

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # What is confirmed but not committed is done again by the next owner, into the same cells.
        for lost in partitions:
            self._confirmed.revoke((lost.topic, lost.partition))
            self._starts.pop((lost.topic, lost.partition), None)
            LAG.remove(lost.topic.removeprefix(self._prefix), lost.partition)
        consumer.incremental_unassign(partitions)
        log.info("partitions.revoked", partitions=[f"{p.topic}/{p.partition}" for p in partitions])

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._membership.lose()
        self._on_revoke(consumer, partitions)

    def _on_commit(self, error: KafkaError | None, offsets: list[TopicPartition]) -> None:
        if error is not None:
            log.warning("commit.failed", code=error.name())  # the next commit carries these offsets again
            return
        self._confirmed.committed(offsets)

    def _on_error(self, error: KafkaError) -> None:
        fatal = is_fatal(error)
        if fatal:
            self.fatal = error.name()
        log.warning("consumer.error", code=error.name(), fatal=fatal)
