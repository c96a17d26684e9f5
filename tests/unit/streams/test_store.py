import random
from datetime import UTC, datetime
from typing import Any

import pytest
from cassandra import InvalidRequest, OperationTimedOut

from infra.contracts import tables
from infra.runtime.clock import ManualClock
from streams.history.rows import Read, Row, Step, Steps
from streams.history.store import Store, Work, routing_key
from tests.unit.streams.cassandra_fake import FakeDatabase


class Bench:
    """A store over a fake session, and the work it has finished."""

    def __init__(self, hosts: int = 1) -> None:
        self.database = FakeDatabase(hosts)
        self.clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
        database: Any = self.database
        self.store = Store(database, clock=self.clock, jitter=random.Random(1), max_batches=4)
        self.finished: list[Work] = []

    def begin(self, steps: Steps | Step) -> Work:
        work = Work(steps, None)
        self.store.begin(work, work.advance())
        return work

    def turn(self) -> None:
        self.store.pump()
        for work in self.store.settle(0):
            step = () if work.refused else work.advance()
            if step:
                self.store.begin(work, step)
            else:
                self.finished.append(work)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def touch(channel: str = "c", **fields: Any) -> Row:
    return Row(tables.TOUCH_CHANNEL, (1, 1, "acme", channel), ("acme",), **fields)


def test_rows_go_in_batches_of_thirty_and_no_more_of_them_than_allowed(bench: Bench) -> None:
    works = [bench.begin([touch(str(n))]) for n in range(200)]
    bench.turn()
    assert [response.rows for response in bench.database.sent] == [30, 30, 30, 30]
    while bench.database.sent:
        bench.database.sent.popleft().answer()
        bench.turn()
    assert bench.store.idle
    assert set(bench.finished) == set(works)


def test_a_step_begins_when_the_one_before_it_is_confirmed(bench: Bench) -> None:
    def steps() -> Steps:
        yield [touch("a"), touch("b")]
        (rows,) = yield [Read(tables.FIND_MESSAGE, ("acme", "m"))]
        assert rows == [("c", 1), ("c", 2)]
        yield [touch("d")]

    work = bench.begin(steps())
    bench.turn()
    bench.turn()
    assert len(bench.database.sent) == 1
    bench.database.sent.popleft().answer()
    bench.turn()
    bench.turn()
    (read,) = bench.database.sent
    read.answer([("c", 1)], [("c", 2)])  # two pages
    bench.database.sent.clear()
    bench.turn()
    bench.turn()
    bench.database.sent.popleft().answer()
    bench.turn()
    assert bench.finished == [work]


def test_a_failed_request_is_repeated_until_it_is_confirmed_ever_more_slowly(bench: Bench) -> None:
    work = bench.begin([touch()])
    waited: list[float] = []
    for _ in range(12):
        bench.turn()
        while not bench.database.sent:
            bench.clock.advance(0.01)
            waited[-1] += 0.01
            bench.turn()
        assert not bench.store.idle
        bench.database.sent.popleft().fail(OperationTimedOut())
        bench.turn()
        assert bench.store.failing == "OperationTimedOut"
        waited.append(0.0)
    assert waited[0] < 0.06
    assert 2.5 <= waited[-2] <= 5.1
    bench.clock.advance(5)
    bench.turn()
    bench.database.sent.popleft().answer()
    bench.turn()
    assert bench.finished == [work]
    assert bench.store.failing is None
    assert bench.store.idle


def test_a_row_that_many_need_is_written_once(bench: Bench) -> None:
    works = [bench.begin([touch("c", shared=True)]) for _ in range(5)]
    bench.turn()
    (response,) = bench.database.sent
    assert response.rows == 1
    late = bench.begin([touch("c", shared=True)])
    bench.turn()
    assert len(bench.database.sent) == 1
    bench.database.sent.popleft().answer()
    bench.turn()
    assert bench.finished == [*works, late]
    bench.begin([touch("c", shared=True)])
    bench.turn()
    assert len(bench.database.sent) == 1


def refuse(bench: Bench, message: str, turns: int = 12) -> None:
    """Answer everything but a batch or the row alone in its request, which are called invalid."""
    for _ in range(turns):
        bench.clock.advance(5)
        bench.turn()
        for _ in range(len(bench.database.sent)):
            response = bench.database.sent.popleft()
            if response.rows > 1 or b"poison" in response.statement.values:
                response.fail(InvalidRequest(message))
            else:
                response.answer()
        bench.turn()


def test_a_refused_row_is_told_apart_from_its_neighbours_and_given_up(bench: Bench) -> None:
    poison = bench.begin([touch("poison")])
    good = [bench.begin([touch(str(n))]) for n in range(5)]
    for n in range(6):
        good.append(bench.begin([touch(f"later {n}")]))
        refuse(bench, "nonsense", turns=2)
    assert poison.refused is not None
    assert set(bench.finished) == {poison, *good}
    assert bench.store.idle


def test_a_missing_table_is_no_fault_of_the_row(bench: Bench) -> None:
    poison = bench.begin([touch("poison")])
    for n in range(6):
        bench.begin([touch(f"later {n}")])
        refuse(bench, "unconfigured table channels", turns=2)
    assert poison.refused is None
    assert poison not in bench.finished
    assert not bench.store.idle


def test_nothing_is_given_up_while_cassandra_takes_nothing(bench: Bench) -> None:
    poison = bench.begin([touch("poison")])
    refuse(bench, "nonsense", turns=20)
    assert poison.refused is None
    assert not bench.finished


def test_rows_of_other_replicas_never_share_a_batch() -> None:
    bench = Bench(hosts=3)
    for number in range(60):
        bench.begin([Row(tables.TOUCH_CHANNEL, (1, 1, chr(97 + number % 3), "c"), (chr(97 + number % 3),))])
    bench.turn()
    assert [response.rows for response in bench.database.sent] == [20, 20, 20]


def test_the_routing_key_is_cassandras() -> None:
    assert routing_key(("acme",)) == b"acme"
    assert routing_key(("é", 1)) == b"\x00\x02\xc3\xa9\x00" + b"\x00\x08" + b"\0" * 7 + b"\x01\x00"
