import asyncio

import pytest
from confluent_kafka import KafkaError, KafkaException

from infra.contracts import codec
from ingest.framer import Frame, Framer
from tests.unit.ingest.deliveries import ScriptedDeliveries


class Made:
    def __init__(self, linger: float = 0.001) -> None:
        self.deliveries = ScriptedDeliveries()
        self.settled: list[Frame] = []
        self.framer = Framer(self.deliveries, asyncio.get_running_loop(), linger=linger, settled=self.settled.append)


async def test_events_of_one_partition_lie_in_one_frame_in_order():
    made = Made()
    frames = [made.framer.add("ingest", 3, b"[%d]" % number) for number in range(5)]
    assert len({*frames}) == 1
    assert await asyncio.wait_for(frames[0].done, 1)
    assert made.deliveries.records == [("ingest", 3, b"[[0],[1],[2],[3],[4]]")]
    assert made.settled == [frames[0]]


async def test_partitions_and_topics_never_share_a_frame():
    made = Made()
    frames = {made.framer.add(topic, partition, b"1") for topic in ("a", "b") for partition in (0, 1)}
    assert len(frames) == 4
    await asyncio.wait([frame.done for frame in frames], timeout=1)
    assert len(made.deliveries.records) == 4


async def test_a_frame_is_sent_before_it_would_outgrow_its_bound():
    made = Made(linger=60)
    envelope = b"x" * 32_000
    frames = [made.framer.add("ingest", 0, envelope) for _ in range(40)]
    made.framer.flush()
    sizes = [len(value) for _, _, value in made.deliveries.records]
    assert len(sizes) == len(set(frames)) == 3
    assert max(sizes) <= codec.MAX_FRAME_BYTES
    await asyncio.wait([frame.done for frame in frames], timeout=1)
    assert (made.framer.in_flight_events, made.framer.in_flight_bytes) == (0, 0)


async def test_what_is_in_flight_counts_until_the_report():
    made = Made(linger=60)
    made.deliveries.quiet = True
    frame = made.framer.add("ingest", 0, b"12345")
    made.framer.add("ingest", 0, b"678")
    made.framer.send(frame)
    made.framer.send(frame)
    assert len(made.deliveries.records) == 1
    assert (made.framer.in_flight_events, made.framer.in_flight_bytes) == (2, 8)
    assert not frame.stored
    made.deliveries.confirm()
    await frame.done
    assert frame.stored
    assert (made.framer.in_flight_events, made.framer.in_flight_bytes) == (0, 0)


async def test_an_undelivered_frame_is_not_stored():
    made = Made()
    made.deliveries.quiet = True
    frame = made.framer.add("ingest", 0, b"1")
    made.framer.flush()
    made.deliveries.fail()
    assert await frame.done is False
    assert not frame.stored
    assert made.framer.in_flight_events == 0


@pytest.mark.parametrize("error", [BufferError(), KafkaException(KafkaError(KafkaError._FATAL))])
async def test_a_record_that_cannot_be_queued_is_settled_at_once(error, monkeypatch):
    made = Made(linger=60)

    def refuse(*_args, **_named):
        raise error

    monkeypatch.setattr(made.deliveries, "send", refuse)
    frame = made.framer.add("ingest", 0, b"1")
    made.framer.flush()
    assert frame.done.result() is False
    assert made.settled == [frame]
    assert made.framer.in_flight_events == 0


async def test_draining_sends_what_is_open_and_waits():
    made = Made(linger=60)
    made.framer.add("ingest", 0, b"1")
    assert await made.framer.drain(1) == 0
    made.deliveries.quiet = True
    made.framer.add("ingest", 0, b"1")
    assert await made.framer.drain(0.01) == 1
    made.deliveries.confirm()
    assert await made.framer.drain(1) == 0
