"""The hub over a log in memory: who gets what, in which order, and what happens to those who do not keep up."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from api.auth import Principal
from api.live.catch_up import CatchUp
from api.live.frames import Frame
from api.live.hub import Hub, Opening
from api.live.positions import Tokens
from api.live.reader import EventReader, SpanReader
from api.live.records import Record
from api.live.subscribers import Subscriber
from api.settings import Live
from api.signing import Signer
from infra.contracts.control import Scope
from infra.runtime.clock import ManualClock
from infra.runtime.settings import Kafka
from tests.unit.api.fake_log import FakeLog

READER = Principal(tenant="acme", key_hash="k", scopes=frozenset({Scope.READ}))


class Stage:
    """A hub fed from a log."""

    def __init__(self, log: FakeLog, live: Live, epoch: int) -> None:
        spans = SpanReader(Kafka(), 2, make=log.consumer)
        self.changes: list[Record] = []
        self.settings = live
        self.catch_up = CatchUp(spans.read, live.catch_up_records)
        self.hub = Hub(
            live,
            Tokens(Signer(b"s")),
            ManualClock(datetime(2026, 1, 1, tzinfo=UTC)),
            self.catch_up,
            self.changes.append,
        )
        self.points: list[bytes] = []
        self.reader = EventReader(
            Kafka(),
            live,
            self.hub,
            lambda _key, value: self.points.append(value),
            make=log.consumer,
            epoch=lambda _settings, _timeout: epoch,
        )
        self._log = log

    async def read_all(self) -> None:
        """Wait until the hub has read the log to its end."""
        ends = [len(partition) for partition in self._log.topics["events"]]
        async with asyncio.timeout(5):
            while not self.hub.ready or self.hub.offsets != ends:
                await asyncio.sleep(0.005)

    def subscriber(self, *channels: str, principal: Principal = READER, events: int = 1000) -> Subscriber[Any]:
        subscriber: Subscriber[Any] = Subscriber(principal, events=events, size=1_000_000)
        subscriber.channels, subscriber.everything = set(channels), not channels
        return subscriber


@asynccontextmanager
async def staged(log: FakeLog, epoch: int = 1, **settings: Any) -> AsyncIterator[Stage]:
    stage = Stage(log, Live(**settings), epoch)
    stage.reader.start()
    try:
        await stage.read_all()
        yield stage
    finally:
        await stage.reader.stop()


def texts(frames: list[Any]) -> list[str]:
    return [json.loads(frame.value)["text"] for frame in frames if isinstance(frame, Frame)]


async def drain(subscriber: Subscriber[Any]) -> list[Any]:
    got = []
    while subscriber.waiting:
        got += await subscriber.take(1_000_000, 1)
    return got


def missed(stage: Stage, opening: Opening) -> list[str]:
    return texts(list(stage.hub.replay(opening)))


async def test_each_stream_gets_its_channels_in_order_and_no_other_tenants() -> None:
    log = FakeLog()
    async with staged(log) as stage:
        one, everything, other = stage.subscriber("a"), stage.subscriber(), stage.subscriber("b")
        for subscriber in (one, everything, other):
            assert (await stage.hub.open(subscriber, None)).recovered is None
        for n in range(20):
            log.append("a", f"a{n}")
            log.append("a", f"foreign{n}", tenant="globex")
            log.heartbeat(n % 2)
        log.append("c", "c")
        await stage.read_all()
        assert texts(await drain(one)) == [f"a{n}" for n in range(20)]
        assert sorted(texts(await drain(everything))) == sorted([f"a{n}" for n in range(20)] + ["c"])
        assert await drain(other) == []


async def test_one_frame_is_shared_by_all() -> None:
    log = FakeLog()
    async with staged(log) as stage:
        streams = [stage.subscriber("a") for _ in range(3)]
        for subscriber in streams:
            await stage.hub.open(subscriber, None)
        log.append("a", "x")
        await stage.read_all()
        frames = [(await drain(s))[0] for s in streams]
        assert frames[0] is frames[1] is frames[2]
        assert frames[0].sse() is frames[0].sse()


async def test_replays_of_the_router_are_not_shown_twice() -> None:
    log = FakeLog()
    async with staged(log) as stage:
        stream = stage.subscriber("a")
        await stage.hub.open(stream, None)
        for n in (0, 1, 2, 0, 1, 2, 3):
            log.append("a", f"m{n}", src=f"ingest/0/{n}/0")
        await stage.read_all()
        assert texts(await drain(stream)) == ["m0", "m1", "m2", "m3"]


@pytest.mark.parametrize("preload", [0, 10_000])
async def test_what_was_blocked_meanwhile_is_not_shown_to_a_reader_that_comes_back(preload: int) -> None:
    log = FakeLog()
    async with staged(log) as stage:
        stream = stage.subscriber("a")
        await stage.hub.open(stream, None)
        log.append("a", "m0")
        await stage.read_all()
        token = (await drain(stream))[-1].token
    log.append("a", "m1")
    log.append("a", "e1", kind="message.edited", about="m1")
    log.append("a", "m2")
    log.append("a", "b1", kind="message.blocked", about="m1")
    log.append("a", "b0", kind="message.blocked", about="m0")
    async with staged(log, preload_records=preload) as stage:
        opening = await stage.hub.open(stage.subscriber("a"), token)
        assert opening.recovered is True
        assert missed(stage, opening) == ["m2", "b1", "b0"]


async def test_what_was_blocked_is_not_shown_when_it_is_released_after() -> None:
    log = FakeLog()
    async with staged(log) as stage:
        stream = stage.subscriber("a")
        opening = await stage.hub.open(stream, None)
        log.append("a", "b1", kind="message.blocked", about="m1")
        log.append("a", "b2", kind="message.blocked", about="e2")
        log.append("a", "m1")
        log.append("a", "e1", kind="message.edited", about="m1")
        log.append("a", "e2", kind="message.edited", about="m0")
        log.append("a", "m2")
        await stage.read_all()
        assert texts(await drain(stream)) == ["b1", "b2", "m2"]
        opening = await stage.hub.open(stage.subscriber("a"), opening.token)
        assert missed(stage, opening) == ["b1", "b2", "m2"]


async def test_an_event_with_the_id_of_a_block_does_not_stop_it() -> None:
    log = FakeLog()
    async with staged(log) as stage:
        stream = stage.subscriber("a")
        await stage.hub.open(stream, None)
        log.append("a", "b1", kind="reaction.added", about="m0")
        log.append("a", "b1", kind="message.blocked", about="m1")
        await stage.read_all()
        assert len(await drain(stream)) == 2


@pytest.mark.parametrize("preload", [0, 4, 10_000])
async def test_a_reader_resumes_across_a_restart_and_a_replay_without_gap_or_double(preload: int) -> None:
    """From memory and from the log alike: the token knows what was seen, whatever the new process remembers."""
    log = FakeLog()
    async with staged(log) as stage:
        stream = stage.subscriber("a")
        await stage.hub.open(stream, None)
        for n in range(10):
            log.append("a", f"m{n}", src=f"ingest/0/{n}/0")
        await stage.read_all()
        frames = await drain(stream)
        assert texts(frames) == [f"m{n}" for n in range(10)]
        token = frames[-1].token
    # The API is away; the router goes back and goes on.
    for n in (7, 8, 9, 10, 11):
        log.append("a", f"m{n}", src=f"ingest/0/{n}/0")
    async with staged(log, preload_records=preload) as stage:
        stream = stage.subscriber("a")
        opening = await stage.hub.open(stream, token)
        assert opening.recovered is True
        assert opening.token == token  # whoever is cut off before the first missed event starts there again
        log.append("a", "m9", src="ingest/0/9/0")
        log.append("a", "m12", src="ingest/0/12/0")
        await stage.read_all()
        assert missed(stage, opening) + texts(await drain(stream)) == ["m10", "m11", "m12"]


async def test_a_resume_can_itself_be_cut_anywhere() -> None:
    log = FakeLog()
    async with staged(log, preload_records=0) as stage:
        stream = stage.subscriber()
        token = (await stage.hub.open(stream, None)).token
        for n in range(6):
            log.append("a", f"a{n}")
            log.append("b", f"b{n}")
        await stage.read_all()
        got: list[str] = []
        while True:
            again = stage.subscriber()
            opening = await stage.hub.open(again, token)
            frame = next(iter(stage.hub.replay(opening)), None)
            stage.hub.leave(again)
            if frame is None:
                break
            token = frame.token
            got += texts([frame])
        assert [t for t in got if t[0] == "a"] == [f"a{n}" for n in range(6)]
        assert [t for t in got if t[0] == "b"] == [f"b{n}" for n in range(6)]


async def test_readers_that_come_back_together_share_one_read_of_the_log() -> None:
    log = FakeLog()
    async with staged(log) as stage:
        token = stage.hub.token()
    for n in range(50):
        log.append("a", f"m{n}")
    async with staged(log, preload_records=0) as stage:
        before = len(log.reads)
        streams = [stage.subscriber("a") for _ in range(20)]
        openings = await asyncio.gather(*(stage.hub.open(s, token) for s in streams))
        assert all(missed(stage, o) == [f"m{n}" for n in range(50)] for o in openings)
        assert len(log.reads) - before == 1


async def test_who_missed_too_much_is_told_and_goes_on_from_now() -> None:
    log = FakeLog()
    async with staged(log) as stage:
        token = stage.hub.token()
    for n in range(50):
        log.append("a", f"m{n}")
    async with staged(log, preload_records=0, catch_up_records=10) as stage:
        stream = stage.subscriber("a")
        opening = await stage.hub.open(stream, token)
        assert (opening.recovered, opening.missed) == (False, [])
        log.append("a", "now")
        await stage.read_all()
        assert texts(await drain(stream)) == ["now"]


async def test_what_other_channels_did_does_not_count_as_missed() -> None:
    log = FakeLog()
    async with staged(log) as stage:
        token = stage.hub.token()
    for n in range(50):
        log.append("busy", f"m{n}")
    quiet = next(c for c in "abcdefgh" if log.append(c, c).partition() != log.append("busy", "x").partition())
    async with staged(log, preload_records=0, catch_up_records=10) as stage:
        assert (await stage.hub.open(stage.subscriber(quiet), token)).recovered is True
        assert (await stage.hub.open(stage.subscriber("busy"), token)).recovered is False


@pytest.mark.parametrize("token", ["", "nonsense", "AAAA"])
async def test_a_token_that_is_none_recovers_nothing(token: str) -> None:
    async with staged(FakeLog()) as stage:
        assert (await stage.hub.open(stage.subscriber("a"), token)).recovered is False


async def test_a_token_of_a_topic_made_anew_recovers_nothing() -> None:
    log = FakeLog()
    async with staged(log, epoch=1) as stage:
        token = stage.hub.token()
    async with staged(log, epoch=2) as stage:
        assert (await stage.hub.open(stage.subscriber("a"), token)).recovered is False


async def test_retention_that_passed_the_token_is_told() -> None:
    log = FakeLog()
    async with staged(log) as stage:
        token = stage.hub.token()
    for n in range(5):
        log.append("a", f"m{n}")
        log.append("b", f"m{n}")
    log.low = 1
    async with staged(log, preload_records=0) as stage:
        assert (await stage.hub.open(stage.subscriber(), token)).recovered is False


async def test_a_slow_stream_is_ended_and_delays_nobody() -> None:
    log = FakeLog()
    async with staged(log) as stage:
        slow, quick = stage.subscriber("a", events=5), stage.subscriber("a")
        for subscriber in (slow, quick):
            await stage.hub.open(subscriber, None)
        for n in range(20):
            log.append("a", f"m{n}")
        await stage.read_all()
        assert slow.closed.result() == "slow"
        assert await drain(slow) == []
        assert texts(await drain(quick)) == [f"m{n}" for n in range(20)]


async def test_deletes_and_edits_reach_the_page_cache() -> None:
    log = FakeLog()
    async with staged(log) as stage:
        log.append("a", "m1", kind="message.deleted")
        await stage.read_all()
        assert [(c.type, c.message_id) for c in stage.changes] == [("message.deleted", "m1")]


async def test_a_revoked_reader_hears_nothing_more() -> None:
    log = FakeLog()
    async with staged(log) as stage:
        stream = stage.subscriber("a")
        await stage.hub.open(stream, None)
        stage.hub.sweep(lambda principal: False)
        log.append("a", "secret")
        await stage.read_all()
        assert stream.closed.result() == "revoked"
        assert await drain(stream) == []


async def test_a_stopping_hub_lets_streams_finish_their_queue() -> None:
    log = FakeLog()
    async with staged(log) as stage:
        stream = stage.subscriber("a")
        await stage.hub.open(stream, None)
        log.append("a", "last")
        await stage.read_all()
        stage.hub.close()
        assert stream.closed.result() == "stopping"
        assert texts(await drain(stream)) == ["last"]


async def test_channels_come_and_go() -> None:
    log = FakeLog()
    async with staged(log) as stage:
        stream = stage.subscriber("a")
        await stage.hub.open(stream, None)
        stage.hub.add(stream, {"b"})
        log.append("b", "b1")
        await stage.read_all()
        stage.hub.remove(stream, {"a"})
        log.append("a", "a1")
        await stage.read_all()
        assert texts(await drain(stream)) == ["b1"]
        stage.hub.leave(stream)
        assert stage.hub.subscribers() == 0


async def test_partitions_added_while_running_are_read_from_their_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.live.reader._LOOK_SECONDS", 0.05)
    log = FakeLog()
    added = _consumer_that_grows(log)
    monkeypatch.setattr(log, "consumer", added)
    async with staged(log) as stage:
        stream = stage.subscriber()
        await stage.hub.open(stream, None)
        message = log.append("a", "new")
        log.topics["events"][message.partition()].pop()
        message.at_partition, message.at_offset = 2, 0
        log.topics["events"].append([message])
        await stage.read_all()
        assert texts(await drain(stream)) == ["new"]


def _consumer_that_grows(log: FakeLog) -> Callable[[dict[str, Any]], Any]:
    make = log.consumer

    def consumer(config: dict[str, Any]) -> Any:
        made = make(config)
        made.incremental_assign = lambda partitions: made._at.update({(p.topic, p.partition): 0 for p in partitions})
        return made

    return consumer
