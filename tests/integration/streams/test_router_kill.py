"""A router killed at any moment loses nothing, and by first occurrence the order of its outputs is exact."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import IO

from confluent_kafka import KafkaError, Message

from infra.contracts import codec, placement, topics
from infra.contracts.events import Event
from infra.contracts.headers import Src
from infra.runtime.kafka import DeliveringProducer, producer_config
from infra.runtime.settings import Kafka
from tests.integration.streams.running import Stored, event, read, router

KILLS = 5


class Load:
    """A small steady load in a thread: frames of five, each id kept once Kafka has it."""

    def __init__(self, kafka: Kafka, tag: str) -> None:
        self.acked: list[str] = []
        self._kafka, self._tag = kafka, tag
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        producer = DeliveringProducer(producer_config(self._kafka, "load"))
        for frame in self._frames():
            partition = placement.partition(placement.key("acme", frame[0]), topics.INGEST.partitions)
            producer.produce(
                self._kafka.topic(topics.INGEST.name),
                codec.frame([codec.encode(one) for one in frame]),
                partition=partition,
                on_delivery=self._note([one.id for one in frame]),
            )
            if self._stop.wait(0.005):
                break
        assert producer.close(30) == 0

    def _note(self, ids: list[str]) -> Callable[[KafkaError | None, Message], None]:
        return lambda error, _: self.acked.extend(ids if error is None else ())

    def _frames(self) -> Iterator[list[Event]]:
        number = 0
        while True:
            yield [event(0, id=f"{self._tag}-{number + i}", channel_id=f"c-{number // 5 % 40}") for i in range(5)]
            number += 5


def test_kill_9_again_and_again_loses_nothing_and_keeps_the_order(own_kafka: Kafka, log_file: IO[bytes]) -> None:
    chance = random.Random(7)
    recoveries = []
    with router(own_kafka, log_file) as worker:
        with Load(own_kafka, "kill") as load:
            for _ in range(KILLS):
                time.sleep(chance.uniform(0.3, 2.5))
                worker.kill()
                began = time.monotonic()
                worker.start()
                worker.wait_ready()
                recoveries.append(time.monotonic() - began)
            time.sleep(1)
        worker.wait_idle()
        assert worker.terminate() == 0

    records = [m for m in read(own_kafka, topics.EVENTS) if m.id.startswith("kill-")]
    arrived = {m.id for m in records}
    assert len(load.acked) > 1_000
    assert set(load.acked) - arrived == set()
    assert inversions(records) == 0
    print(f"recovery seconds: {[round(s, 1) for s in recoveries]}, doubled: {len(records) - len(arrived)}")


def inversions(records: list[Stored]) -> int:
    """How often a first occurrence stands behind a later one of the same input partition."""
    seen: set[Src] = set()
    highest: dict[tuple[int, str, int], Src] = {}
    wrong = 0
    for record in records:
        src = record.src
        if src in seen:
            continue
        seen.add(src)
        lane = (record.partition, src.topic, src.partition)
        wrong += src < highest.get(lane, src)
        highest[lane] = max(src, highest.get(lane, src))
    return wrong
