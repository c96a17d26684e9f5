"""When a round is begun: at once, but for what the last one failed at, which is tried again ever more rarely."""

from collections.abc import Iterable
from datetime import date, datetime
from typing import Final

import structlog

from analytics.reports.job import Plan
from infra.runtime.clock import Clock
from infra.runtime.health import Check

log = structlog.get_logger("hubbub.reports")

#: Seconds between two rounds at most. A round is a start of Spark, most of a minute of a small machine.
LONGEST: Final = 900.0

#: A report, a tenant and the first day of a period, and when that was last made: made again since, it is another.
Period = tuple[str, str, date, datetime | None]


class Retries:
    """The periods of the last round, if it failed, and how long they wait. As a check it says so, and always holds."""

    def __init__(self, first: float, clock: Clock) -> None:
        """After a first failure they wait `first` seconds, then twice as long after each."""
        self._first = first
        self._clock = clock
        self._failures = 0
        self._tried: frozenset[Period] = frozenset()
        self._not_before = 0.0

    def is_due(self, periods: frozenset[Period]) -> bool:
        """Whether a round is to be begun for these: for others than those that wait, always."""
        return bool(periods) and (self._wait <= 0 or not periods <= self._tried)

    def ended(self, periods: frozenset[Period], code: int | None) -> None:
        """The round for these has ended with this exit code; None, if it was cut off, says nothing about it."""
        if code == 0:
            self._failures, self._tried = 0, frozenset()
        elif code is not None:
            # More than doubling it this often is over the bound for any first.
            seconds = min(LONGEST, self._first * 2.0 ** min(self._failures, 30))
            self._failures, self._tried = self._failures + 1, periods
            self._not_before = self._clock.monotonic() + seconds
            log.warning("report.retry", failures=self._failures, periods=len(periods), seconds=seconds)

    def __call__(self) -> Check:
        if not self._failures:
            return Check(True)
        seconds = max(0.0, self._wait)
        return Check(True, f"{len(self._tried)} periods wait {seconds:.0f} s; rounds failed in a row: {self._failures}")

    @property
    def _wait(self) -> float:
        return self._not_before - self._clock.monotonic()


def periods_of(plans: Iterable[Plan]) -> frozenset[Period]:
    """What is planned."""
    found = (
        (plan, tenant, task.span.day, plan.before.get((tenant, task.span.day)))
        for plan in plans
        for task in plan.tasks
        for tenant in task.tenants
    )
    return frozenset(
        (plan.report.name, tenant, day, run.finished_at if run is not None else None)
        for plan, tenant, day, run in found
    )
