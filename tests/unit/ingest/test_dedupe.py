import asyncio

from hypothesis import given
from hypothesis import strategies as st

from infra.runtime.clock import ManualClock
from ingest.dedupe import Seen, seen_key
from ingest.framer import Frame
from tests.unit.ingest.deliveries import NOW


class Made:
    def __init__(self, seconds: float = 600, limit: int = 100) -> None:
        self.clock = ManualClock(NOW)
        self.loop = asyncio.new_event_loop()
        self.seen = Seen(seconds=seconds, limit=limit, monotonic=self.clock.monotonic)
        self.loop.close()

    def send(self, *keys: str) -> Frame:
        frame = Frame("ingest", 0, self.loop.create_future())
        for key in keys:
            self.seen.sending(key, hash(key), frame)
        return frame

    def store(self, *keys: str, stored: bool = True) -> None:
        frame = self.send(*keys)
        frame.done.set_result(stored)
        self.seen.settle(frame)


def test_an_id_is_in_flight_then_stored():
    made = Made()
    frame = made.send("acme/1")
    assert made.seen.in_flight("acme/1") is frame
    assert frame.prints == {"acme/1": hash("acme/1")}
    assert made.seen.stored("acme/1") is None
    frame.done.set_result(True)
    made.seen.settle(frame)
    assert made.seen.in_flight("acme/1") is None
    assert made.seen.stored("acme/1") == hash("acme/1")


def test_what_was_not_stored_is_forgotten():
    made = Made()
    made.store("acme/1", stored=False)
    assert made.seen.in_flight("acme/1") is None
    assert made.seen.stored("acme/1") is None


def test_ids_are_forgotten_after_the_window():
    made = Made(seconds=600)
    made.store("a")
    made.clock.advance(599)
    made.store("b")
    assert made.seen.stored("a") is not None
    made.clock.advance(1)
    made.seen.expire()
    assert made.seen.stored("a") is None
    assert made.seen.stored("b") is not None


def test_an_id_may_come_again_after_the_window():
    made = Made(seconds=1)
    for _ in range(3):
        made.store("a")
        made.clock.advance(2)
        made.seen.expire()
    assert len(made.seen) == 0


def test_tenants_do_not_share_ids():
    assert seen_key("a", "b/c") != seen_key("a-b", "c")


@given(
    batches=st.lists(st.tuples(st.integers(1, 7), st.floats(0, 30), st.booleans()), max_size=30),
    limit=st.integers(0, 20),
)
def test_the_ledger_is_bounded_and_keeps_the_newest(batches, limit):
    made = Made(seconds=60, limit=limit)
    number = 0
    for size, wait, stored in batches:
        keys = [f"k{number + i}" for i in range(size)]
        number += size
        made.clock.advance(wait)
        made.store(*keys, stored=stored)
        assert len(made.seen) <= limit
        if stored and size <= limit:
            assert all(made.seen.stored(key) is not None for key in keys)
        assert not made.seen._in_flight
    made.clock.advance(60)
    made.seen.expire()
    assert len(made.seen) == 0
    assert not made.seen._batches
