"""Routes records and settles them: an input record counts as done once every record made from it is delivered."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from infra.contracts.events import from_ms
from infra.runtime.clock import Clock
from infra.runtime.telemetry import ROUTED, ROUTER_IN_FLIGHT, RULES_WAITS, UNEXPECTED, VERDICTS
from streams.router.agents import Arrival
from streams.router.deliveries import Lane
from streams.router.frontier import TP, Frontier
from streams.router.fuse import Fuse
from streams.router.memories import Memories
from streams.router.routing import Record, Routed, Router

#: Elements routed before other tasks get a turn.
_TURN: Final = 500
#: A record is routed only by one whose rules are as fresh as this: less than a set's lead, and what brokers' clocks
#: may differ by besides.
FRESH_SECONDS: Final = 0.5
_LOOK_SECONDS: Final = 0.02


class FuseBlown(Exception):
    """Too much failed by our own fault."""


@dataclass(slots=True)
class _Stretch:
    """Consecutive records of one partition in one batch."""

    tp: TP
    generation: int
    first: int
    end: int
    appended_ms: int


class Pipeline:
    """The handler of the agents. Runs on the loop."""

    def __init__(
        self,
        routers: Mapping[str, Router],
        lanes: Mapping[str, Lane],
        frontier: Frontier,
        fuse: Fuse,
        clock: Clock,
        memories: Mapping[str, Memories],
        rules_current_at: Callable[[], float],
    ) -> None:
        self._routers = routers
        self._lanes = lanes
        self._frontier = frontier
        self._fuse = fuse
        self._clock = clock
        self._memories = memories
        self._rules_current_at = rules_current_at
        self._stopping = False
        self._settled_at: dict[TP, datetime] = {}
        #: When a record was last settled, by the monotonic clock.
        self.last_settled = clock.monotonic()

    def settled_at(self, tp: TP) -> datetime | None:
        """The append time of the last record of this partition that is done, so far as this process knows."""
        return self._settled_at.get(tp)

    @property
    def in_flight(self) -> int:
        """Input records under way."""
        return sum(lane.in_flight for lane in self._lanes.values())

    def stop_taking(self) -> None:
        """Leave alone whatever has not been taken yet."""
        self._stopping = True

    async def drain(self) -> None:
        """Return once nothing is under way. Raises `Undelivered`."""
        for lane in self._lanes.values():
            await lane.drain()

    async def handle(self, source: str, arrivals: Iterator[Arrival]) -> None:
        """Route these records and hand their outputs to Kafka; return when the next ones may come."""
        lane, router, memories = self._lanes[source], self._routers[source], self._memories.get(source)
        await lane.wait_below_limit()
        stretches: list[_Stretch] = []
        batch = lane.batch(lambda: self._settle(stretches))
        since_turn = 0
        while not self._stopping and (arrival := next(arrivals, None)) is not None:
            if self._rules_age() > FRESH_SECONDS and not await self._rules_known():
                break
            memory = await memories.of(arrival) if memories is not None else None
            batch.cover()
            routed = router.route(
                Record(
                    topic=source,
                    partition=arrival.tp[1],
                    offset=arrival.offset,
                    appended_at=from_ms(arrival.appended_ms),
                    value=arrival.value,
                    headers=arrival.headers,
                ),
                memory,
            )
            self._count(routed)
            await batch.produce(routed.outputs)
            _extend(stretches, arrival)
            since_turn += routed.accepted
            if since_turn >= _TURN:
                since_turn = 0
                await asyncio.sleep(0)
        batch.close()
        ROUTER_IN_FLIGHT.set(self.in_flight)

    def _rules_age(self) -> float:
        return self._clock.monotonic() - self._rules_current_at()

    async def _rules_known(self) -> bool:
        """Wait until the rules that judge what is read now are certainly known; false when told to stop before."""
        RULES_WAITS.inc()
        while self._rules_age() > FRESH_SECONDS:
            if self._stopping:
                return False
            await asyncio.sleep(_LOOK_SECONDS)
        return True

    def _settle(self, stretches: list[_Stretch]) -> None:
        for stretch in stretches:
            self._frontier.settle(stretch.tp, stretch.generation, stretch.first, stretch.end)
            self._settled_at[stretch.tp] = from_ms(stretch.appended_ms)
        if stretches:
            self.last_settled = self._clock.monotonic()
        ROUTER_IN_FLIGHT.set(self.in_flight)

    def _count(self, routed: Routed) -> None:
        for (_, outcome), number in routed.tally.items():
            ROUTED.labels(outcome).inc(number)
        for rule, action in routed.verdicts:
            VERDICTS.labels(rule, action).inc()
        if routed.unexpected:
            UNEXPECTED.labels("router").inc(routed.unexpected)
        if self._fuse.count(routed.accepted, routed.unexpected):
            raise FuseBlown("too many elements failed by the router's own fault")


def _extend(stretches: list[_Stretch], arrival: Arrival) -> None:
    """Add the record to its partition's stretch in this batch, if it follows on."""
    for stretch in stretches:
        if stretch.tp == arrival.tp and stretch.generation == arrival.generation and stretch.end == arrival.previous:
            stretch.end, stretch.appended_ms = arrival.offset + 1, arrival.appended_ms
            return
    stretches.append(
        _Stretch(arrival.tp, arrival.generation, arrival.previous, arrival.offset + 1, arrival.appended_ms)
    )
