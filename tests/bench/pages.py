"""S4: the newest page of a channel, beside the bare SELECT and a FastAPI list of pydantic models."""

import os
import statistics
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Final

import httpx
import msgspec
import uvloop
from cassandra.concurrent import execute_concurrent_with_args

from api.settings import Api
from infra.contracts.placement import bucket
from infra.contracts.tables import ADD_BUCKET, CREATE_MESSAGE, NEWEST
from infra.runtime.cassandra import connect
from infra.runtime.settings import Cassandra
from tests.bench.chat import TENANT, stamped
from tests.bench.contest import Bar, Contender, Contest, Figures
from tests.bench.open_loop import Http, closed_loop, open_loop
from tests.bench.place import Place
from tests.bench.served import Served, served
from tests.bench.storing import row
from tests.bench.workers import Worker, cpu_seconds
from tests.integration.ingest.serving import free_port, wait_until

#: Messages in each channel, and so many channels take turns, that hardly a page is still kept when it is asked for.
DEPTH: Final = 100
CHANNELS: Final = 500
LIMIT: Final = 50
_SECONDS: Final = 5.0
_CONCURRENCY: Final = 16
_READERS: Final = 100
_START_SECONDS: Final = 20.0
_MISSES: Final = 'hubbub_api_cache_total{result="miss"}'
_OURS, _AGAIN, _SELECT, _PLAIN = "hubbub", "hubbub again", "bare SELECT", "FastAPI, pydantic"

#: Asks for one page; is given its number.
Ask = Callable[[int], Awaitable[None]]


@contextmanager
def contests(place: Place) -> Iterator[list[Contest]]:
    """Latency at half of what we can do, how much that is, and what many readers of one channel cost."""
    _fill(place.cassandra)
    with ExitStack() as stack:
        load = stack.enter_context(closing(Worker()))
        api = stack.enter_context(served(place))
        plain = stack.enter_context(_plain(place))
        seconds = _SECONDS * place.scale
        most = float(load.call(_most, api, seconds))
        half = most / 2
        at_half = partial(load.call, _latency, half, seconds)
        against = partial(Bar, figure="p99_ms", of=_OURS)
        newest = Contest(
            title=f"S4 newest {LIMIT} of a channel, {half:,.0f} pages a second, half of our {most:,.0f}",
            contenders=(
                Contender(name=_SELECT, kind="limit", run=partial(at_half, place.cassandra)),
                Contender(name=_PLAIN, kind="peer", run=partial(at_half, plain)),
                Contender(name=_OURS, kind="ours", run=partial(at_half, api)),
                Contender(name=_AGAIN, kind="ours", run=partial(at_half, api)),
            ),
            bars=(against(against=_SELECT, most=1.5),),
        )
        hot = Contest(
            title=f"S4 {_READERS} readers of one channel",
            contenders=(Contender(name=_OURS, kind="ours", run=lambda: _hot(load, api, seconds)),),
            bars=(Bar(figure="queries_a_window", of=_OURS, most=1.0),),
        )
        yield [newest, hot]


def _fill(cassandra: Cassandra) -> None:
    with closing(connect(cassandra)) as database:
        events = stamped(CHANNELS * DEPTH, seed=0)
        for number, event in enumerate(events):
            event.channel_id = f"channel-{number % CHANNELS}"
        rows = [row(event)[1] for event in events]
        execute_concurrent_with_args(database.session, database.prepared(CREATE_MESSAGE), rows, concurrency=100)
        places = {values[4:7] for values in rows}
        execute_concurrent_with_args(database.session, database.prepared(ADD_BUCKET), places, concurrency=100)


def _asking(target: Served | Cassandra | int, stack: ExitStack) -> Ask:
    """How a page is asked for: through the driver, of our API, or of the plain one on a port."""
    this_bucket = bucket(datetime.now(UTC))
    if isinstance(target, Cassandra):
        database = stack.enter_context(closing(connect(target)))

        async def select(number: int) -> None:
            rows = await database.execute(NEWEST, (TENANT, f"channel-{number % CHANNELS}", this_bucket, LIMIT))
            assert len(rows) == LIMIT

        return select
    port, headers = (target.port, target.headers) if isinstance(target, Served) else (target, "")
    http = Http(port, headers)
    more = "" if isinstance(target, Served) else f"&bucket={this_bucket}"

    async def get(number: int) -> None:
        body = await http.get(f"/v1/channels/channel-{number % CHANNELS}/messages?limit={LIMIT}{more}")
        if not number % CHANNELS:
            _check(body)

    return get


def _check(body: bytes) -> None:
    found = msgspec.json.decode(body)
    assert len(found["messages"] if isinstance(found, dict) else found) == LIMIT


def _latency(rate: float, seconds: float, target: Served | Cassandra | int) -> Figures:
    with ExitStack() as stack:

        async def run() -> list[float]:
            return await open_loop(rate, seconds, _asking(target, stack))

        return percentiles(uvloop.run(run()))


def percentiles(took: list[float]) -> Figures:
    """p50 and p99 of seconds, in milliseconds."""
    cuts = statistics.quantiles(took, n=100, method="inclusive")
    return {"p50_ms": cuts[49] * 1_000, "p99_ms": cuts[98] * 1_000}


def _most(target: Served, seconds: float) -> float:
    with ExitStack() as stack:

        async def run() -> float:
            ask = _asking(target, stack)
            await closed_loop(seconds, _CONCURRENCY, ask)  # warm
            return await closed_loop(seconds, _CONCURRENCY, ask)

        return uvloop.run(run())


def _hot(load: Worker, api: Served, seconds: float) -> Figures:
    before, cpu = _queries(api), cpu_seconds(api.pid)
    took, pages = load.call(_readers, api, seconds)
    return {
        "per_second": pages / took,
        "per_cpu_second": pages / (cpu_seconds(api.pid) - cpu),
        "queries_a_window": (_queries(api) - before) / (took / Api().newest_seconds),
    }


def _readers(api: Served, seconds: float) -> tuple[float, float]:
    """Seconds, and how many pages so many readers got in them who all read the same channel."""
    http = Http(api.port, api.headers)

    async def same(_: int) -> None:
        await http.get(f"/v1/channels/channel-0/messages?limit={LIMIT}")

    return seconds, seconds * uvloop.run(closed_loop(seconds, _READERS, same))


def _queries(api: Served) -> float:
    """Pages read from Cassandra so far."""
    text = httpx.get(f"http://127.0.0.1:{api.port}/metrics", timeout=5).text
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(_MISSES))


@contextmanager
def _plain(place: Place) -> Iterator[int]:
    port = free_port()
    environment = {**os.environ, "HUBBUB_CASSANDRA_KEYSPACE": place.cassandra.keyspace}
    command = [sys.executable, "-m", "tests.bench.peers.plain_pages", str(port)]
    with (place.folder / "plain-pages.log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        wait_until(lambda: _is_up(port), _START_SECONDS)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def _is_up(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/openapi.json", timeout=1).status_code == 200
    except httpx.HTTPError:
        return False
