"""The Kafka adapters on a real broker."""

import asyncio
import statistics
import time

import pytest
from confluent_kafka import Consumer

from infra.contracts import placement, topics
from infra.contracts.control import ApiKey, Scope, Tenant, hash_secret
from infra.contracts.events import from_ms
from infra.runtime import control
from infra.runtime.errors import PreconditionError, Unreachable
from infra.runtime.kafka import (
    AsyncDeliveries,
    DeliveringProducer,
    apply_topics,
    check_topics,
    consumer_config,
    partitions_of,
    producer_config,
)
from infra.runtime.settings import Kafka
from streams.router import pipeline


def test_topics_are_as_the_contract_says_and_applying_again_changes_nothing(kafka):
    assert check_topics(kafka) == []
    assert apply_topics(kafka) == []


def test_a_missing_topic_is_named(kafka):
    other = kafka.model_copy(update={"topic_prefix": kafka.topic_prefix + "none-"})
    assert {p.kind for p in check_topics(other)} == {"missing"}
    with pytest.raises(PreconditionError, match="hubbub topics apply"):
        partitions_of(other, topics.EVENTS)


def test_a_broker_that_is_not_there_is_named():
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1 "):
        check_topics(Kafka(bootstrap="127.0.0.1:1"), timeout=1)


def test_a_full_queue_is_refused_or_waited_for(kafka):
    producer = DeliveringProducer(producer_config(kafka, "test", **{"queue.buffering.max.messages": 10}))
    failures = []
    name = kafka.topic(topics.EVENTS.name)

    def report(error, _):
        if error is not None:
            failures.append(error)

    def produce(number):
        for _ in range(number):
            producer.produce(name, b"{}", on_delivery=report)

    with pytest.raises(BufferError):
        produce(1_000)
    for _ in range(1_000):
        producer.produce(name, b"{}", on_delivery=report, wait=30)
    assert producer.close(30) == 0
    assert not failures


async def test_futures_settle_when_the_broker_has_the_records_and_keys_go_where_placement_says(kafka):
    producer = DeliveringProducer(producer_config(kafka, "test"))
    deliveries = AsyncDeliveries(producer, asyncio.get_running_loop())
    keys = [f"tenant:channel-{n}".encode() for n in range(200)]
    name = kafka.topic(topics.EVENTS.name)
    await asyncio.wait_for(asyncio.gather(*(deliveries.send(name, b"{}", key=key) for key in keys)), 30)
    assert producer.close(5) == 0
    consumer = Consumer(consumer_config(kafka, "test", kafka.group("test-keys")))
    consumer.subscribe([name])
    seen: dict[bytes | None, int | None] = {}
    while len(seen) < len(keys):
        message = consumer.poll(10)
        assert message is not None
        assert message.error() is None
        if message.key() in keys:  # other tests write here too
            seen[message.key()] = message.partition()
    consumer.close()
    assert seen == {key: placement.partition(key, topics.EVENTS.partitions) for key in keys}


def test_the_control_topic_is_read_whole_then_followed(kafka):
    key = ApiKey(hash=hash_secret("s"), tenant="acme", scopes=(Scope.READ,), name="t", created_at=from_ms(0))
    control.publish(kafka, [Tenant(id="acme"), key])
    follower = control.ControlFollower(kafka, "test-control")
    directory = follower.start()
    assert directory.find_key("s") == key
    control.publish(kafka, [], removed=[key.record_key])
    for _ in range(100):
        if directory.find_key("s") is None:
            break
        follower.changed.wait(0.1)
        follower.changed.clear()
    follower.stop()
    assert directory.find_key("s") is None


def test_a_follower_that_confirms_is_as_fresh_as_a_router_asks_for(kafka):
    control.publish(kafka, [Tenant(id="acme")])
    follower = control.ControlFollower(kafka, "test-confirm", confirm=True)
    follower.start()
    ages = []
    for _ in range(100):
        ages.append(time.monotonic() - follower.current_at)
        follower.changed.wait(0.03)
        follower.changed.clear()
    follower.stop()
    # A question that waited behind the open fetch made the median age of an idle topic 0.65 s.
    assert statistics.median(ages) < pipeline.FRESH_SECONDS / 2
