"""The auditor's loop: in which order it asks and reads, what it stores when, and where it begins."""

from datetime import UTC, datetime, timedelta
from typing import Any, cast

import msgspec
import pytest
from cassandra import OperationTimedOut
from prometheus_client import REGISTRY

from infra.contracts import headers
from infra.contracts.events import to_ms
from infra.contracts.ledger import Stage, State
from infra.contracts.records import Accounting
from infra.runtime.clock import ManualClock
from streams.ledger.auditor import Auditor
from streams.ledger.settings import LedgerSettings
from tests.unit.streams.fake_ledger import FakeMessage, FakeReader, FakeStore

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
INGEST, CLAIMS, SIGNALS = ("ingest", 0), ("accounting", 0), ("signals", 0)


class Desk:
    """An auditor over fakes, at half past a minute."""

    def __init__(self, resume_from: datetime | None = None, **settings: Any) -> None:
        self.clock = ManualClock(NOON + timedelta(seconds=30))
        self.reader, self.store = FakeReader(), FakeStore(resume_from)
        self.auditor = Auditor(cast(Any, self.reader), cast(Any, self.store), LedgerSettings(**settings), self.clock)
        self.auditor.start()

    def accept(self, offset: int = 0) -> None:
        self.reader.waiting.append((INGEST, FakeMessage(offset, b'[{"tenant":"acme"}]', at_ms=to_ms(NOON))))
        self.reader.end[INGEST] = offset + 1

    def claim(self, offset: int = 0) -> None:
        value = msgspec.json.encode(Accounting(appended_at=NOON, accepted=1, tenants={"acme": {"signals": 1}}))
        source = [(headers.SRC, b"ingest/0/%d/-1" % offset)]
        self.reader.waiting.append((CLAIMS, FakeMessage(offset, value, found=source)))

    def signal(self, offset: int = 0) -> None:
        source = [(headers.SRC, b"ingest/0/%d/0" % offset)]
        self.reader.waiting.append((SIGNALS, FakeMessage(offset, b"{}", key=b"acme:ada", found=source)))

    def step(self, seconds: float = 2) -> None:
        self.clock.advance(seconds)
        self.auditor.read()
        self.auditor.check()

    def told(self) -> tuple[State, Stage | None]:
        (row,) = self.store.rows.values()
        return row.state, row.stage


def different(stage: Stage) -> float | None:
    return REGISTRY.get_sample_value("hubbub_ledger_minutes", {"state": "different", "stage": stage.value})


def test_a_lost_output_is_named_within_seconds_of_the_routers_commit():
    desk = Desk()
    desk.accept()
    desk.claim()
    desk.step()
    desk.step()
    assert desk.told() == (State.OPEN, None)
    desk.reader.done["router"][INGEST] = 1
    desk.step()
    desk.step()
    assert desk.told() == (State.DIFFERENT, Stage.TOPICS)
    assert different(Stage.TOPICS) == 1
    desk.signal()
    desk.step()
    assert desk.told() == (State.OPEN, None)
    assert different(Stage.TOPICS) == 0
    desk.step(60)
    desk.step()
    assert desk.told() == (State.BALANCED, None)


def test_what_the_log_held_when_the_router_committed_is_read_before_anything_is_called_lost():
    desk = Desk()
    desk.accept()
    desk.claim()
    desk.step()
    desk.reader.done["router"][INGEST] = 1
    desk.reader.end[SIGNALS] = 1
    for _ in range(10):
        desk.step()
    assert desk.told() == (State.OPEN, None)
    desk.signal()
    desk.step()
    desk.step(60)
    desk.step()
    assert desk.told() == (State.BALANCED, None)


def test_the_stages_are_asked_before_the_ends_of_the_log():
    desk = Desk()
    desk.step()
    assert desk.reader.asked[:3] == ["router", "history", "ends"]


def test_a_part_of_a_minute_never_replaces_what_is_stored():
    desk = Desk(resume_from=NOON)
    desk.accept(offset=1)
    desk.reader.end[INGEST] = 5
    desk.step()
    assert desk.store.rows == {}
    assert desk.store.progress is None
    assert desk.auditor.progress().ok, "it reads, which is what it should do"
    assert desk.auditor.lag == 3


def test_what_cassandra_did_not_take_is_written_the_next_time():
    desk = Desk()
    desk.accept()
    desk.store.fail = OperationTimedOut()
    desk.step()
    assert desk.store.rows == {}
    desk.step()
    assert desk.told() == (State.OPEN, None)
    desk.step()
    assert desk.store.writes == 1, "and no more often than it changes"


def test_a_record_that_nobody_of_ours_wrote_does_not_stop_it():
    desk = Desk()
    desk.reader.waiting.append((SIGNALS, FakeMessage(0, b"{}", key=b"acme:ada")))
    desk.accept()
    desk.step()
    assert len(desk.store.rows) == 1


@pytest.mark.parametrize(
    ("resume_from", "start"),
    [
        (None, NOON - timedelta(minutes=10)),
        (NOON - timedelta(hours=3), NOON - timedelta(hours=3)),
        (NOON - timedelta(days=9), NOON - timedelta(days=1)),
        (NOON + timedelta(minutes=5), NOON),
    ],
)
def test_it_begins_where_the_one_before_was_done(resume_from, start):
    assert Desk(resume_from).reader.started_at == start


def test_it_resumes_from_the_first_minute_that_is_not_balanced():
    desk = Desk()
    desk.accept()
    desk.step()
    desk.step(600)
    desk.step()
    assert desk.store.progress is not None
    assert desk.store.progress[0] == NOON
    desk.claim()
    desk.signal()
    desk.step()
    desk.step()
    assert desk.store.progress[0] == NOON + timedelta(minutes=10)


def test_the_side_that_is_ahead_waits_and_never_both():
    desk = Desk(open_records=2)
    for offset in range(3):
        desk.accept(offset)
    desk.step()
    assert desk.reader.paces[-1] == (False, True)
    for offset in range(3, 6):
        desk.claim(offset)
    desk.step()
    assert desk.reader.paces[-1] == (False, True)
    for offset in range(3):
        desk.claim(offset)
    desk.step()
    assert desk.reader.paces[-1] == (True, False)
