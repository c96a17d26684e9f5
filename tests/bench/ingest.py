"""S1: ingest, beside a bare produce loop and beside FastAPI with aiokafka, by events in a request."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Final

import httpx
import msgspec
from confluent_kafka import KafkaError, Message, Producer

from infra.contracts import placement
from infra.contracts.control import Limits, Scope, Tenant
from infra.contracts.events import Event
from infra.contracts.topics import INGEST, Topic
from infra.runtime.control import publish
from infra.runtime.kafka import apply_topics, producer_config
from infra.runtime.settings import Kafka
from tests.bench.chat import bodies, events
from tests.bench.contest import Bar, Contender, Contest, Figures
from tests.bench.http_load import post
from tests.bench.place import Place
from tests.bench.records import Lost, check, counted, ends
from tests.bench.workers import Stopwatch, Worker, cpu_seconds
from tests.integration.ingest.serving import Guest, free_port, serving, wait_until

_START_SECONDS: Final = 20.0
#: Events in a request, events in a run, and connections.
SIZES: Final = ((1, 10_000, 64), (10, 30_000, 32), (100, 60_000, 8), (500, 60_000, 4))
_OURS: Final = "hubbub"
#: The same once more: how far two runs of one thing are apart.
_AGAIN: Final = "hubbub again"
_LOOP: Final = "produce loop"
_WAITING: Final = "FastAPI, aiokafka, waiting"
_FORGETTING: Final = "FastAPI, aiokafka, forgetting"
#: Where the loop and the peers send to, one event a record.
_PLAIN: Final = Topic(
    name="bench-plain",
    record="an event",
    key="its channel",
    retention_ms=INGEST.retention_ms,
    timestamp_type="CreateTime",
)
_UNLIMITED: Final = Limits(tenant_rate=10_000_000, user_rate=10_000_000, channel_rate=10_000_000)
_PATH: Final = "/v1/events"


@dataclass(frozen=True, slots=True)
class _Server:
    """Something that takes events over HTTP and puts them into a topic."""

    port: int
    pid: int
    topic: Topic
    headers: dict[str, str] = field(default_factory=dict)


@contextmanager
def contests(place: Place) -> Iterator[list[Contest]]:
    """One for each size of request."""
    apply_topics(place.kafka, [_PLAIN])
    with ExitStack() as stack:
        load, loop = (stack.enter_context(closing(Worker())) for _ in range(2))
        process = stack.enter_context(serving(place.kafka, place.folder / "ingest.log"))
        guest = Guest(ingest=process)
        guest.move_in()
        publish(place.kafka, [Tenant(id=guest.tenant, limits=_UNLIMITED)])
        assert process.process is not None
        key = {"Authorization": f"Bearer {guest.keys[Scope.WRITE]}"}
        ours = _Server(process.port, process.process.pid, INGEST, key)
        waiting, forgetting = (stack.enter_context(_plain(place, *how)) for how in ((), ("--forget",)))
        seeds = count()

        def contest(size: int, total: int, connections: int) -> Contest:
            total = place.scaled(total)

            def sent(server: _Server) -> Callable[[], Figures]:
                return lambda: _send(place.kafka, load, server, events(total, seed=next(seeds)), size, connections)

            def looped() -> Figures:
                prepared = events(total, seed=next(seeds))
                before = ends(place.kafka, _PLAIN)
                figures: Figures = loop.call(_produce, place.kafka, prepared)
                check(total, counted(place.kafka, _PLAIN, before))
                return figures

            against = partial(Bar, figure="per_second", of=_OURS)
            bars = [against(against=_WAITING, least=5.0), against(against=_FORGETTING, least=0.9)]
            if size == SIZES[-1][0]:
                bars.insert(0, against(against=_LOOP, least=0.8))
            return Contest(
                title=f"S1 ingest, {size} in a request",
                contenders=(
                    Contender(name=_LOOP, kind="limit", run=looped),
                    Contender(name=_WAITING, kind="peer", run=sent(waiting)),
                    Contender(name=_FORGETTING, kind="peer", run=sent(forgetting)),
                    Contender(name=_OURS, kind="ours", run=sent(ours)),
                    Contender(name=_AGAIN, kind="ours", run=sent(ours)),
                ),
                bars=tuple(bars),
            )

        yield [contest(*one) for one in SIZES]


def _send(kafka: Kafka, load: Worker, server: _Server, prepared: list[bytes], size: int, connections: int) -> Figures:
    """Post them all. Raises `Lost` unless each is answered 2xx and stands in the topic once, now or soon after."""
    requests = list(bodies(prepared, size))
    before, cpu = ends(kafka, server.topic), cpu_seconds(server.pid)
    headers = {"Content-Type": "application/json", **server.headers}
    seconds, statuses = load.call(post, server.port, _PATH, headers, requests, connections)
    spent = cpu_seconds(server.pid) - cpu
    if statuses != {200: len(requests)}:
        raise Lost(f"replies by status: {dict(statuses)}")
    wait_until(lambda: counted(kafka, server.topic, before) >= len(prepared), _START_SECONDS)
    check(len(prepared), counted(kafka, server.topic, before))
    return {"per_second": len(prepared) / seconds, "per_cpu_second": len(prepared) / spent}


def _produce(kafka: Kafka, prepared: list[bytes]) -> Figures:
    """The loop that a client library is shown with: each event a record, keyed by its channel."""
    producer = Producer(producer_config(kafka, "bench"))
    topic = kafka.topic(_PLAIN.name)
    keyed = [(placement.key("bench", msgspec.json.decode(event, type=Event)), event) for event in prepared]
    failed: list[str] = []

    def report(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failed.append(error.str())

    with Stopwatch() as took:
        for key, event in keyed:
            while True:
                try:
                    producer.produce(topic, event, key=key, on_delivery=report)
                    break
                except BufferError:
                    producer.poll(0.01)
            producer.poll(0)
        producer.flush()
    if failed:
        raise Lost(failed[0])
    return {"per_second": len(prepared) / took.seconds, "per_cpu_second": len(prepared) / took.cpu_seconds}


@contextmanager
def _plain(place: Place, *how: str) -> Iterator[_Server]:
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.peers.plain_ingest", str(port), place.kafka.bootstrap]
    with (place.folder / f"plain-ingest-{port}.log").open("ab") as log:
        process = subprocess.Popen([*command, place.kafka.topic(_PLAIN.name), *how], stdout=log, stderr=log)
    try:
        wait_until(lambda: _answers(port), _START_SECONDS)
        yield _Server(port, process.pid, _PLAIN)
    finally:
        process.terminate()
        process.wait(10)


def _answers(port: int) -> bool:
    try:
        return httpx.post(f"http://127.0.0.1:{port}{_PATH}", json={}, timeout=1).status_code == 422
    except httpx.HTTPError:
        return False
