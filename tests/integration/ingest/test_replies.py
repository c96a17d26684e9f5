"""Every reply and every event code of the contract, provoked on a real Kafka and equal to its golden body."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from infra.contracts import generated
from infra.contracts.control import Limits
from infra.contracts.problems import EVENT_CODES, MEDIA_TYPE, REPLIES
from infra.runtime.clock import ManualClock
from infra.runtime.settings import Kafka
from tests.integration.ingest.opened import Opened, opened
from tests.integration.ingest.serving import free_port
from tests.unit.ingest.deliveries import NOW, event
from tests.unit.ingest.segment_calls import batch, message

GOLDEN = generated.ROOT / "examples" / "replies"
SLOW = Limits(user_rate=1)

Provoke = Callable[[Opened], Awaitable[httpx.Response]]


@pytest.fixture
async def here(kafka: Kafka) -> AsyncIterator[Opened]:
    async with opened(kafka, ManualClock(NOW), SLOW) as ingest:
        yield ingest


@pytest.fixture
async def cut_off(kafka: Kafka) -> AsyncIterator[Opened]:
    """An ingest whose Kafka is not there."""
    nowhere = kafka.model_copy(update={"bootstrap": f"127.0.0.1:{free_port()}"})
    async with opened(nowhere, ManualClock(NOW), unavailable_after=0.2) as ingest:
        yield ingest


def sends(*events: Any, **how: Any) -> Provoke:
    """The reply to the last of these requests."""

    async def provoke(ingest: Opened) -> httpx.Response:
        for body in events:
            reply = await ingest.post(body, **how)
        return reply

    return provoke


async def no_path(ingest: Opened) -> httpx.Response:
    return await ingest.request("GET", "/v1/nothing")


async def wrong_method(ingest: Opened) -> httpx.Response:
    return await ingest.request("GET", "/v1/events")


BURST = [event(n) for n in range(10)]
BAD = event(type="reaction.added", message_id="m")
REFUSED_WITH_400: dict[str, Any] = {
    "missing_field": BAD,
    "invalid_field": event(colour="red"),
    "too_large": event(text="x" * 9_000),
    "too_deep": msgspec.json.encode(event())[:-1] + b',"properties":' + b'{"a":' * 40 + b"1" + b"}" * 41,
    "bad_time": event(time="2026-03-14T12:00:00Z"),
    "future_id": event(id="01ffffff-0000-7000-8000-000000000000"),
    "bad_user": event(user_id="undefined"),
    "forbidden_type": event(type="message.edited", message_id="m"),
}
REPLY_CASES: dict[str, tuple[int, Provoke]] = {
    "200": (200, sends(event(1), [event(1), event(2)])),
    "200-segment": (200, sends(batch(message(1), message(2, channel_id=None), message(1)), path="/v1/batch")),
    "207": (207, sends([event(1), BAD, event(2)])),
    "400": (400, sends([])),
    "401": (401, sends(event(), key="nobody")),
    "403": (403, sends({"batch": [event()], "historical": True}, path="/v1/batch")),
    "404": (404, no_path),
    "405": (405, wrong_method),
    "413": (413, sends([1] * 2_501)),
    "415": (415, sends(event(), headers={"Content-Type": "text/plain"})),
    "429": (429, sends(BURST, event(10))),
    **{code: (400, sends(body)) for code, body in REFUSED_WITH_400.items()},
    "conflict": (400, sends(event(), event(text="other"))),
    "rate_limited": (207, sends([*BURST, event(10)])),
}
CUT_OFF_CASES: dict[str, tuple[int, Provoke]] = {
    "503": (503, sends([event(1), BAD])),
    "unavailable": (503, sends(event())),
}


def judge(name: str, status: int, reply: httpx.Response) -> None:
    assert reply.status_code == status
    assert reply.json() == msgspec.json.decode((GOLDEN / f"{name}.json").read_bytes())
    assert reply.headers["Content-Type"] == ("application/json" if status < 300 else MEDIA_TYPE)
    for header in REPLIES[status].headers:
        assert header in reply.headers
    if name in EVENT_CODES:
        errors = reply.json()["errors"]
        assert [(error["code"], error["retryable"]) for error in errors] == [(name, EVENT_CODES[name])]


@pytest.mark.parametrize("name", REPLY_CASES)
async def test_reply(here: Opened, name: str) -> None:
    status, provoke = REPLY_CASES[name]
    judge(name, status, await provoke(here))


@pytest.mark.parametrize("name", CUT_OFF_CASES)
async def test_reply_without_kafka(cut_off: Opened, name: str) -> None:
    status, provoke = CUT_OFF_CASES[name]
    judge(name, status, await provoke(cut_off))


async def test_partly_delivered_is_207_and_the_rest_is_retryable(kafka: Kafka) -> None:
    """Room for one frame's events only: some are delivered, the others are told to come again."""
    async with opened(kafka, ManualClock(NOW), in_flight_bytes=2_000) as ingest:
        sent = [event(n, text="x" * 900) for n in range(4)]
        reply = await ingest.post(sent)
        judge("207-unavailable", 207, reply)
        left = [sent[error["index"]] for error in reply.json()["errors"]]
        assert (await ingest.post(left)).json() == {"accepted": len(left), "duplicates": 0}


def test_every_reply_and_code_has_its_golden_body_and_no_other_lies_there() -> None:
    names = {Path(name).stem for name in (f.name for f in GOLDEN.iterdir())}
    assert names == {*REPLY_CASES, *CUT_OFF_CASES, "207-unavailable"}
    assert names >= set(EVENT_CODES)
    assert names >= {str(status) for status in REPLIES if status not in (422, 500)}
