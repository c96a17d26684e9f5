"""S7: all of Hubbub on one machine, as `hubbub up` runs it: what it sustains, and how soon an event is seen."""

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from itertools import count
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import uvloop

from infra.contracts.topics import EVENTS
from tests.bench.chat import TENANT, bodies, events
from tests.bench.contest import Bar, Contender, Contest, Figures
from tests.bench.open_loop import Http, open_loop
from tests.bench.place import Place
from tests.bench.records import check, counted, ends
from tests.bench.workers import Stopwatch, Worker
from tests.faults.stack import Stack
from tests.system.latency import Probe

SUSTAINED: Final = 5_000
HALF: Final = 2_500
CALM: Final = 500
_BATCH: Final = 50
_SECONDS: Final = 30.0
_SETTLE_SECONDS: Final = 300.0
_OURS: Final = "hubbub"


@contextmanager
def contests(place: Place) -> Iterator[list[Contest]]:
    """What is sustained; latencies at half of it; metrics at a calm rate."""
    place.clear()
    seeds = count()
    with ExitStack() as stack:
        load = stack.enter_context(closing(Worker()))
        hubbub = _plain(Stack(place.folder / "whole"))
        stack.enter_context(hubbub.running())
        key = hubbub.tenant(TENANT)
        seconds = _SECONDS * place.scale

        def sustained() -> Figures:
            return _sustain(hubbub, load, key, SUSTAINED, seconds, next(seeds))

        def latencies(rate: int, names: tuple[str, ...]) -> Figures:
            return _latencies(hubbub, load, key, rate, seconds, next(seeds), names)

        def contest(rate: int, bars: dict[str, float]) -> Contest:
            return Contest(
                title=f"S7 how soon an event is seen at {rate:,} events a second",
                contenders=(Contender(name=_OURS, kind="ours", run=partial(latencies, rate, tuple(bars))),),
                bars=tuple(Bar(figure=name, of=_OURS, most=most) for name, most in bars.items()),
            )

        yield [
            Contest(
                title=f"S7 all at once, {SUSTAINED:,} events a second for {seconds:.0f} s",
                contenders=(Contender(name=_OURS, kind="ours", run=sustained),),
                bars=(
                    Bar(figure="per_second", of=_OURS, least=0.99 * SUSTAINED),
                    Bar(figure="behind_seconds", of=_OURS, most=5.0),
                ),
            ),
            contest(HALF, {"live_p50_ms": 15.0, "live_p99_ms": 75.0, "history_p99_ms": 200.0}),
            contest(CALM, {"metric_p50_ms": 1_200.0, "metric_p99_ms": 3_000.0}),
        ]


def _plain(hubbub: Stack) -> Stack:
    """As `hubbub up` runs it, without what makes it easy to hurt."""
    for name in ("HUBBUB_FAULTS", "HUBBUB_ARCHIVE_COMMIT_SECONDS", "PYTHONPATH"):
        del hubbub.environment[name]
    if path := os.environ.get("PYTHONPATH"):
        hubbub.environment["PYTHONPATH"] = path
    return hubbub


def _sustain(hubbub: Stack, load: Worker, key: str, rate: int, seconds: float, seed: int) -> Figures:
    """Send at this rate, then wait until every role has caught up. Raises `Lost` unless all came through once."""
    before = ends(hubbub.kafka, EVENTS)
    total = int(rate * seconds) // _BATCH * _BATCH
    took = load.call(_send, hubbub.ingest_url, key, rate, seconds, seed)
    with Stopwatch() as waited:
        hubbub.settle(_SETTLE_SECONDS, times=1)
    # The canary's events stand among ours.
    check(total, counted(hubbub.kafka, EVENTS, before, TENANT))
    return {"per_second": total / took, "behind_seconds": waited.seconds}


def _latencies(
    hubbub: Stack, load: Worker, key: str, rate: int, seconds: float, seed: int, names: tuple[str, ...]
) -> Figures:
    """What probes see while others send at this rate."""
    status: dict[str, Any] = {
        "keys": {"read": key, "write": key},
        "ingest": {"url": hubbub.ingest_url},
        "api": {"url": hubbub.api_url},
    }
    sending = threading.Thread(target=load.call, args=(_send, hubbub.ingest_url, key, rate, seconds + 5, seed))
    sending.start()
    probe = Probe(status, seconds)
    asyncio.run(probe.run())
    sending.join()
    hubbub.settle(_SETTLE_SECONDS, times=1)
    found = probe.figures()
    assert all(figures["seen"] == figures["sent"] for figures in found.values()), found
    return {name: found[name.split("_", 1)[0]][name.split("_", 1)[1]] for name in names}


def _send(url: str, key: str, rate: int, seconds: float, seed: int) -> float:
    """Batches at their moments. Returns the seconds until the last was acknowledged."""
    total = int(rate * seconds) // _BATCH * _BATCH
    ready = list(bodies(events(total, seed=seed), _BATCH))
    port = urlsplit(url).port
    assert port is not None

    async def run() -> float:
        http = Http(port, f"Authorization: Bearer {key}\r\n")

        async def post(number: int) -> None:
            reply = msgspec.json.decode(await http.post("/v1/events", ready[number]))
            assert reply["accepted"] == _BATCH, reply

        with Stopwatch() as took:
            await open_loop(rate / _BATCH, seconds, post)
        return took.seconds

    return uvloop.run(run())
