"""The archive writer's loop: reads the log, gathers rows, commits them with the offsets they reach, about every minute.

Where to read from is what the tables say, never the consumer group: the group shares out partitions, and its offsets,
committed after the table, only show others how far the archive is. A partition whose records are gone before they
were archived is left alone, and said to be, until somebody decides: see `hubbub archive skip`.
"""

import threading
from collections.abc import Sequence
from typing import Final

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from analytics.archive.feed import Feed
from analytics.archive.settings import ArchiveWriter
from analytics.archive.table import Table, Unwritable
from infra.runtime.archive import Partition, inputs
from infra.runtime.clock import Clock
from infra.runtime.health import Check, Progress
from infra.runtime.kafka import consumer_config, end_offsets, is_fatal
from infra.runtime.membership import Membership
from infra.runtime.settings import Kafka
from infra.runtime.telemetry import ARCHIVE_BUFFERED, ARCHIVE_GAP, LAG

log = structlog.get_logger("hubbub.archive")

_READ: Final = 500
_WAIT_SECONDS: Final = 0.5
_TICK_SECONDS: Final = 1.0
#: After a commit that failed; doubled each time, up to the second.
_RETRY_SECONDS: Final = (1.0, 30.0)
_REPORT_SECONDS: Final = 5.0
#: What a commit may take before rows are called late.
_LATE_SECONDS: Final = 10.0
#: A group gives out its places within a session or two; the sessions here are ten seconds long.
_REJOIN_SECONDS: Final = 30.0
_ASK_SECONDS: Final = 1.0
#: How often a partition that was left alone is looked at again.
_GAP_SECONDS: Final = 5.0


class Writer:
    """The loop of one process. `run` returns once told to stop, or when Kafka's client is beyond repair."""

    def __init__(
        self, *, kafka: Kafka, settings: ArchiveWriter, tables: Sequence[Table], clock: Clock, progress: Progress
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._progress = progress
        self._prefix = kafka.topic_prefix
        now = clock.monotonic()
        self.feeds = [Feed(table, kafka.topic_prefix, now) for table in tables]
        self._fed_by = {name: feed for feed in self.feeds for name in inputs(feed.table.contract, kafka)}
        #: When to try again, and after how long once more, by table that could not be written.
        self._retries: dict[str, tuple[float, float]] = {}
        #: Partitions left alone, with the records missing and the offset at which they would be read on.
        self.gaps: dict[Partition, tuple[int, int]] = {}
        self._gaps_seen = now
        self._membership = Membership(_REJOIN_SECONDS)
        self._read: dict[Partition, int | None] = {}
        self._reported: dict[Partition, int] = {}
        self._last_tick = self._reported_at = now
        self.fatal: str | None = None
        self.lag: int | None = None
        self._consumer = Consumer(
            consumer_config(
                kafka,
                f"hubbub-archive-{settings.instance}",
                kafka.group("archive"),
                **{
                    "group.instance.id": f"archive-{settings.instance}",
                    "partition.assignment.strategy": "cooperative-sticky",
                    # Records that are gone are a gap to be told of, not a reason to begin elsewhere.
                    "auto.offset.reset": "error",
                    # An archive is in no hurry: fewer, fuller fetches cost the broker and this process less.
                    "fetch.min.bytes": 64 * 1024,
                    "fetch.wait.max.ms": 500,
                    "fetch.message.max.bytes": 1024 * 1024,
                    "queued.min.messages": 5_000,
                    "queued.max.messages.kbytes": 16 * 1024,
                    "error_cb": self._on_error,
                    "on_commit": self._on_commit,
                },
            )
        )

    def run(self, stopping: threading.Event) -> None:
        """Read and commit until told to stop, then commit what was read."""
        self._consumer.subscribe(
            list(self._fed_by), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )
        try:
            while not stopping.is_set() and self.fatal is None:
                self.step()
            if self.fatal is None:
                self._finish()
        finally:
            self._consumer.close()

    def step(self) -> None:
        """Read what has come, commit what is due."""
        for message in self._consumer.consume(_READ, _WAIT_SECONDS):
            self._take(message)
        now = self._clock.monotonic()
        full = sum(feed.bytes for feed in self.feeds if not feed.failing) >= self._settings.buffer_bytes
        for feed in self.feeds:
            if feed.astray:
                self._lead_back(feed)
            elif self._is_due(feed, full, now):
                self._commit(feed, now)
        if now - self._last_tick >= _TICK_SECONDS:
            self._last_tick = now
            self._measure(now)
            if self._membership.given_up(now, self._kafka_answers):
                self.fatal = "NO_PLACE_IN_GROUP"
                log.error("consumer.given_up", waited_seconds=_REJOIN_SECONDS)

    def _kafka_answers(self) -> bool:
        try:
            self._consumer.list_topics(next(iter(self._fed_by)), timeout=_ASK_SECONDS)
        except KafkaException:
            return False
        return True

    def check_tables(self) -> Check:
        """Whether every table took its last commit."""
        failing = [f"{feed.name}: {feed.failing}" for feed in self.feeds if feed.failing]
        return Check(not failing, "; ".join(failing))

    def check_gaps(self) -> Check:
        """Whether everything that was to be archived is still there."""
        told = [f"{self._name(p)}: {missing} records before {there}" for p, (missing, there) in self.gaps.items()]
        return Check(not told, "gone before they were archived: " + ", ".join(told) if told else "")

    def _take(self, message: Message) -> None:
        error = message.error()
        if error is None:
            self._fed_by[message.topic() or ""].take(message, self._clock.monotonic())
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:
            self._leave_alone((message.topic() or "", message.partition() or 0))
        else:
            if is_fatal(error):
                self.fatal = error.name()
            log.warning("consumer.error", code=error.name())

    def _is_due(self, feed: Feed, full: bool, now: float) -> bool:
        if feed.name in self._retries:
            return now >= self._retries[feed.name][0]
        waited = feed.since is not None and now - feed.since >= self._settings.commit_seconds
        # A table without rows is asked as well: it may have offsets alone to commit.
        return waited or full or len(feed.days) >= self._settings.buffer_days or feed.since is None

    def _commit(self, feed: Feed, now: float) -> None:
        """Commit a table. While it cannot be written its partitions are paused, and nothing more is held in memory."""
        feed.commit(now)
        if feed.failing is not None:
            _, wait = self._retries.get(feed.name, (0.0, _RETRY_SECONDS[0]))
            self._retries[feed.name] = (now + wait, min(2 * wait, _RETRY_SECONDS[1]))
            self._pause(feed, True)
        elif self._retries.pop(feed.name, None):
            self._pause(feed, False)

    def _pause(self, feed: Feed, pause: bool) -> None:
        partitions = [TopicPartition(*partition) for partition in feed.partitions]
        (self._consumer.pause if pause else self._consumer.resume)(partitions)
        log.warning("partitions.paused" if pause else "partitions.resumed", table=feed.name, rows=feed.rows)

    def _lead_back(self, feed: Feed) -> None:
        """Read on where the table stands.

        By assigning once more: a partition whose records were gone is not being fetched, and cannot be sought
        (librdkafka's issue 2961).
        """
        try:
            places = [_place(partition, offset) for partition, offset in feed.stand().items()]
            self._consumer.incremental_unassign(places)
            self._consumer.incremental_assign(places)
        except (Unwritable, KafkaException) as error:
            log.warning("archive.astray", table=feed.name, error=str(error)[:500])  # the next step tries again
        else:
            feed.astray = False

    # Records that are gone

    def _leave_alone(self, partition: Partition) -> None:
        """Where the table stands there is no record any more, or none yet: the topic is another one."""
        feed = self._fed_by[partition[0]]
        stands = feed.partitions.get(partition)
        try:
            low, high = self._consumer.get_watermark_offsets(TopicPartition(*partition), timeout=5)
        except KafkaException as error:
            log.warning("consumer.error", code=error.args[0].name())
            feed.drop()
            return
        if stands is None or low <= stands <= high:
            feed.drop()  # the log moved between two looks: the same place is asked for once more
            return
        # Of a topic that ends before the table's offset, all that it holds is new.
        self.gaps[partition] = (max(0, low - stands), low)
        ARCHIVE_GAP.labels(partition[0].removeprefix(self._prefix), partition[1]).set(max(0, low - stands))
        log.error("archive.gap", partition=self._name(partition), archived=stands, first=low, end=high)

    def _look_at_gaps(self) -> None:
        """Whether somebody has moved a table on, over a gap."""
        for feed in self.feeds:
            mine = [partition for partition in self.gaps if partition in feed.partitions]
            if not mine or feed.astray:
                continue
            try:
                feed.table.refresh()
            except Unwritable as error:
                log.warning("archive.unreadable", table=feed.name, error=str(error)[:500])
                continue
            for partition in mine:
                if feed.table.position(partition) != feed.partitions[partition]:
                    self._forget_gap(partition)
                    feed.drop()

    def _forget_gap(self, partition: Partition) -> None:
        if self.gaps.pop(partition, None) is not None:
            ARCHIVE_GAP.remove(partition[0].removeprefix(self._prefix), partition[1])

    # Progress

    def _measure(self, now: float) -> None:
        """Lag by partition, and whether it moves; where the group is said to be."""
        ARCHIVE_BUFFERED.set(sum(feed.bytes for feed in self.feeds))
        if self.gaps and now - self._gaps_seen >= _GAP_SECONDS:
            self._gaps_seen = now
            self._look_at_gaps()
        read = {partition: position for feed in self.feeds for partition, position in feed.partitions.items()}
        try:
            ends = end_offsets(self._consumer, [TopicPartition(*partition) for partition in read], _ASK_SECONDS)
            lags = {partition: self._lag(partition, read[partition], end) for partition, end in ends.items()}
        except KafkaException as error:
            log.warning("lag.unknown", code=error.args[0].name())
            return
        for (topic, number), lag in lags.items():
            LAG.labels(topic.removeprefix(self._prefix), number).set(lag)
        self.lag = sum(lags.values())
        within = 2 * self._settings.commit_seconds + _LATE_SECONDS
        late = any(feed.since is not None and now - feed.since > within for feed in self.feeds)
        if self._membership.joined and not late and (self.lag == 0 or read != self._read):
            self._progress.beat()
        self._read = read
        if now - self._reported_at >= _REPORT_SECONDS:
            self._reported_at = now
            self._report()

    def _lag(self, partition: Partition, position: int | None, end: int) -> int:
        """Records that are not read yet. Those that were are archived within the time between two commits."""
        if position is None and end > 0:
            position = self._consumer.get_watermark_offsets(TopicPartition(*partition), timeout=_ASK_SECONDS)[0]
        return max(0, end - (position or 0))

    def _report(self, *, wait: bool = False) -> None:
        """Tell the group how far each partition is archived: for others to see, never to begin from."""
        offsets = [
            TopicPartition(*partition, offset)
            for feed in self.feeds
            for partition, offset in feed.archived.items()
            if offset > self._reported.get(partition, -1)
        ]
        if not offsets:
            return
        self._reported |= {(place.topic, place.partition): place.offset for place in offsets}
        try:
            if wait:
                self._consumer.commit(offsets=offsets, asynchronous=False)
            else:
                self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            log.warning("commit.failed", code=error.args[0].name())

    def _finish(self) -> None:
        """Commit what was read, once: what cannot be is read again by the next process."""
        for feed in self.feeds:
            if feed.since is not None and feed.failing is None:
                feed.commit(self._clock.monotonic())
        left = sum(feed.rows for feed in self.feeds)
        self._report(wait=True)
        log.info("stopped", left=left)

    # What Kafka's client reports

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._membership.join()
        for feed in {id(f): f for f in (self._fed_by[p.topic] for p in partitions)}.values():
            feed.table.refresh()
        for found in partitions:
            partition = (found.topic, found.partition)
            found.offset = _place(partition, self._fed_by[found.topic].assign(partition)).offset
        consumer.incremental_assign(partitions)
        for feed in self.feeds:
            if feed.name in self._retries:
                self._pause(feed, True)
        log.info("partitions.assigned", partitions=[f"{p.topic}/{p.partition}@{p.offset}" for p in partitions])

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for lost in partitions:
            partition = (lost.topic, lost.partition)
            self._fed_by[lost.topic].revoke(partition)
            self._forget_gap(partition)
            self._reported.pop(partition, None)
            LAG.remove(lost.topic.removeprefix(self._prefix), lost.partition)
        consumer.incremental_unassign(partitions)
        log.info("partitions.revoked", partitions=[f"{p.topic}/{p.partition}" for p in partitions])

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._membership.lose()
        self._on_revoke(consumer, partitions)

    def _on_commit(self, error: KafkaError | None, offsets: list[TopicPartition]) -> None:
        if error is not None:
            log.warning("commit.failed", code=error.name())
            self._reported = {}  # the next one carries them again

    def _on_error(self, error: KafkaError) -> None:
        fatal = is_fatal(error)
        if fatal:
            self.fatal = error.name()
        log.warning("consumer.error", code=error.name(), fatal=fatal)

    def _name(self, partition: Partition) -> str:
        return f"{partition[0].removeprefix(self._prefix)}/{partition[1]}"


def _place(partition: Partition, offset: int | None) -> TopicPartition:
    return TopicPartition(*partition, OFFSET_BEGINNING if offset is None else offset)
