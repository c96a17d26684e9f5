"""A broker that is cut off, silent, or whose answers are lost: nothing is acknowledged unstored or stored twice."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from infra.runtime.clock import SystemClock
from infra.runtime.settings import Kafka
from tests.faults.proxy import BLACKHOLE, CLEAR, CUT, LOST_ANSWERS, Controls, Fault, proxied
from tests.integration.ingest.opened import Opened, opened
from tests.unit.ingest.deliveries import event

ANSWERED_WITHIN = 2.0
RESUMES_WITHIN = 15.0


@pytest.fixture
def proxy(kafka: Kafka) -> Iterator[Controls]:
    host, _, port = kafka.bootstrap.partition(",")[0].rpartition(":")
    with proxied(host, int(port), kafka=True) as proxy:
        yield proxy


@pytest.fixture
async def ingest(kafka: Kafka, proxy: Controls) -> AsyncIterator[Opened]:
    behind = kafka.model_copy(update={"bootstrap": proxy.address})
    async with opened(behind, SystemClock(), in_flight_events=20) as ingest:
        assert (await ingest.post(event(0))).status_code == 200
        yield ingest


async def send_until_stored(ingest: Opened, events: list[dict[str, object]]) -> dict[str, int]:
    """Retry as a client does until each event is accounted for."""
    deadline = time.monotonic() + RESUMES_WITHIN
    while True:
        reply = await ingest.post(events)
        if reply.status_code == 200:
            return dict(reply.json())
        assert reply.status_code in (207, 503)
        assert all(error["code"] == "unavailable" for error in reply.json().get("errors", []))
        assert time.monotonic() < deadline
        await asyncio.sleep(0.2)


@pytest.mark.parametrize("fault", [CUT, BLACKHOLE, LOST_ANSWERS], ids=["cut", "blackhole", "lost answers"])
async def test_a_fault_is_told_in_time_and_a_retry_makes_one_copy(
    kafka: Kafka, proxy: Controls, ingest: Opened, fault: Fault
) -> None:
    proxy.become(fault)
    sent = [event(n, channel_id=f"c{n}") for n in range(1, 6)]
    before = time.monotonic()
    reply = await ingest.post(sent)
    assert time.monotonic() - before < ANSWERED_WITHIN
    assert reply.status_code == 503
    assert reply.headers["Retry-After"]
    assert [error["code"] for error in reply.json()["errors"]] == ["unavailable"] * 5
    proxy.become(CLEAR)
    stored = await send_until_stored(ingest, sent)
    assert stored["accepted"] + stored["duplicates"] == 5
    assert await ingest.copies(kafka) == {f"id-{n}": 1 for n in range(6)}


async def test_while_the_queue_is_full_requests_are_refused_at_once_and_later_stored(
    kafka: Kafka, proxy: Controls, ingest: Opened
) -> None:
    proxy.become(BLACKHOLE)
    first = [event(n) for n in range(1, 21)]
    replies = await asyncio.gather(*(ingest.post(first[at : at + 5]) for at in range(0, 20, 5)))
    assert {reply.status_code for reply in replies} == {503}
    more = [event(n) for n in range(21, 31)]
    before = time.monotonic()
    refused = await asyncio.gather(*(ingest.post(one) for one in more))
    assert time.monotonic() - before < 0.5
    assert {reply.status_code for reply in refused} == {503}
    assert ingest.stack.framer.in_flight_events == 20
    proxy.become(CLEAR)
    await send_until_stored(ingest, first)
    for one in more:
        await send_until_stored(ingest, [one])
    assert await ingest.copies(kafka) == {f"id-{n}": 1 for n in range(31)}


async def test_copies_sent_at_once_are_stored_once(kafka: Kafka, ingest: Opened) -> None:
    replies = await asyncio.gather(*(ingest.post([event(1), event(2)]) for _ in range(20)))
    assert {reply.status_code for reply in replies} == {200}
    assert sum(reply.json()["accepted"] for reply in replies) == 2
    assert sum(reply.json()["duplicates"] for reply in replies) == 38
    assert await ingest.copies(kafka) == {"id-0": 1, "id-1": 1, "id-2": 1}
