"""Whose reports are made by themselves, and that one which fails stands in nobody's way."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest
from structlog.testing import capture_logs

from analytics.reports.due import Round, zones
from analytics.reports.report import Report
from infra.contracts.control import CANARY, Tenant
from infra.runtime.clock import ManualClock
from infra.runtime.errors import Unreachable


def test_each_tenant_in_its_zone_but_the_canary_and_one_whose_zone_nobody_knows() -> None:
    known = [
        Tenant(id="acme", timezone="Asia/Kathmandu"),
        Tenant(id="other"),
        CANARY,
        Tenant(id="lost", timezone="X/Y"),
    ]
    with capture_logs() as logs:
        found = zones({tenant.id: tenant for tenant in known})
    assert found == {"acme": ZoneInfo("Asia/Kathmandu"), "other": ZoneInfo("UTC")}
    assert [(line["event"], line["tenant"]) for line in logs] == [("report.unknown_zone", "lost")]


class Making:
    """A schedule and job of periods that take a while to make; some reports fail, and some become due meanwhile."""

    def __init__(self, *due: tuple[str, int], late: Mapping[float, str] = {}, **failures: Exception) -> None:
        """`due` are reports with how many periods of each; `late` corrections by the second at which they are due."""
        self.clock = ManualClock(datetime(2026, 3, 14, 9, tzinfo=UTC))
        self.left = {(name, f"{name} {n}") for name, count in due for n in range(count)}
        self.late = dict(late)
        self.failures = failures
        self.made: dict[str, float] = {}
        self.looks = 0

    def plans(self, tenants: Any, now: datetime, reports: Sequence[Report]) -> Iterator[Any]:
        assert tenants == TENANTS
        self.looks += 1
        came = {at: period for at, period in self.late.items() if at <= self.clock.monotonic()}
        self.left |= {("backfill", self.late.pop(at)) for at in came}
        for report in reports:
            if tasks := [period for name, period in sorted(self.left, reverse=True) if name == report.name]:
                yield SimpleNamespace(report=report, tasks=tasks)

    def make(self, plan: Any) -> Iterator[Any]:
        for period in plan.tasks:
            if failure := self.failures.get(plan.report.name):
                raise failure
            self.clock.advance(TAKES)
            self.left.remove((plan.report.name, period))
            self.made[period] = self.clock.monotonic()
            yield period

    def run(self) -> int:
        return Round(cast(Any, self), cast(Any, self), lambda: TENANTS, self.clock, EVERY).run()


TAKES, EVERY = 20.0, 30.0
TENANTS = {"acme": ZoneInfo("UTC")}
BROKEN = ValueError("no such column")


def test_a_report_that_fails_keeps_no_other_from_being_made() -> None:
    making = Making(("backfill", 1), ("daily", 2), ("weekly", 1), daily=BROKEN)
    with capture_logs() as logs:
        assert making.run() == 1
    assert list(making.made) == ["backfill 0", "weekly 0"]
    assert [(line["event"], line["report"], line["error"]) for line in logs] == [
        ("report.failed", "daily", "ValueError: no such column")
    ]


def test_without_an_engine_the_round_is_over() -> None:
    making = Making(("backfill", 1), ("daily", 1), daily=Unreachable("Cassandra", "127.0.0.1:9042", "Is it running?"))
    with pytest.raises(Unreachable):
        making.run()
    assert list(making.made) == ["backfill 0"]


def test_a_correction_that_becomes_due_in_a_long_round_does_not_wait_for_its_end() -> None:
    making = Making(("backfill", 1), ("daily", 50), ("weekly", 50), late={100.0: "marked", 1_500.0: "marked again"})
    assert making.run() == 0
    assert len(making.made) == 103
    assert next(iter(making.made)) == "backfill 0"
    assert 100 < making.made["marked"] <= 100 + EVERY + 2 * TAKES
    assert 1_500 < making.made["marked again"] <= 1_500 + EVERY + 2 * TAKES
    # A look takes a second or two, so not one a period.
    assert making.looks <= making.clock.monotonic() / EVERY + 4


def test_nor_does_it_wait_for_the_corrections_of_older_days() -> None:
    making = Making(("backfill", 100), ("daily", 1), late={300.0: "marked"})
    assert making.run() == 0
    assert 300 < making.made["marked"] <= 300 + EVERY + 2 * TAKES
    assert list(making.made)[-1] == "daily 0"
    assert len(making.made) == 102


def test_corrections_that_fail_are_not_tried_twice_in_a_round() -> None:
    making = Making(("backfill", 3), ("daily", 10), late={100.0: "marked"}, backfill=BROKEN)
    with capture_logs() as logs:
        assert making.run() == 1
    assert [(line["event"], line["report"]) for line in logs] == [("report.failed", "backfill")]
    assert len(making.made) == 10
