"""One read for everybody who asks, bounds that hold, and nothing shown after a delete."""

import asyncio
from datetime import UTC, datetime

import pytest

from api.history.cache import PageCache
from infra.runtime.clock import ManualClock


def make(clock: ManualClock, *, entries: int = 100, size: int = 1_000_000) -> PageCache:
    return PageCache(clock, entries=entries, size=size, newest_seconds=0.1, older_seconds=30, mask_seconds=900)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 1, 1, tzinfo=UTC))


class Source:
    """Counts reads; each waits until `go` is set."""

    def __init__(self, *, waits: bool = False) -> None:
        self.reads = 0
        self.go = asyncio.Event()
        if not waits:
            self.go.set()

    async def __call__(self) -> bytes:
        self.reads += 1
        number = self.reads
        await self.go.wait()
        return b"page %d" % number


async def test_readers_of_one_moment_share_one_read(clock):
    cache, source = make(clock), Source(waits=True)
    asking = [asyncio.ensure_future(cache.get("t", "c", 1, source, settled=False)) for _ in range(50)]
    await asyncio.sleep(0)
    source.go.set()
    assert set(await asyncio.gather(*asking)) == {b"page 1"}
    assert source.reads == 1


async def test_a_newest_page_lives_100_ms_and_an_older_one_30_s(clock):
    cache, newest, older = make(clock), Source(), Source()
    for after, newest_reads, older_reads in ((0, 1, 1), (0.09, 1, 1), (0.02, 2, 1), (29, 3, 1), (1, 4, 2)):
        clock.advance(after)
        await cache.get("t", "c", "newest", newest, settled=False)
        await cache.get("t", "c", "older", older, settled=True)
        assert (newest.reads, older.reads) == (newest_reads, older_reads)


async def test_a_reader_that_goes_away_takes_nothing_from_the_others(clock):
    cache, source = make(clock), Source(waits=True)
    first = asyncio.ensure_future(cache.get("t", "c", 1, source, settled=False))
    second = asyncio.ensure_future(cache.get("t", "c", 1, source, settled=False))
    await asyncio.sleep(0)
    first.cancel()
    source.go.set()
    assert await second == b"page 1"
    assert first.cancelled()


async def test_a_failure_reaches_who_asked_and_is_not_kept(clock):
    cache = make(clock)

    async def failing() -> bytes:
        raise ConnectionError

    for _ in range(2):
        with pytest.raises(ConnectionError):
            await cache.get("t", "c", 1, failing, settled=True)
    assert await cache.get("t", "c", 1, Source(), settled=True) == b"page 1"


async def test_a_mask_drops_the_channels_pages_and_no_others(clock):
    cache = make(clock)
    mine, another, foreign = Source(), Source(), Source()
    for _ in range(2):
        await cache.get("t", "c", 1, mine, settled=True)
        await cache.get("t", "d", 1, another, settled=True)
        await cache.get("u", "c", 1, foreign, settled=True)
        cache.mask("t", "c", "m")
    assert (mine.reads, another.reads, foreign.reads) == (2, 1, 1)
    assert cache.masked("t", "c", "m")
    assert not cache.masked("u", "c", "m")
    clock.advance(901)
    assert not cache.masked("t", "c", "m")


async def test_what_was_being_read_during_a_mask_is_neither_kept_nor_joined(clock):
    cache, before, after = make(clock), Source(waits=True), Source()
    first = asyncio.ensure_future(cache.get("t", "c", 1, before, settled=True))
    await asyncio.sleep(0)
    cache.mask("t", "c", "m")
    assert await cache.get("t", "c", 1, after, settled=True) == b"page 1"
    before.go.set()
    await first
    await cache.get("t", "c", 1, after, settled=True)
    assert (before.reads, after.reads) == (1, 1)


async def test_after_an_edit_older_pages_are_not_kept_long_until_history_has_it(clock):
    cache, source = make(clock), Source()
    cache.invalidate("t", "c")
    await cache.get("t", "c", 1, source, settled=True)
    clock.advance(0.2)
    await cache.get("t", "c", 1, source, settled=True)
    assert source.reads == 2
    clock.advance(11)
    for _ in range(2):
        await cache.get("t", "c", 1, source, settled=True)
        clock.advance(1)
    assert source.reads == 3


async def test_entries_and_bytes_are_bounded(clock):
    few = make(clock, entries=3)
    for page in range(10):
        await few.get("t", f"c{page % 4}", page, Source(), settled=True)
    assert len(few) == 3
    small = make(clock, size=2_000)
    for page in range(10):
        await small.get("t", "c", page, Source(), settled=True)
    assert 0 < small.size <= 2_000
    small.invalidate("t", "c")
    assert (len(small), small.size) == (0, 0)
