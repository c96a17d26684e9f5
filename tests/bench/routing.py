"""S2: decoding, filtering and routing a backlog, beside a bare consume and produce loop, Faust and Quix Streams."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

import msgspec
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from infra.contracts import codec, placement
from infra.contracts.events import Event
from infra.contracts.rules import EVERYONE, RuleSet
from infra.contracts.topics import EVENTS, INGEST, Topic
from infra.runtime.control import publish
from infra.runtime.kafka import apply_topics, consumer_config, producer_config
from infra.runtime.settings import Kafka
from tests.bench.chat import TENANT, stamped
from tests.bench.contest import Bar, Contender, Contest, Figures
from tests.bench.place import Place
from tests.bench.records import Ends, Lost, appended, check, counted, ends
from tests.bench.workers import Stopwatch, Worker, cpu_seconds, processes
from tests.integration.streams.running import framed, router, send, wait_until

EVENTS_A_RUN: Final = 60_000
#: Of a peer that takes a fraction of a thousand a second.
_FEW: Final = 6_000
_FRAME: Final = 500
_SECONDS: Final = 120.0
_OURS: Final = "hubbub"
_AGAIN: Final = "hubbub again"
_LOOP: Final = "consume, decode, produce"
_FAUST: Final = "Faust"
_TAKE: Final = "Faust, take(500)"
_QUIX: Final = "Quix Streams"


def _plain(name: str) -> Topic:
    return Topic(name=name, record="an event", key="its channel", retention_ms=INGEST.retention_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Process:
    """Something that takes what comes to one topic and puts it into another, and can be paused."""

    kafka: Kafka
    pid: int
    source: Topic
    target: Topic
    fill: Callable[[Kafka, Topic, list[Event]], None]

    def drain(self, prepared: list[Event]) -> Figures:
        """From where it may go on to where the last event stood in the target."""
        before = ends(self.kafka, self.target)
        paused = processes(self.pid)
        for process in paused:
            process.suspend()
        try:
            self.fill(self.kafka, self.source, prepared)
            cpu = cpu_seconds(self.pid)
        finally:
            began = time.time()
            for process in paused:
                process.resume()
        # Counting reads the topic; its end is looked at until there may be enough.
        wait_until(lambda: _grown(self.kafka, self.target, before) >= len(prepared), _SECONDS)
        wait_until(lambda: counted(self.kafka, self.target, before) >= len(prepared), _SECONDS)
        spent = cpu_seconds(self.pid) - cpu
        found, last = appended(self.kafka, self.target, before)
        check(len(prepared), found)
        return {"per_second": len(prepared) / (last - began), "per_cpu_second": len(prepared) / spent}


@contextmanager
def contests(place: Place) -> Iterator[list[Contest]]:
    """Without rules, and with those that come with Hubbub."""
    seeds = count()
    with ExitStack() as stack:
        loop = stack.enter_context(closing(Worker()))
        source, target = _plain("bench-loop-in"), _plain("bench-loop-out")
        apply_topics(place.kafka, [source, target])

        def looped() -> Figures:
            prepared = stamped(place.scaled(EVENTS_A_RUN), seed=next(seeds))
            since, before = ends(place.kafka, source), ends(place.kafka, target)
            fill_plain(place.kafka, source, prepared)
            figures: Figures = loop.call(_loop, place.kafka, source, target, since, len(prepared))
            check(len(prepared), appended(place.kafka, target, before)[0])
            return figures

        def run(process: _Process, total: int) -> Callable[[], Figures]:
            return lambda: process.drain(stamped(place.scaled(total), seed=next(seeds)))

        def contest(title: str, ours: _Process, peers: list[Contender], bars: list[Bar]) -> Contest:
            return Contest(
                title=title,
                contenders=(
                    Contender(name=_LOOP, kind="limit", run=looped),
                    *peers,
                    Contender(name=_OURS, kind="ours", run=run(ours, EVENTS_A_RUN)),
                    Contender(name=_AGAIN, kind="ours", run=run(ours, EVENTS_A_RUN)),
                ),
                bars=tuple(bars),
            )

        against = partial(Bar, figure="per_second", of=_OURS)
        faust, take = (stack.enter_context(_faust(place, *how)) for how in ((), ("--take",)))
        peers = [
            Contender(name=_FAUST, kind="peer", run=run(faust, _FEW)),
            Contender(name=_TAKE, kind="peer", run=run(take, _FEW)),
        ]
        bars = [against(against=_FAUST, least=20.0)]
        quix = stack.enter_context(_quix(place))
        if quix is not None:
            peers.append(Contender(name=_QUIX, kind="peer", run=run(quix, EVENTS_A_RUN)))
            bars.append(against(against=_QUIX, least=1.0))
        off, default = (stack.enter_context(_ours(place, rules=rules)) for rules in (False, True))
        yield [
            contest("S2 routing, rules off", off, peers, [against(against=_LOOP, least=0.8), *bars]),
            contest("S2 routing, default rules", default, [], [against(against=_LOOP, least=0.4)]),
        ]


def fill_plain(kafka: Kafka, topic: Topic, prepared: list[Event]) -> None:
    """One event a record, keyed by its channel."""
    producer = Producer(producer_config(kafka, "bench"))
    for event in prepared:
        producer.produce(kafka.topic(topic.name), codec.encode(event), key=placement.key(TENANT, event))
        producer.poll(0)
    producer.flush()


def fill_framed(kafka: Kafka, topic: Topic, prepared: list[Event]) -> None:
    """Frames, as ingest makes them of large requests."""
    send(kafka, framed(prepared, _FRAME), topic)


def _loop(kafka: Kafka, source: Topic, target: Topic, since: Ends, total: int) -> Figures:
    consumer = Consumer(consumer_config(kafka, "bench", kafka.group("bench-loop")))
    consumer.assign([TopicPartition(*place, offset) for place, offset in since.items()])
    producer = Producer(producer_config(kafka, "bench"))
    decoder = msgspec.json.Decoder(Event)
    name = kafka.topic(target.name)
    failed: list[str] = []

    def report(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failed.append(error.str())

    found = 0
    with Stopwatch() as took:
        while found < total:
            for message in consumer.consume(1_000, 0.1):
                value = message.value() or b""
                event = decoder.decode(value)
                producer.produce(name, value, key=placement.key(TENANT, event), on_delivery=report)
                found += 1
            producer.poll(0)
        producer.flush()
    consumer.close()
    if failed:
        raise Lost(failed[0])
    return {"per_second": total / took.seconds, "per_cpu_second": total / took.cpu_seconds}


@contextmanager
def _ours(place: Place, *, rules: bool) -> Iterator[_Process]:
    kafka = place.kafka.model_copy(update={"topic_prefix": f"{place.kafka.topic_prefix}rules-{rules}-"})
    apply_topics(kafka)
    if not rules:
        publish(kafka, [RuleSet(tenant=EVERYONE, version=1, rules=())])
    with (place.folder / f"router-{rules}.log").open("ab") as log, router(kafka, log) as worker:
        assert worker.process is not None
        yield _Process(kafka=kafka, pid=worker.process.pid, source=INGEST, target=EVENTS, fill=fill_framed)


@contextmanager
def _faust(place: Place, *how: str) -> Iterator[_Process]:
    name = "bench-faust" + "".join(how)
    source, target = _plain(f"{name}-in"), _plain(f"{name}-out")
    apply_topics(place.kafka, [source, target])
    module = "tests.bench.peers.plain_router"
    command = [sys.executable, "-m", module, *_names(place.kafka, source, target, name), str(place.folder / name), *how]
    with _running(place, name, command) as pid:
        yield _awake(_Process(kafka=place.kafka, pid=pid, source=source, target=target, fill=fill_plain))


@contextmanager
def _quix(place: Place) -> Iterator[_Process | None]:
    """None where there is no uv to give it an environment of its own."""
    uv = shutil.which("uv")
    if uv is None:
        yield None
        return
    name = "bench-quix"
    source, target = _plain(f"{name}-in"), _plain(f"{name}-out")
    apply_topics(place.kafka, [source, target])
    script = Path(__file__).parent / "peers" / "quix_router.py"
    command = [uv, "run", "--no-project", "--with", "quixstreams", "python", str(script)]
    with _running(place, name, [*command, *_names(place.kafka, source, target, name)]) as pid:
        yield _awake(_Process(kafka=place.kafka, pid=pid, source=source, target=target, fill=fill_plain))


def _names(kafka: Kafka, source: Topic, target: Topic, group: str) -> tuple[str, ...]:
    return kafka.bootstrap, kafka.topic(source.name), kafka.topic(target.name), kafka.group(group)


@contextmanager
def _running(place: Place, name: str, command: list[str]) -> Iterator[int]:
    with (place.folder / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=Path.cwd())
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(20)


def _awake(process: _Process) -> _Process:
    """Once it has passed something on: a consumer group takes its time to form."""
    before = ends(process.kafka, process.target)
    prepared = stamped(1_000, seed=0)
    process.fill(process.kafka, process.source, prepared)
    wait_until(lambda: _grown(process.kafka, process.target, before) >= len(prepared), _SECONDS)
    return process


def _grown(kafka: Kafka, topic: Topic, since: Ends) -> int:
    return sum(ends(kafka, topic).values()) - sum(since.values())
