"""The ledger's books: what is counted once, what is named as different, late or balanced, and what is forgotten."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from infra.contracts.events import to_ms
from infra.contracts.headers import WHOLE, Src
from infra.contracts.ledger import Minute, Stage, State
from infra.contracts.records import Accounting, Outcome
from streams.ledger.books import TP, Books, Evidence

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=1, seconds=30)
INPUT: TP = ("ingest", 3)
EVENTS: TP = ("events", 5)


class Desk:
    """The books with the pipeline's hand: records go in, are claimed and put out as a test says."""

    def __init__(self, **settings: Any) -> None:
        self.books = Books({INPUT: 0}, **{"settle_seconds": 20, "horizon_seconds": 7200, **settings})
        self.now = 0.0
        self._ends: dict[TP, int] = {}

    def put(self, offset: int, at: datetime = NOON, **tenants: int) -> None:
        self.books.take_input(INPUT, offset, to_ms(at), tenants, self.now)

    def claim(self, offset: int, accepted: int, tenants: Mapping[str, Mapping[str, int]], at: datetime = NOON) -> None:
        claim = Accounting(appended_at=at, accepted=accepted, tenants=tenants)
        self.books.take_claim(Src(*INPUT, offset, WHOLE), claim)

    def output(self, offset: int, index: int, tenant: str, outcome: Outcome = "events", place: TP = EVENTS) -> None:
        self._ends[place] = self._ends.get(place, 0) + 1
        self.books.take_output(Src(*INPUT, offset, index), outcome, tenant, place, self._ends[place] - 1)

    def whole(self, offset: int, at: datetime = NOON) -> None:
        """A record of one event, wholly processed."""
        self.put(offset, at, acme=1)
        self.claim(offset, 1, {"acme": {"events": 1}}, at)
        self.output(offset, 0, "acme")

    def judged(
        self,
        at: datetime = LATER,
        router: int = 100,
        read_until: datetime | None = None,
        history: int = 100,
        analytics: int = 100,
    ) -> dict[str, Minute]:
        """The minutes by tenant, of which there is one in most tests."""
        self.books.learn(
            Evidence(
                read_until_ms=to_ms(read_until or at),
                router={INPUT: router},
                history={EVENTS: history, ("held", 1): history},
                analytics={EVENTS: analytics, ("held", 1): analytics},
            )
        )
        return {m.tenant: m for m in self.books.minutes(to_ms(at))}


def test_a_minute_that_every_stage_agrees_on_is_balanced_and_adds_up():
    desk = Desk()
    desk.put(0, acme=5, other=1)
    desk.claim(
        0, 6, {"acme": {"events": 1, "signals": 1, "held": 1, "blocked": 1, "duplicates": 1}, "other": {"dlq": 1}}
    )
    desk.output(0, 0, "acme")
    desk.output(0, 1, "acme", "signals", ("signals", 0))
    desk.output(0, 2, "acme", "held", ("held", 1))
    desk.output(0, 3, "acme", "blocked", ("held", 1))
    desk.output(0, 5, "other", "dlq", ("dlq", 2))
    minutes = desk.judged()
    assert minutes["acme"] == Minute(
        tenant="acme",
        start=NOON,
        accepted=5,
        events=1,
        signals=1,
        held=1,
        blocked=1,
        dlq=0,
        duplicates=1,
        state=State.BALANCED,
    )
    assert (minutes["other"].accepted, minutes["other"].dlq, minutes["other"].state) == (1, 1, State.BALANCED)
    assert desk.books.open_records == 0


def test_replays_of_the_router_count_once_before_and_after_the_record_is_settled():
    desk = Desk()
    desk.put(0, acme=3)
    for _ in range(3):
        desk.claim(0, 3, {"acme": {"events": 3}})
        desk.output(0, 0, "acme")
    assert desk.judged(router=0)["acme"].events == 1
    for _ in range(2):
        for index in range(3):
            desk.output(0, index, "acme")
        desk.claim(0, 3, {"acme": {"events": 3}})
    found = desk.judged()["acme"]
    assert (found.accepted, found.events, found.state) == (3, 3, State.BALANCED)
    assert desk.books.open_records == desk.books.unread == desk.books.unclaimed == 0


def test_the_order_of_the_topics_does_not_matter():
    desk = Desk()
    desk.output(0, 0, "acme")
    desk.claim(0, 1, {"acme": {"events": 1}})
    assert (desk.books.unread, desk.books.unclaimed) == (1, 0)
    desk.put(0, acme=1)
    assert desk.judged()["acme"].state is State.BALANCED
    assert (desk.books.unread, desk.books.unclaimed) == (0, 0)


def test_an_output_that_is_missing_is_named_at_once_and_heals_when_it_comes():
    desk = Desk()
    desk.whole(0)
    desk.put(7, acme=2)
    desk.claim(7, 2, {"acme": {"events": 2}})
    desk.output(7, 1, "acme")
    # The router has not confirmed the record yet, so the output may still be under way.
    assert desk.judged(NOON + timedelta(seconds=5), router=7)["acme"].state is State.OPEN
    # It has, and everything written before that has been read: no clock is waited for.
    found = desk.judged(NOON + timedelta(seconds=5), router=8)["acme"]
    assert (found.start, found.state, found.stage) == (NOON, State.DIFFERENT, Stage.TOPICS)
    assert (found.expected, found.found, found.src) == (3, 2, "ingest/3/7")
    assert (found.accepted, found.events) == (3, 2)
    desk.output(7, 0, "acme")
    assert desk.judged()["acme"].state is State.BALANCED


def test_an_input_record_without_accounting_is_different_behind_the_routers_commit_and_late_before_it():
    desk = Desk()
    desk.whole(0)
    desk.put(1, acme=3)
    assert desk.judged(NOON + timedelta(seconds=79), router=1)["acme"].state is State.OPEN
    late = desk.judged(NOON + timedelta(seconds=81), router=1)["acme"]
    assert (late.state, late.stage, late.expected, late.found) == (State.LATE, Stage.ROUTER, 4, 1)
    lost = desk.judged(router=2)["acme"]
    assert (lost.state, lost.stage, lost.src) == (State.DIFFERENT, Stage.ROUTER, "ingest/3/1")


def test_a_claim_that_does_not_add_up_is_different_for_the_tenant_it_is_about():
    desk = Desk()
    desk.put(0, acme=2, other=1)
    desk.claim(0, 3, {"acme": {"events": 1}, "other": {"events": 1}})
    desk.output(0, 0, "acme")
    desk.output(0, 2, "other")
    found = desk.judged(router=0)
    assert (found["acme"].state, found["acme"].stage) == (State.DIFFERENT, Stage.ROUTER)
    assert (found["acme"].expected, found["acme"].found) == (2, 1)
    assert found["other"].state is State.BALANCED


def test_an_event_that_stands_in_two_topics_is_different():
    desk = Desk()
    desk.put(0, acme=1)
    desk.output(0, 0, "acme", "held", ("held", 1))
    desk.output(0, 0, "acme")
    desk.claim(0, 1, {"acme": {"events": 1}})
    found = desk.judged()["acme"]
    assert (found.state, found.stage, found.expected, found.found) == (State.DIFFERENT, Stage.TOPICS, 1, 2)


def test_history_and_analytics_that_have_not_followed_are_late_and_named_in_this_order():
    desk = Desk()
    desk.whole(0)
    desk.whole(1)
    assert desk.judged(NOON + timedelta(seconds=70), history=1, analytics=1)["acme"].state is State.OPEN
    found = desk.judged(history=1, analytics=1)["acme"]
    assert (found.state, found.stage, found.expected, found.found) == (State.LATE, Stage.HISTORY, 2, 0)
    found = desk.judged(history=2, analytics=1)["acme"]
    assert (found.state, found.stage) == (State.LATE, Stage.ANALYTICS)
    assert desk.judged(history=2, analytics=2)["acme"].state is State.BALANCED


def test_history_is_asked_for_the_last_record_of_a_minute_in_whatever_order_they_settle():
    desk = Desk()
    for offset in (0, 1):
        desk.put(offset, acme=1)
        desk.output(offset, 0, "acme")
    for offset in (1, 0):
        desk.claim(offset, 1, {"acme": {"events": 1}})
    assert desk.judged(history=1)["acme"].stage is Stage.HISTORY


def test_a_minute_is_not_balanced_before_all_of_it_is_read():
    desk = Desk()
    desk.whole(0)
    assert desk.judged(read_until=NOON + timedelta(seconds=59))["acme"].stage is Stage.LEDGER
    assert desk.judged(read_until=NOON + timedelta(seconds=60))["acme"].state is State.BALANCED


def test_only_minutes_that_changed_are_stored():
    desk = Desk()
    desk.whole(0)
    minutes = list(desk.judged().values())
    assert desk.books.changed(minutes) == minutes
    desk.books.stored(minutes)
    assert desk.books.changed(desk.judged().values()) == []
    desk.whole(1)
    assert [m.accepted for m in desk.books.changed(desk.judged().values())] == [2]


def test_what_is_balanced_is_forgotten_and_stays_counted_once():
    desk = Desk()
    desk.whole(0)
    minutes = list(desk.judged(NOON + timedelta(seconds=79)).values())
    desk.books.close(minutes, 0, 100)
    assert list(desk.judged(NOON + timedelta(seconds=79))), "a broker's clock may be behind"
    desk.books.close(list(desk.judged().values()), 0, 100)
    assert desk.judged() == {}
    assert desk.books.resume_from_ms == to_ms(NOON + timedelta(minutes=1))
    desk.output(0, 0, "acme")
    desk.claim(0, 1, {"acme": {"events": 1}})
    assert desk.books.open_records == 0


def test_what_stays_different_is_kept_for_the_horizon_and_then_given_up():
    desk = Desk()
    desk.put(0, acme=1)
    minutes = list(desk.judged().values())
    assert desk.books.close(minutes, 7200, 100) == []
    assert desk.books.resume_from_ms == to_ms(NOON)
    assert desk.books.close(minutes, 7201, 100) == [to_ms(NOON)]
    assert desk.judged() == {}
    assert desk.books.open_records == desk.books.unclaimed == 0


def test_memory_is_bounded_by_giving_up_the_oldest_of_what_is_different():
    desk = Desk()
    for offset in range(10):
        at = NOON + timedelta(minutes=offset)
        desk.put(offset, at, acme=1)
        desk.claim(offset, 1, {"acme": {"events": 1}}, at)
    desk.judged(NOON + timedelta(minutes=11))
    minutes = list(desk.books.minutes(to_ms(NOON + timedelta(minutes=11))))
    given_up = desk.books.close(minutes, 0, 4)
    assert given_up == [to_ms(NOON + timedelta(minutes=minute)) for minute in range(6)]
    assert desk.books.open_records == 4


def test_a_settled_record_takes_no_memory():
    desk = Desk()
    for offset in range(1_000):
        desk.whole(offset)
    assert desk.books.open_records == 0
    assert desk.judged(router=1_000, history=1_000, analytics=1_000)["acme"].events == 1_000


def test_what_came_before_the_books_is_not_in_them():
    desk = Desk()
    desk.books = Books({INPUT: 5}, settle_seconds=20, horizon_seconds=7200)
    desk.claim(4, 1, {"acme": {"events": 1}})
    desk.output(4, 0, "acme")
    desk.books.take_output(Src("elsewhere", 0, 9, 0), "events", "acme", EVENTS, 8)
    assert desk.books.open_records == 0


def test_signals_that_the_log_may_have_forgotten_are_believed():
    for signals_from, state in ((NOON, State.DIFFERENT), (NOON + timedelta(minutes=1), State.BALANCED)):
        desk = Desk(signals_from_ms=to_ms(signals_from))
        desk.put(0, acme=1)
        desk.claim(0, 1, {"acme": {"signals": 1}})
        assert desk.judged()["acme"].state is state
