"""Rules on a real Kafka: a verdict is a function of the log, whoever reads it, from where, and how often it dies."""

import random
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, Any

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, TopicPartition

from infra.contracts import codec, placement, topics
from infra.contracts import headers as h
from infra.contracts.events import from_ms
from infra.contracts.headers import Src
from infra.contracts.rules import EVERYONE, BlockList, Flood, Repetition, Rule, RuleSet
from infra.runtime import control
from infra.runtime.control import ControlFollower
from infra.runtime.kafka import DeliveringProducer, admin, consumer_config, producer_config
from infra.runtime.rules import Published, RuleLog
from infra.runtime.settings import Kafka
from streams.router.book import RuleBook, built_in
from streams.router.routing import Record, Router
from streams.router.steps.memory import Memory, Reach
from tests.integration.streams.running import (
    RouterProcess,
    event,
    framed,
    free_port,
    read,
    router,
    send,
    wait_routed,
    wait_until,
)

MESSAGES = 10_000


def counting(flood: int, raid: int, times: int) -> tuple[Rule, ...]:
    """Rules that count, for a load that passes their limits now and then."""
    return (
        Flood(id="flood", version=1, action="hold", reason="too many", messages=flood, seconds=2),
        Flood(id="raid", version=1, action="block", reason="too many", messages=raid, seconds=2, by="channel"),
        Repetition(id="again", version=1, action="hold", reason="once more", times=times, seconds=60),
    )


ZEBRA = BlockList(id="zebra", version=1, action="block", reason="no zebras", terms=("zebra",))
TEXTS = (
    "hello", "Buy now!", "b\u200buy now", "a zebra", "sh1t happens", "f u c k", "kys", "free nitro", "a@b.org",
    "see bit.ly/abc", "Scunthorpe", "one", "two", "three", "four", "five",
)  # fmt: skip

Outcome = tuple[str, bytes, bytes | None]


def publish(kafka: Kafka, version: int, *rules: Rule) -> Published:
    """Put a set into force and say when it was stored."""
    made = RuleSet(tenant=EVERYONE, version=version, rules=rules)
    control.publish(kafka, [made])
    log = RuleLog()
    follower = ControlFollower(kafka, "test-rules", log)
    follower.start()
    follower.stop()
    found = log.get(made.record_key)
    assert found is not None
    return found


def wait_in_force(found: Published) -> None:
    wait_until(lambda: time.time() * 1000 > found.effective_ms + 100, 10)


def texts(number: int, chance: random.Random, **fields: Any) -> Iterator[Any]:
    """Messages of few people in few channels, who often say the same."""
    for n in range(number):
        yield event(
            n,
            id=f"{fields.get('tag', 'e')}-{n}",
            text=chance.choice(TEXTS),
            channel_id=f"c-{chance.randrange(24)}",
            user_id=f"u-{chance.randrange(4)}",
            type=chance.choice(["message.sent"] * 9 + ["message.edited"]),
            message_id=f"m-{n}",
        )


def logged(kafka: Kafka) -> Iterator[Record]:
    """Everything in `ingest`, by partition and offset, with the broker's times."""
    consumer = Consumer(consumer_config(kafka, "test", f"{kafka.topic_prefix}test"))
    name = kafka.topic(topics.INGEST.name)
    for number in range(topics.INGEST.partitions):
        place = TopicPartition(name, number, 0)
        end = consumer.get_watermark_offsets(place, timeout=10)[1]
        consumer.assign([place])
        at = 0
        while at < end:
            for message in consumer.consume(1_000, timeout=0.3):
                assert message.error() is None
                at = (message.offset() or 0) + 1
                yield Record(
                    topic=topics.INGEST.name,
                    partition=number,
                    offset=at - 1,
                    appended_at=from_ms(message.timestamp()[1]),
                    value=message.value(),
                )
    consumer.close()


def expected(kafka: Kafka) -> dict[Src, set[Outcome]]:
    """What the whole log becomes when it is routed once, from its beginning, by all rules that were ever published."""
    book = RuleBook()
    follower = ControlFollower(kafka, "test-book", book)
    follower.start()
    follower.stop()
    every = Reach(seconds=600, counters=frozenset((texts, by) for texts in (True, False) for by in ("user", "channel")))
    route = Router(topics.INGEST, kafka, book)
    memories: dict[int, Memory] = defaultdict(lambda: Memory(every))
    found: dict[Src, set[Outcome]] = defaultdict(set)
    for record in logged(kafka):
        for output in route.route(record, memories[record.partition]).outputs:
            headers = dict(output.headers)
            if not output.topic.endswith(topics.ACCOUNTING.name):
                found[Src.decode(headers[h.SRC] or b"")].add(_outcome(output.topic, output.value or b"", headers))
    return dict(found)


def routed(kafka: Kafka) -> dict[Src, set[Outcome]]:
    """What stands in the topics: where one element stands twice, both must be the same."""
    found: dict[Src, set[Outcome]] = defaultdict(set)
    for topic in (topics.EVENTS, topics.HELD, topics.VERDICTS):
        for stored in read(kafka, topic):
            found[stored.src].add(_outcome(kafka.topic(topic.name), stored.value, stored.headers))
    return dict(found)


def _outcome(topic: str, value: bytes, headers: dict[str, Any]) -> Outcome:
    rule = headers.get(h.RULE)
    return topic, value, rule if rule is None or isinstance(rule, bytes) else rule.encode()


def go_back(kafka: Kafka, offsets: dict[int, int]) -> None:
    """Set the router's group back. A static member keeps the group busy until its session is over."""
    target = [TopicPartition(kafka.topic(topics.INGEST.name), number, offset) for number, offset in offsets.items()]
    client = admin(kafka)

    def done() -> bool:
        request = [ConsumerGroupTopicPartitions(kafka.group("router"), target)]
        (answer,) = client.alter_consumer_group_offsets(request).values()
        try:
            return all(place.error is None for place in answer.result(10).topic_partitions or [])
        except KafkaException:
            return False

    wait_until(done, 40)


def ends(kafka: Kafka) -> dict[int, int]:
    consumer = Consumer(consumer_config(kafka, "test", f"{kafka.topic_prefix}test"))
    name = kafka.topic(topics.INGEST.name)
    found = {
        n: consumer.get_watermark_offsets(TopicPartition(name, n), timeout=10)[1]
        for n in range(topics.INGEST.partitions)
    }
    consumer.close()
    return found


class Load:
    """Frames of five at a steady rate in a thread, until told to stop."""

    def __init__(self, kafka: Kafka, seconds_apart: float = 0.01) -> None:
        self._kafka, self._pause = kafka, seconds_apart
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
        chance = random.Random(3)
        number = 0
        while not self._stop.wait(self._pause):
            frame = list(texts(5, chance, tag=f"load-{number}"))
            channel = f"c-{number % 24}"
            for one in frame:
                one.channel_id = channel
            partition = placement.partition(placement.key("acme", frame[0]), topics.INGEST.partitions)
            value = codec.frame([codec.encode(one) for one in frame])
            producer.produce(self._kafka.topic(topics.INGEST.name), value, partition=partition)
            number += 1
        assert producer.close(30) == 0


@contextmanager
def two_routers(kafka: Kafka, log_file: IO[bytes]) -> Iterator[list[RouterProcess]]:
    with ExitStack() as stack:
        yield [stack.enter_context(router(kafka, log_file, HUBBUB_ROUTER_INSTANCE_ID=f"router-{n}")) for n in range(2)]


@pytest.mark.parametrize("rules", [(), counting(80, 350, 8)], ids=["built-in", "counting"])
def test_verdicts_are_the_same_when_partitions_are_read_again(
    own_kafka: Kafka, log_file: IO[bytes], rules: tuple[Rule, ...]
) -> None:
    chance = random.Random(11)
    if rules:
        wait_in_force(publish(own_kafka, 1, *built_in().rules, *rules))
    frames = list(framed(list(texts(MESSAGES, chance)), 20))
    for first in range(0, len(frames), 50):
        send(own_kafka, frames[first : first + 50])  # over some seconds, so that windows pass
    with router(own_kafka, log_file) as worker:
        wait_routed(own_kafka)
        assert worker.terminate() == 0
    first_time = routed(own_kafka)
    assert first_time == expected(own_kafka)
    held = sum(any(topic.endswith(topics.HELD.name) for topic, *_ in made) for made in first_time.values())
    assert len(first_time) == MESSAGES
    assert MESSAGES // 20 < held < MESSAGES * 19 // 20

    again = 0
    seconds = []
    for _ in range(2):
        offsets = {number: chance.randrange(end) for number, end in ends(own_kafka).items() if end}
        go_back(own_kafka, offsets)
        again += len(offsets)
        began = time.monotonic()
        with router(own_kafka, log_file) as worker:
            wait_routed(own_kafka)
            seconds.append(round(time.monotonic() - began, 1))
            assert worker.terminate() == 0
    assert again >= 10
    assert routed(own_kafka) == first_time
    print(f"read again from {again} offsets: start to idle in {seconds} s; {held} of {MESSAGES} held or blocked")


def test_a_rule_changed_under_load_holds_everywhere_at_once(own_kafka: Kafka, log_file: IO[bytes]) -> None:
    with two_routers(own_kafka, log_file) as workers:
        pids = [worker.process.pid for worker in workers if worker.process]
        with Load(own_kafka):
            time.sleep(2)
            changed = publish(own_kafka, 1, *built_in().rules, ZEBRA)
            wait_in_force(changed)
            time.sleep(1.5)
            counted = publish(own_kafka, 2, *built_in().rules, ZEBRA, *counting(6, 60, 3))
            wait_in_force(counted)
            time.sleep(3)
        wait_routed(own_kafka)
        assert [worker.process.pid for worker in workers if worker.process] == pids
        assert all(worker.running for worker in workers)
        for worker in workers:
            assert worker.terminate() == 0
    found = routed(own_kafka)
    assert found == expected(own_kafka)
    # By the broker's clock: in every partition the rule judges whatever was stored two seconds after it.
    zebras = {
        Src.decode(stored.headers[h.SRC] or b"")
        for stored in read(own_kafka, topics.HELD)
        if stored.headers.get(h.RULE) == b"zebra@1"
    }
    held: dict[int, list[float]] = defaultdict(list)
    let_through: list[float] = []
    for record in logged(own_kafka):
        after = record.appended_at.timestamp() - changed.appended_ms / 1000
        for number, element in enumerate(codec.split(record.value or b"")):
            if codec.decode(element).text == "a zebra":
                if Src(record.topic, record.partition, record.offset, number) in zebras:
                    held[record.partition].append(after)
                else:
                    let_through.append(after)
    assert len(held) >= 6
    assert max(let_through) < 2
    first = min(min(moments) for moments in held.values())
    assert first > 0
    print(f"in force {first:.2f} s after it was stored, the last let through after {max(let_through):.2f} s")

    offsets = {number: end // 2 for number, end in ends(own_kafka).items()}
    go_back(own_kafka, offsets)
    with router(own_kafka, log_file, HUBBUB_ROUTER_INSTANCE_ID="router-0"):
        wait_routed(own_kafka)
    assert routed(own_kafka) == found


def test_kill_9_with_rules_that_count_changes_no_verdict(own_kafka: Kafka, log_file: IO[bytes]) -> None:
    chance = random.Random(5)
    wait_in_force(publish(own_kafka, 1, *built_in().rules, *counting(6, 60, 3)))
    recoveries = []
    with router(own_kafka, log_file) as worker:
        with Load(own_kafka):
            for _ in range(4):
                time.sleep(chance.uniform(0.5, 2.5))
                worker.kill()
                began = time.monotonic()
                worker.start()
                worker.wait_ready()
                recoveries.append(round(time.monotonic() - began, 1))
            time.sleep(1)
        wait_routed(own_kafka)
        assert worker.terminate() == 0
    found = routed(own_kafka)
    assert found == expected(own_kafka)
    assert sum(len(made) > 1 for made in found.values()) > 20, "verdicts beside their messages"
    print(f"ready again after {recoveries} s")


def test_a_router_is_not_ready_with_a_set_it_cannot_use(own_kafka: Kafka, log_file: IO[bytes]) -> None:
    bad = ZEBRA.__class__(id="loop", version=1, action="mask", reason="r", terms=("gone",), replacement="gone")
    worker = RouterProcess(own_kafka, {"HUBBUB_ROUTER_PORT": str(free_port())}, log_file)
    found = publish(own_kafka, 1, bad)
    worker.start()
    try:
        wait_until(lambda: "rules" in worker.report().get("checks", {}), 40)
        check = worker.report()["checks"]["rules"]
        assert not check["ok"]
        assert "the replacement of rule loop" in check["detail"]
        control.publish(own_kafka, [], removed=[found.key])
        wait_until(lambda: bool(worker.report()["checks"]["rules"]["ok"]), 10)
        worker.wait_ready()
    finally:
        worker.kill()
