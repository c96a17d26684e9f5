"""The parts of a running ingest, put together on the running event loop."""

import asyncio
from collections.abc import Callable, Mapping

import uuid_utils

from infra.contracts.topics import DLQ, INGEST
from infra.runtime.clock import Clock
from infra.runtime.control import Directory
from infra.runtime.health import Check, Health
from infra.runtime.kafka import AsyncDeliveries, DeliveringProducer, producer_config
from infra.runtime.settings import Kafka
from infra.runtime.telemetry import QUEUED_EVENTS, SLOW_CHANNELS
from ingest.app import create_app
from ingest.dead_letters import DeadLetters
from ingest.dedupe import Seen
from ingest.framer import Framer
from ingest.held_log import HeldLog
from ingest.intake import Intake, Lane
from ingest.limits import Limiter
from ingest.review import Decisions
from ingest.settings import Ingest


class Stack:
    """Producer, framer, intake and application of one process. `close` delivers what is queued."""

    def __init__(
        self,
        kafka: Kafka,
        settings: Ingest,
        directory: Directory,
        lanes: Mapping[str, Lane],
        *,
        clock: Clock,
        on_fatal: Callable[[str], None] | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.clock = clock
        config = producer_config(kafka, "hubbub-ingest", **{"linger.ms": 0})  # a frame has lingered already
        self.producer = DeliveringProducer(config, on_fatal=on_fatal)
        deliveries = AsyncDeliveries(self.producer, loop)
        seen = Seen(seconds=settings.dedupe_seconds, limit=settings.dedupe_events, monotonic=clock.monotonic)
        self.framer = Framer(deliveries, loop, linger=settings.linger_ms / 1000, settled=seen.settle)
        limiter = Limiter(settings.bucket_count)
        self.intake = Intake(
            settings,
            lanes=lanes,
            framer=self.framer,
            seen=seen,
            limiter=limiter,
            letters=DeadLetters(deliveries, topic=kafka.topic(DLQ.name), partitions=lanes[INGEST.name].partitions),
            clock=clock,
        )
        self.held_log = HeldLog(kafka)
        decisions = Decisions(lanes[INGEST.name], self.held_log, self.framer, seen, settings, clock=clock)
        self.health = Health("ingest")
        self.health.add("producer", lambda: Check(self.producer.fatal is None, self.producer.fatal or ""))
        self.health.add("queue", self._queue)
        QUEUED_EVENTS.set_function(lambda: self.framer.in_flight_events)
        SLOW_CHANNELS.set_function(lambda: limiter.slow_channels(clock.monotonic()))
        self.app = create_app(
            self.intake,
            decisions,
            directory,
            settings,
            self.health,
            clock=clock,
            new_id=lambda: str(uuid_utils.uuid7()),
        )

    async def close(self, seconds: float) -> int:
        """Deliver what is queued, at most `seconds`. Returns the events that Kafka did not confirm."""
        deadline = self.clock.monotonic() + seconds
        left = await self.framer.drain(seconds)
        if left:
            self.producer.purge()
        await self.held_log.close()
        await asyncio.to_thread(self.producer.close, max(0.1, deadline - self.clock.monotonic()))
        return left

    def _queue(self) -> Check:
        return Check(not self.intake.full, f"{self.framer.in_flight_events} events in flight")
