"""S5: events to many WebSocket clients, beside `websockets.broadcast` of a ready frame and Starlette's `send_json`."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Final

import msgspec
import psutil
import uvloop
import websockets
from confluent_kafka import Producer

from infra.contracts import codec, headers, placement
from infra.contracts.events import Event
from infra.contracts.topics import EVENTS
from infra.runtime.kafka import producer_config
from infra.runtime.settings import Kafka
from tests.bench.chat import TENANT, stamped
from tests.bench.contest import Bar, Contender, Contest, Figures
from tests.bench.listeners import Crowd, connect
from tests.bench.place import Place
from tests.bench.records import Lost
from tests.bench.served import Served, served
from tests.bench.workers import Worker, cpu_seconds
from tests.integration.ingest.serving import free_port, wait_until

#: Channels, clients in each, and events in each.
SHAPES: Final = ((1, 1_000, 100), (100, 10, 100), (1_000, 1, 50))
_IDLE: Final = 1_000
_START_SECONDS: Final = 20.0
_SECONDS: Final = 60.0
#: In each event once, whoever encodes it.
_MARK: Final = b"message.sent"
_OURS, _AGAIN, _STALLED = "hubbub", "hubbub again", "hubbub, one client stalled"
_BROADCAST, _NAIVE = "websockets.broadcast", "Starlette, send_json"


@dataclass(frozen=True, slots=True)
class _Plain:
    """A peer: clients name their channel, and all events come by one feed."""

    port: int
    pid: int


@contextmanager
def contests(place: Place) -> Iterator[list[Contest]]:
    """One for each shape of audience, and one for what a connection takes."""
    seeds = count()
    with ExitStack() as stack:
        load = stack.enter_context(closing(Worker()))
        api = stack.enter_context(served(place))
        bare, naive = (stack.enter_context(_plain(place, how)) for how in ("broadcast", "send_json"))

        def contest(channels: int, each: int, events: int) -> Contest:
            def run(target: Served | _Plain, *, stalled: bool = False) -> Callable[[], Figures]:
                def once() -> Figures:
                    prepared = stamped(channels * events, seed=next(seeds))
                    for number, event in enumerate(prepared):
                        event.channel_id = f"channel-{number % channels}"
                    cpu = cpu_seconds(target.pid)
                    seconds = load.call(_hear, place.kafka, target, prepared, channels, each, stalled)
                    delivered = len(prepared) * each
                    spent = cpu_seconds(target.pid) - cpu
                    return {"per_second": delivered / seconds, "per_cpu_second": delivered / spent}

                return once

            against = partial(Bar, figure="per_second", of=_OURS)
            return Contest(
                title=f"S5 live, {channels:,} channels of {each:,} clients, deliveries",
                contenders=(
                    Contender(name=_BROADCAST, kind="limit", run=run(bare)),
                    Contender(name=_NAIVE, kind="peer", run=run(naive)),
                    Contender(name=_OURS, kind="ours", run=run(api)),
                    Contender(name=_AGAIN, kind="ours", run=run(api)),
                    Contender(name=_STALLED, kind="ours", run=run(api, stalled=True)),
                ),
                bars=(
                    against(against=_BROADCAST, least=0.7),
                    against(against=_NAIVE, least=4.0),
                    Bar(figure="per_second", of=_STALLED, against=_AGAIN, least=0.95),
                ),
            )

        memory = Contest(
            title=f"S5 live, {_IDLE:,} idle connections",
            contenders=(Contender(name=_OURS, kind="ours", run=lambda: _idle(place, load)),),
            bars=(Bar(figure="kib_per_connection", of=_OURS, most=30.0),),
        )
        yield [*(contest(*shape) for shape in SHAPES), memory]


def _hear(
    kafka: Kafka, target: Served | _Plain, prepared: list[Event], channels: int, each: int, stalled: bool
) -> float:
    """Seconds from the first event's sending until each client has all of its channel. Raises `Lost`."""
    return uvloop.run(_listen(kafka, target, prepared, channels, each, stalled))


async def _listen(
    kafka: Kafka, target: Served | _Plain, prepared: list[Event], channels: int, each: int, stalled: bool
) -> float:
    crowd = Crowd()
    sayings = [_sayings(target, f"channel-{n}") for n in range(channels) for _ in range(each)]
    path, ready = ("/v1/live/ws", b'"subscribed"') if isinstance(target, Served) else ("/", b"ready")
    transports = await connect(target.port, path, crowd, sayings, _MARK, ready)
    if stalled:
        (asleep,) = await connect(target.port, path, Crowd(), sayings[:1], _MARK, ready)
        asleep.pause_reading()
        transports.append(asleep)
    everything = crowd.expect(len(prepared) * each)
    began = time.perf_counter()
    if isinstance(target, Served):
        await asyncio.to_thread(_produce, kafka, prepared)
    else:
        texts = [{"channel": event.channel_id, "text": codec.encode(event).decode()} for event in prepared]
        async with websockets.connect(f"ws://127.0.0.1:{target.port}/feed", max_size=None, compression=None) as feed:
            began = time.perf_counter()
            await feed.send(msgspec.json.encode(texts).decode())
            await asyncio.wait_for(asyncio.shield(everything), _SECONDS)
    ended = await asyncio.wait_for(everything, _SECONDS)
    if crowd.gone or crowd.received != len(prepared) * each:
        raise Lost(f"{crowd.gone} clients went, {crowd.received:,} of {len(prepared) * each:,} deliveries came")
    for transport in transports:
        transport.close()
    return ended - began


def _sayings(target: Served | _Plain, channel: str) -> Sequence[str]:
    if isinstance(target, _Plain):
        return (channel,)
    auth = msgspec.json.encode({"op": "auth", "key": target.key}).decode()
    return auth, msgspec.json.encode({"op": "subscribe", "channels": [channel]}).decode()


def _produce(kafka: Kafka, prepared: list[Event]) -> None:
    """As the router does: each event a record with where it came from."""
    producer = Producer(producer_config(kafka, "bench"))
    topic, source = kafka.topic(EVENTS.name), time.time_ns()
    for number, event in enumerate(prepared):
        src: list[tuple[str, str | bytes | None]] = [(headers.SRC, b"ingest/0/%d/0" % (source + number))]
        producer.produce(topic, codec.encode(event), key=placement.key(TENANT, event), headers=src)
        producer.poll(0)
    producer.flush()


def _idle(place: Place, load: Worker) -> Figures:
    """What connections take of a process that has served none before."""
    with served(place) as api:
        before = psutil.Process(api.pid).memory_info().rss
        after = load.call(_sit, api)
    return {"kib_per_connection": (after - before) / 1024 / _IDLE}


def _sit(api: Served) -> int:
    async def sit() -> int:
        sayings = [_sayings(api, "channel-0")] * _IDLE
        transports = await connect(api.port, "/v1/live/ws", Crowd(), sayings, _MARK, b'"subscribed"')
        after = psutil.Process(api.pid).memory_info().rss
        for transport in transports:
            transport.close()
        return after

    return uvloop.run(sit())


@contextmanager
def _plain(place: Place, how: str) -> Iterator[_Plain]:
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.peers.plain_fanout", str(port), how]
    with (place.folder / f"plain-fanout-{how}.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until(lambda: _is_open(port), _START_SECONDS)
        yield _Plain(port, process.pid)
    finally:
        process.terminate()
        process.wait(10)


def _is_open(port: int) -> bool:
    async def knock() -> None:
        async with websockets.connect(f"ws://127.0.0.1:{port}/feed"):
            pass

    try:
        asyncio.run(knock())
    except OSError:
        return False
    return True
