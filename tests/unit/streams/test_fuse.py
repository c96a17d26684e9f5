"""The fuse blows for our own faults, not for few of them and not for old ones."""

from datetime import UTC, datetime

from infra.runtime.clock import ManualClock
from streams.router.fuse import Fuse


def make() -> tuple[ManualClock, Fuse]:
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    return clock, Fuse(clock, ratio=0.1, window=60)


def test_few_failures_are_no_trend() -> None:
    assert not make()[1].count(19, 19)


def test_a_share_within_the_window_blows_it() -> None:
    _, fuse = make()
    assert not fuse.count(1_000, 100)
    assert fuse.count(10, 10)


def test_old_failures_are_forgotten() -> None:
    clock, fuse = make()
    assert not fuse.count(1_000, 99)
    clock.advance(61)
    assert not fuse.count(100, 10)
