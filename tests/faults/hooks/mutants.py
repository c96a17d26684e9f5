"""The positive controls: each breaks one promise on purpose, and the oracle has to see it.

A mutant patches one role's code and dies at a point where what it broke must show: after its early acknowledgement and
before the work, or after the work and before the acknowledgement. Until the point is armed it works as before, so that
nothing but the kill makes the difference.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

Die = Callable[[str], None]


def early_ack(die_at: Die) -> None:
    """The router commits what it has read, then works: a kill in between loses it."""
    from streams.router import agents
    from streams.router.frontier import Frontier
    from streams.router.pipeline import Pipeline

    apps = []
    made, handle, committable = agents.RouterApp.__init__, Pipeline.handle, Frontier.committable

    def remember(self: Any, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        apps.append(self)

    def acknowledged(self: Any, tp: Any) -> int | None:
        return (self.next_offset if _is_armed("mutant.early_ack") else partial(committable, self))(tp)

    async def acknowledge_first(self: Any, source: str, arrivals: Any) -> None:
        taken = list(arrivals)
        if taken and _is_armed("mutant.early_ack"):
            await apps[0].consumer.commit()
            die_at("mutant.early_ack")
        await handle(self, source, iter(taken))

    agents.RouterApp.__init__ = remember  # type: ignore[method-assign]
    Frontier.committable = acknowledged  # type: ignore[method-assign]
    Pipeline.handle = acknowledge_first  # type: ignore[method-assign]


def raising(die_at: Die) -> None:
    """The router's handler raises, and the record counts as done: what Faust does with an agent that raises."""
    from streams.router.pipeline import Pipeline

    handle = Pipeline.handle

    async def give_up(self: Any, source: str, arrivals: Any) -> None:
        if _is_armed("mutant.raising"):
            for arrival in arrivals:
                self._frontier.settle(arrival.tp, arrival.generation, arrival.previous, arrival.offset + 1)
            _disarm("mutant.raising")
            return
        await handle(self, source, arrivals)

    Pipeline.handle = give_up  # type: ignore[method-assign]


def auto_commit(die_at: Die) -> None:
    """The history writer commits what it has read, whether or not Cassandra has it."""
    from streams.history.writer import Writer

    read = Writer._read

    def read_and_commit(self: Any) -> int:
        number = read(self)
        if number and _is_armed("mutant.auto_commit"):
            self._consumer.commit(offsets=self._consumer.position(self._consumer.assignment()), asynchronous=False)
            die_at("mutant.auto_commit")
        return number

    Writer._read = read_and_commit  # type: ignore[method-assign]


def fire_and_forget(die_at: Die) -> None:
    """Ingest answers before Kafka has the frame."""
    from ingest.framer import Framer

    def answer_first(self: Any, frame: Any) -> None:
        if self._open.get((frame.topic, frame.partition)) is not frame:
            return
        del self._open[frame.topic, frame.partition]
        envelopes = list(frame.envelopes)
        self._settle(frame, None)

        def produce() -> None:
            from infra.contracts import codec

            die_at("mutant.fire_and_forget")
            self._deliveries.send(frame.topic, codec.frame(envelopes), partition=frame.partition)

        # What the client was told has left by then.
        self._loop.call_later(0.2, produce)

    Framer.send = answer_first  # type: ignore[method-assign]


def rows_first(die_at: Die) -> None:
    """The archive commits rows before the offsets they reach, not with them."""
    from analytics.archive.table import Table

    append = Table.append

    def append_apart(self: Any, batches: Any, moves: Any, note: Any = None) -> None:
        if batches and _is_armed("mutant.rows_first"):
            append(self, batches, {}, note)
            die_at("mutant.rows_first")
            batches = []
        append(self, batches, moves, note)

    Table.append = append_apart  # type: ignore[method-assign]


def increment(die_at: Die) -> None:
    """Analytics adds what is new to what is stored, in place of storing the whole: a repeated batch counts twice."""
    from analytics import ladder
    from analytics.rollups import ABSENT, Values
    from analytics.writer import Writer
    from infra.contracts.windows import MINUTE

    climb, take = ladder.Ladder.climb, Writer.take
    before: dict[Any, tuple[int, ...]] = {}

    def add(self: Any, minutes: Any) -> Any:
        self._load(ladder.family(t, s, MINUTE, m) for t, s, m in minutes)
        summed = {}
        for key, values in minutes.items():
            tenant, scope, start = key
            stored = self._families[ladder.family(tenant, scope, MINUTE, start)].get(start, ABSENT).values
            new = [now - then for now, then in zip(values.counts, before.get(key, (0,) * 99), strict=False)]
            before[key] = values.counts
            counts = tuple(old + more for old, more in zip(stored.counts, new, strict=True))
            summed[key] = Values(counts, values.sketches)
        return climb(self, summed)

    def store_then_die(self: Any, rows: Any) -> None:
        rows = list(rows)
        take(self, rows)
        if rows:  # an empty batch, repeated, is counted twice without a trace
            die_at("mutant.increment")

    ladder.Ladder.climb = add  # type: ignore[method-assign]
    Writer.take = store_then_die  # type: ignore[method-assign]


def _is_armed(point: str) -> bool:
    return Path(os.environ["HUBBUB_FAULTS"], "armed", point).exists()


def _disarm(point: str) -> None:
    folder = Path(os.environ["HUBBUB_FAULTS"])
    (folder / "armed" / point).rename(folder / "fired" / point)
