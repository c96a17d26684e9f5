"""What the API keeps knowing between requests: whether its engines answer, the bucket plan, where the log ends."""

import asyncio
from collections.abc import Callable, Iterable, Sequence

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from api.errors import UNAVAILABLE
from api.numbers.freshness import LogEnds, Offsets, read_progress
from infra.contracts import tables
from infra.contracts.placement import DEFAULT_PLAN, BucketEpoch, plan_of
from infra.runtime.cassandra import Database
from infra.runtime.clock import Clock
from infra.runtime.health import Progress
from infra.runtime.kafka import end_offsets

log = structlog.get_logger("hubbub.api")

_EVERY_SECONDS = 1.0
_UNHEALTHY_AFTER_SECONDS = 10.0
#: A change of plan takes effect an hour after it is stored, so a minute is soon enough.
_PLAN_SECONDS = 60.0


class Watch:
    """Looks at both engines once a second, each at its own pace."""

    def __init__(self, database: Database, connect: Callable[[], Consumer], clock: Clock, fresh_seconds: float) -> None:
        self.ends = LogEnds(fresh_seconds)
        self.cassandra = Progress(_UNHEALTHY_AFTER_SECONDS)
        self.kafka = Progress(_UNHEALTHY_AFTER_SECONDS)
        self._plan: tuple[BucketEpoch, ...] = DEFAULT_PLAN
        self._planned_at: float | None = None
        self._topics: tuple[str, ...] = ()
        self._database = database
        self._connect = connect
        self._consumer: Consumer | None = None
        self._clock = clock

    @property
    def plan(self) -> Sequence[BucketEpoch]:
        """The bucket plan in force."""
        return self._plan

    async def look(self) -> None:
        """Look once. An engine that does not answer is logged and tried again; health tells."""
        try:
            if self._planned_at is None or self._clock.monotonic() - self._planned_at >= _PLAN_SECONDS:
                self._plan = plan_of((row[0], row[1]) for row in await self._database.execute(tables.BUCKET_PLAN))
                self._planned_at = self._clock.monotonic()
            progress = await read_progress(self._database)
            self._topics = tuple(progress.offsets) if progress is not None else ()
            self.cassandra.beat()
        except UNAVAILABLE as error:
            log.warning("cassandra.unavailable", error=type(error).__name__)
        try:
            self._consumer = self._consumer or self._connect()
            ends = await asyncio.to_thread(read_ends, self._consumer, self._topics)
            self.ends.observe(self._clock.monotonic(), ends)
            self.kafka.beat()
        except KafkaException as error:
            log.warning("kafka.unavailable", error=str(error))

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_EVERY_SECONDS)


def read_ends(consumer: Consumer, topics: Iterable[str], timeout: float = 5) -> Offsets:
    """The end of every partition of these topics. Blocks; asks the brokers even when there is no topic to ask for."""
    found = consumer.list_topics(timeout=timeout).topics
    wanted = [TopicPartition(name, p) for name in topics if name in found for p in found[name].partitions]
    ends: dict[str, dict[str, int]] = {}
    for (topic, partition), offset in end_offsets(consumer, wanted, timeout).items():
        ends.setdefault(topic, {})[str(partition)] = offset
    return ends
