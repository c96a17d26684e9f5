"""Whose reports are made by themselves, and that one which fails stands in nobody's way."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest
from structlog.testing import capture_logs

from analytics.reports.due import make_all, zones
from infra.contracts.control import CANARY, Tenant
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
    """A job of which some reports cannot be made."""

    def __init__(self, **failures: Exception) -> None:
        self.failures = failures
        self.made: list[str] = []

    def make(self, plan: Any) -> Iterator[Any]:
        if failure := self.failures.get(plan.report.name):
            raise failure
        self.made.append(plan.report.name)
        yield plan


PLANS = cast(Any, [SimpleNamespace(report=SimpleNamespace(name=name)) for name in ("backfill", "daily", "weekly")])


def test_a_report_that_fails_keeps_no_other_from_being_made() -> None:
    job = Making(daily=ValueError("no such column"))
    with capture_logs() as logs:
        assert make_all(cast(Any, job), PLANS) == 1
    assert job.made == ["backfill", "weekly"]
    assert [(line["event"], line["report"], line["error"]) for line in logs] == [
        ("report.failed", "daily", "ValueError: no such column")
    ]


def test_without_an_engine_the_round_is_over() -> None:
    job = Making(daily=Unreachable("Cassandra", "127.0.0.1:9042", "Is it running?"))
    with pytest.raises(Unreachable):
        make_all(cast(Any, job), PLANS)
    assert job.made == ["backfill"]
