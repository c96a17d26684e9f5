"""Compares the topics with the contract now and then, so that readiness can answer at once."""

import asyncio

from confluent_kafka import KafkaException

from infra.runtime.errors import PreconditionError
from infra.runtime.health import Check
from infra.runtime.kafka import check_topics
from infra.runtime.settings import Kafka


class TopicWatch:
    """The latest result of `check_topics`."""

    def __init__(self, kafka: Kafka, *, every: float) -> None:
        self._kafka = kafka
        self._every = every
        self._latest = Check(False, "not checked yet")

    def check(self) -> Check:
        """What the last look found."""
        return self._latest

    async def run(self) -> None:
        """Look, again and again, until cancelled."""
        while True:
            self._latest = await asyncio.to_thread(self._look)
            await asyncio.sleep(self._every)

    def _look(self) -> Check:
        try:
            found = check_topics(self._kafka)
        except (PreconditionError, KafkaException) as error:
            return Check(False, str(error))
        return Check(not found, "; ".join(map(str, found)))
