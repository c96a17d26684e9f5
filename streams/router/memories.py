"""The memory of every assigned partition, made from the log when it is first needed.

A memory belongs to one assignment of its partition: in another, records between may have been routed elsewhere. It is
also made anew when a rule set comes into force that looks back further than it was made for.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Final

import structlog
from confluent_kafka import KafkaException

from infra.runtime.telemetry import RECALL_SECONDS, REMEMBERED
from streams.router.agents import Arrival
from streams.router.book import RuleBook
from streams.router.frontier import TP, Frontier
from streams.router.past import Past, Stretch
from streams.router.routing import Router
from streams.router.steps.memory import Memory, Reach

#: How long a broker that did not answer is left alone.
_RETRY_SECONDS: Final = 1.0

log = structlog.get_logger("hubbub.router")


class Memories:
    """Of one input topic. Used from the loop; only the look back runs in a thread, while nothing is routed."""

    def __init__(self, book: RuleBook, frontier: Frontier, router: Router, past: Past) -> None:
        self._book = book
        self._frontier = frontier
        self._router = router
        self._past = past
        self._memories: dict[TP, tuple[int, Memory]] = {}

    async def of(self, arrival: Arrival) -> Memory | None:
        """What is to be known before this record is routed; None while no rule counts. Waits for the broker."""
        reach = self._book.reach(arrival.appended_ms)
        if not reach.counters:
            self._memories.pop(arrival.tp, None)
            return None
        known = self._memories.get(arrival.tp)
        if known is None or known[0] != arrival.generation or not known[1].reach.covers(reach):
            await self._recall(arrival, reach)
            known = self._memories[arrival.tp]
        return known[1]

    def observe(self) -> None:
        """Tell the metrics how much is remembered, and forget what is not ours any more."""
        for tp, (generation, memory) in list(self._memories.items()):
            if self._frontier.generation(tp) != generation:
                del self._memories[tp]
            REMEMBERED.labels(tp[1]).set(len(memory) if tp in self._memories else 0)

    async def _recall(self, arrival: Arrival, reach: Reach) -> None:
        """Make the memory of this partition, and with it those of all others that lack theirs."""
        began = time.monotonic()
        topic = arrival.tp[0]
        stretches = {arrival.tp[1]: self._stretch(arrival.offset, reach, arrival.appended_ms)}
        generations = {arrival.tp[1]: arrival.generation}
        for tp in self._frontier:
            known, until = self._memories.get(tp), self._frontier.next_offset(tp)
            generation = self._frontier.generation(tp)
            if tp[0] != topic or tp == arrival.tp or until is None:
                continue
            if known is None or known[0] != generation or not known[1].reach.covers(reach):
                stretches[tp[1]] = self._stretch(until, reach, arrival.appended_ms)
                generations[tp[1]] = generation
        while True:
            try:
                made = await asyncio.to_thread(self._read, stretches, reach)
                break
            except (KafkaException, TimeoutError) as error:
                log.warning("router.recall_failed", error=type(error).__name__, reason=str(error)[:200])
                await asyncio.sleep(_RETRY_SECONDS)
        for partition, memory in made.items():
            self._memories[(topic, partition)] = (generations[partition], memory)
        took = time.monotonic() - began
        RECALL_SECONDS.observe(took)
        remembered = sum(map(len, made.values()))
        log.info("router.recalled", partitions=len(made), messages=remembered, seconds=round(took, 2))

    def _stretch(self, until: int, reach: Reach, at_ms: int) -> Stretch:
        return Stretch(until=until, horizon_ms=reach.horizon_seconds * 1_000, not_before_ms=at_ms)

    def _read(self, stretches: Mapping[int, Stretch], reach: Reach) -> dict[int, Memory]:
        memories = {partition: Memory(reach) for partition in stretches}
        for record in self._past.read(stretches):
            self._router.remember(record, memories[record.partition])
        return memories
