"""The canary against an ingest, a live stream and a history that do as they are told."""

import json
import threading
from datetime import UTC, datetime

import httpx
import pytest

from infra.runtime.clock import ManualClock
from streams.ledger.canary import Canary

START = datetime(2026, 3, 14, 12, tzinfo=UTC)


class TickingClock(ManualClock):
    """A second passes between any two looks at it."""

    def monotonic(self) -> float:
        self.advance(1)
        return super().monotonic()


class World:
    """What the canary meets. `reaches` are the stages that get to have it."""

    def __init__(self, *reaches: str) -> None:
        self.reaches = set(reaches)
        self.clock = TickingClock(START)
        self.sent: list[dict[str, object]] = []
        self.stopping = threading.Event()
        self.canary = Canary(
            ingest_url="http://ingest",
            api_url="http://api",
            secret="hub_write_x",
            stored=self.stored,
            clock=self.clock,
            every=5,
            lost_after=10,
            stall=30,
            stopping=self.stopping,
        )

    def fly(self) -> str | None:
        return self.canary.fly(httpx.Client(transport=httpx.MockTransport(self.accept)))

    def accept(self, request: httpx.Request) -> httpx.Response:
        if "ingest" not in self.reaches:
            return httpx.Response(503)
        self.sent.append(json.loads(request.content))
        if "live" in self.reaches:
            self.canary._seen = str(self.sent[-1]["id"])
        return httpx.Response(200)

    def stored(self) -> str | None:
        return str(self.sent[-1]["id"]) if "history" in self.reaches else None


def test_one_that_arrives_everywhere_makes_it_ready_for_a_while() -> None:
    world = World("ingest", "live", "history")
    assert not world.canary.check().ok
    assert world.fly() is None
    assert world.canary.check().ok
    assert world.canary.seconds == {"ingest": 1.0, "live": 2.0, "history": 3.0}
    assert world.canary.check().detail.startswith("ingest 1000 ms, live 2000 ms, history 3000 ms; ")
    world.clock.advance(31)
    assert not world.canary.check().ok
    assert world.fly() is None
    assert world.canary.check().ok


@pytest.mark.parametrize(
    ("reaches", "missing", "trouble"),
    [
        ((), "ingest", "ingest answered 503"),
        (("ingest", "history"), "live", "live has not shown it after 10 s"),
        (("ingest", "live"), "history", "history has not shown it after 10 s"),
        (("ingest",), "live", "live has not shown it after 10 s"),
    ],
)
def test_the_first_stage_that_does_not_have_it_is_named(reaches: tuple[str, ...], missing: str, trouble: str) -> None:
    world = World(*reaches)
    assert world.fly() == missing
    assert world.canary.check().detail == trouble
    world.reaches = {"ingest", "live", "history"}
    assert world.fly() is None
    world.reaches = set(reaches)
    assert world.fly() == missing
    assert world.canary.check().ok  # for one that is lost nobody is woken
    world.clock.advance(31)
    assert trouble in world.canary.check().detail


def test_one_that_arrives_as_its_time_runs_out_has_arrived() -> None:
    class Slow(World):
        def stored(self) -> str | None:
            self.clock.advance(20)
            return super().stored()

    assert Slow("ingest", "live", "history").fly() is None


def test_it_counts_nowhere() -> None:
    world = World("ingest", "live", "history")
    world.fly()
    assert world.sent[0]["type"] == "receipt.read"
    assert world.sent[0]["is_bot"] is True


def test_an_ingest_that_is_not_there_is_told_apart() -> None:
    world = World()

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    assert world.canary.fly(httpx.Client(transport=httpx.MockTransport(refuse))) == "ingest"
    assert world.canary.check().detail == "ingest does not answer (ConnectError)"


def test_one_that_can_fly_no_more_stops_its_role(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()

    def fail(client: httpx.Client) -> str | None:
        raise RuntimeError

    monkeypatch.setattr(world.canary, "_watch", lambda: None)
    monkeypatch.setattr(world.canary, "fly", fail)
    world.canary.start()
    assert world.stopping.wait(10)
    assert world.canary.fatal == "RuntimeError"
