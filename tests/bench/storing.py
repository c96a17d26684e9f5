"""S3: the history writer with a backlog, beside bare batches from memory and what the driver offers for many rows."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from itertools import count, groupby
from operator import itemgetter
from typing import Any, Final

from cassandra.concurrent import execute_concurrent, execute_concurrent_with_args
from cassandra.query import BatchStatement, BatchType

from infra.contracts import codec
from infra.contracts.events import Event, to_ms
from infra.contracts.placement import bucket, create_write_time, sent_at
from infra.contracts.tables import CREATE_MESSAGE
from infra.contracts.topics import EVENTS
from infra.runtime.cassandra import connect
from infra.runtime.settings import Cassandra
from streams.history.batches import MAX_ROWS
from tests.bench.chat import stamped
from tests.bench.contest import Bar, Contender, Contest, Figures
from tests.bench.place import Place
from tests.bench.workers import Stopwatch, Worker, cpu_seconds, processes
from tests.integration.streams.running import wait_until
from tests.integration.streams.writing import HistoryProcess, history, publish

EVENTS_A_RUN: Final = 40_000
#: Of a peer that waits for each row.
_FEW: Final = 4_000
CHANNELS: Final = (100, 10_000)
_IN_FLIGHT: Final = 32
_CONCURRENCY: Final = 100
_SECONDS: Final = 120.0
_OURS, _AGAIN = "hubbub", "hubbub again"
_BATCHES: Final = "bare batches of a partition"
_CONCURRENT: Final = "execute_concurrent_with_args"
_EACH: Final = "execute for each"
_ROWS: Final = "hubbub_history_rows_total"
_MESSAGES: Final = 'table="messages"'

#: The values of a message's row, and the partition it lies in.
Bound = tuple[tuple[str, str, int], tuple[Any, ...]]


@contextmanager
def contests(place: Place) -> Iterator[list[Contest]]:
    """One for each number of channels."""
    seeds = count()
    with ExitStack() as stack:
        worker = stack.enter_context(closing(Worker()))
        process = stack.enter_context(history(place.kafka, place.cassandra, place.folder / "history.log"))

        def prepared(total: int, channels: int) -> list[Event]:
            return stamped(place.scaled(total), seed=next(seeds), channels=channels)

        def bare(function: Callable[[Cassandra, list[Bound]], Figures], total: int, channels: int) -> Figures:
            figures: Figures = worker.call(function, place.cassandra, list(map(row, prepared(total, channels))))
            return figures

        def ours(channels: int) -> Figures:
            return _drain(process, prepared(EVENTS_A_RUN, channels))

        def contest(channels: int) -> Contest:
            peer = {_BATCHES: _batches, _CONCURRENT: _concurrent, _EACH: _each}
            against = partial(Bar, figure="per_second", of=_OURS)
            return Contest(
                title=f"S3 history, {channels:,} channels",
                contenders=(
                    *(
                        Contender(
                            name=name,
                            kind="limit" if name == _BATCHES else "peer",
                            run=partial(bare, function, _FEW if name == _EACH else EVENTS_A_RUN, channels),
                        )
                        for name, function in peer.items()
                    ),
                    Contender(name=_OURS, kind="ours", run=partial(ours, channels)),
                    Contender(name=_AGAIN, kind="ours", run=partial(ours, channels)),
                ),
                bars=(against(against=_BATCHES, least=0.7), against(against=_CONCURRENT, least=6.0)),
            )

        yield [contest(channels) for channels in CHANNELS]


def _drain(process: HistoryProcess, prepared: list[Event]) -> Figures:
    """From where it may go on to where Cassandra confirmed the last row."""
    before = process.metric(_ROWS, _MESSAGES)
    paused = processes(process.pid)
    for one in paused:
        one.suspend()
    try:
        publish(process.kafka, prepared, EVENTS)
        cpu = cpu_seconds(process.pid)
    finally:
        for one in paused:
            one.resume()
    with Stopwatch() as took:
        wait_until(lambda: process.metric(_ROWS, _MESSAGES) - before >= len(prepared), _SECONDS)
    spent = cpu_seconds(process.pid) - cpu
    process.wait_written()
    return {"per_second": len(prepared) / took.seconds, "per_cpu_second": len(prepared) / spent}


def row(event: Event) -> Bound:
    """What the writer stores of a message, made beforehand."""
    assert event.tenant is not None
    assert event.received_at is not None
    moment = sent_at(event)
    place = (event.tenant, event.channel_id or "", bucket(moment))
    envelope = codec.encode(event).decode()
    return place, (create_write_time(event.received_at), envelope, "ingest/0/0/0", "", *place, to_ms(moment), event.id)


def _batches(cassandra: Cassandra, rows: list[Bound]) -> Figures:
    """Unlogged batches, each of one partition, so many under way at a time."""
    with closing(connect(cassandra)) as database:
        prepared = database.prepared(CREATE_MESSAGE)
        batches = []
        for _, group in groupby(sorted(rows, key=itemgetter(0)), key=itemgetter(0)):
            of_one = [prepared.bind(values) for _, values in group]
            for start in range(0, len(of_one), MAX_ROWS):
                batch = BatchStatement(BatchType.UNLOGGED)
                for bound in of_one[start : start + MAX_ROWS]:
                    batch.add(bound)
                batches.append(batch)
        with Stopwatch() as took:
            execute_concurrent(
                database.session, [(batch, ()) for batch in batches], concurrency=_IN_FLIGHT, raise_on_first_error=True
            )
        return _figures(sum(len(batch) for batch in batches), took)


def _concurrent(cassandra: Cassandra, rows: list[Bound]) -> Figures:
    """As the driver's documentation shows it."""
    with closing(connect(cassandra)) as database:
        prepared = database.prepared(CREATE_MESSAGE)
        values = [values for _, values in rows]
        with Stopwatch() as took:
            results = execute_concurrent_with_args(database.session, prepared, values, concurrency=_CONCURRENCY)
        return _figures(len(results), took)


def _each(cassandra: Cassandra, rows: list[Bound]) -> Figures:
    with closing(connect(cassandra)) as database:
        prepared = database.prepared(CREATE_MESSAGE)
        with Stopwatch() as took:
            for _, values in rows:
                database.session.execute(prepared, values)
        return _figures(len(rows), took)


def _figures(total: int, took: Stopwatch) -> Figures:
    return {"per_second": total / took.seconds, "per_cpu_second": total / took.cpu_seconds}
