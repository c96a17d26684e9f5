"""Decisions on a real Kafka: looked up where they stand, stored as records of their own, answered in time."""

import asyncio
import time

import msgspec
from confluent_kafka import Consumer, Message, TopicPartition

from infra.contracts import headers, placement, review
from infra.contracts.events import Event
from infra.contracts.records import Action, Held, Verdict
from infra.contracts.review import HeldId
from infra.contracts.topics import HELD, INGEST
from infra.runtime.clock import SystemClock
from infra.runtime.kafka import DeliveringProducer, consumer_config, producer_config
from infra.runtime.settings import Kafka
from tests.integration.ingest.opened import Opened, opened
from tests.integration.ingest.serving import free_port
from tests.unit.ingest.deliveries import NOW


def hold(kafka: Kafka, tenant: str, count: int) -> list[HeldId]:
    """So many events in `held`, as the router writes them, and their ids."""
    verdict = Verdict(action=Action.HOLD, rule="r", version=1, reason="listed")
    producer = DeliveringProducer(producer_config(kafka, "test"))
    places: list[HeldId] = []

    def stored(number: int):
        def report(_error: object, message: Message) -> None:
            places.append(HeldId("2026-03-14", f"h-{number}", message.partition() or 0, message.offset() or 0))

        return report

    for number in range(count):
        event = Event(
            id=f"h-{number}",
            type="message.sent",
            time=NOW,
            channel_id=f"c{number}",
            user_id="ada",
            text="free nitro",
            tenant=tenant,
            received_at=NOW,
        )
        value = msgspec.json.encode(Held(event=event, verdict=verdict))
        producer.produce(kafka.topic(HELD.name), value, key=placement.key(tenant, event), on_delivery=stored(number))
    assert producer.close(30) == 0
    return places


async def release(ingest: Opened, place: HeldId) -> int:
    return (await ingest.post({}, f"/v1/held/{place.encode()}/release", key="moderate")).status_code


async def test_what_is_held_is_found_by_its_position_and_stored_with_its_header(kafka: Kafka) -> None:
    async with opened(kafka, SystemClock()) as ingest:
        places = await asyncio.to_thread(hold, kafka, ingest.tenant, 20)
        began = time.monotonic()
        assert await asyncio.gather(*(release(ingest, place) for place in places)) == [200] * 20
        assert time.monotonic() - began < 20  # each within its two seconds, one at a time at the worst
        consumer = Consumer(consumer_config(kafka, "test", f"test-{ingest.tenant}"))
        try:
            found = {}
            for place in places:
                partition = placement.partition(f"{ingest.tenant}:c{place.event_id[2:]}".encode(), INGEST.partitions)
                name = kafka.topic(INGEST.name)
                low, high = consumer.get_watermark_offsets(TopicPartition(name, partition), timeout=10)
                consumer.assign([TopicPartition(name, partition, low)])
                for message in consumer.consume(high - low, timeout=10):
                    if message.error() is None and (headers.KIND, headers.DECISION) in (message.headers() or []):
                        decision = review.decode(message.value() or b"")
                        if decision.tenant == ingest.tenant:
                            found[decision.held.event.id if decision.held else ""] = decision
        finally:
            consumer.close()
        assert set(found) == {place.event_id for place in places}


async def test_what_is_not_there_is_404_at_once(kafka: Kafka) -> None:
    async with opened(kafka, SystemClock()) as ingest:
        (place,) = await asyncio.to_thread(hold, kafka, ingest.tenant, 1)
        assert await release(ingest, place) == 200
        for offset in (10**12, place.offset + 1, place.offset + 2):
            began = time.monotonic()
            assert await release(ingest, msgspec.structs.replace(place, offset=offset)) == 404
            assert time.monotonic() - began < 2
        stranger = msgspec.structs.replace(place, event_id="h-other")
        assert await release(ingest, stranger) == 404


async def test_a_kafka_that_is_away_is_503_within_two_seconds(kafka: Kafka) -> None:
    nowhere = kafka.model_copy(update={"bootstrap": f"127.0.0.1:{free_port()}"})
    async with opened(nowhere, SystemClock()) as ingest:
        began = time.monotonic()
        assert await release(ingest, HeldId("2026-03-14", "h", 0, 0)) == 503
        reply = await ingest.post({"channel_id": "c"}, "/v1/messages/m/block", key="moderate")
        assert reply.status_code == 503
        assert time.monotonic() - began < 4
