"""Heartbeat records: they keep event time moving where nobody speaks, and never past an event that still waits."""

from collections.abc import Callable, Iterable
from datetime import datetime

from infra.contracts import codec
from infra.contracts import headers as h
from infra.contracts.events import HEARTBEAT, Event, to_ms, truncate_ms
from infra.contracts.topics import EVENTS, INGEST
from infra.runtime.kafka import DeliveringProducer
from infra.runtime.settings import Kafka
from streams.router.agents import Standing
from streams.router.frontier import TP


def heartbeat_time(standings: Iterable[Standing], settled_at: Callable[[TP], datetime | None]) -> datetime | None:
    """The moment up to which every partition given is done; None while that is not known.

    A partition read to its end is done up to when the broker told that end, not up to now: a worker that was stopped
    for an hour wakes with an old answer. One that is behind is done up to the append time of its last record done.
    """
    times = []
    for standing in standings:
        moment = standing.known_at if standing.done >= standing.end else settled_at(standing.tp)
        if moment is None:
            return None
        times.append(moment)
    return min(times, default=None)


def heartbeat(partition: int, moment: datetime) -> Event:
    """One heartbeat as an event that any reader can decode."""
    at = truncate_ms(moment)
    return Event(id=f"heartbeat-{partition}-{to_ms(at)}", type=HEARTBEAT, time=at, user_id="hubbub", tenant="")


def beat(
    kafka: Kafka,
    producer: DeliveringProducer,
    standings: Iterable[Standing],
    settled_at: Callable[[TP], datetime | None],
) -> None:
    """Write one record to the partition of `events` that each assigned partition of `ingest` feeds."""
    name = kafka.topic(INGEST.name)
    live = [standing for standing in standings if standing.tp[0] == name]
    moment = heartbeat_time(live, settled_at)
    if moment is None:
        return
    for standing in live:
        partition = standing.tp[1]
        try:
            producer.produce(
                kafka.topic(EVENTS.name),
                codec.encode(heartbeat(partition, moment)),
                partition=partition,
                headers=[(h.KIND, h.HEARTBEAT)],
            )
        except BufferError:
            return  # events fill the queue: they move event time themselves
