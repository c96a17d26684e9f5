"""One round of what is due, in a process of its own: Spark is started when something is, and goes with it."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import structlog

from analytics.reports.connections import open_job
from analytics.reports.job import Job, Plan, Task
from analytics.reports.report import Report
from analytics.reports.schedule import CORRECTIONS, OTHERS, Schedule
from analytics.reports.settings import Reports
from analytics.session import DELTA, find_java, start_session
from analytics.settings import Analytics, Java
from infra.contracts.control import CANARY, Tenant
from infra.runtime import logs
from infra.runtime.clock import Clock, SystemClock
from infra.runtime.control import ControlFollower
from infra.runtime.errors import PreconditionError
from infra.runtime.settings import Cassandra, Kafka, Runtime

log = structlog.get_logger("hubbub.reports")

#: Those who wait for live numbers go first.
_NICE = 5
_ERROR_CHARS = 1_500


def zones(tenants: Mapping[str, Tenant]) -> dict[str, ZoneInfo]:
    """The time zone of each tenant but the canary's; one not known here is told, and its tenant left out."""
    found = {}
    for name, tenant in sorted(tenants.items()):
        if name == CANARY.id:
            continue
        try:
            found[name] = ZoneInfo(tenant.timezone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            log.error("report.unknown_zone", tenant=name, timezone=tenant.timezone, error=str(error))
    return found


class Round:
    """Makes what is due, one period after the other; a report that fails must not keep the others from being made.

    A round may take hours. So between two periods, each `every` seconds, it is looked which windows are to be corrected
    by now: those come first, the newest first of all.
    """

    def __init__(
        self, job: Job, schedule: Schedule, tenants: Callable[[], Mapping[str, ZoneInfo]], clock: Clock, every: float
    ) -> None:
        self._job = job
        self._schedule = schedule
        self._tenants = tenants
        self._clock = clock
        self._every = every
        self._looked = clock.monotonic()
        self._failed: set[str] = set()

    def run(self) -> int:
        """Make it all, and return how many reports failed. Raises `PreconditionError` when an engine is not there."""
        self._correct()
        for plan in self._due(OTHERS):
            for _ in self._made(plan):
                if self._is_time():
                    self._correct()
        return len(self._failed)

    def _correct(self) -> None:
        """Make corrections until none is due; what is left of them when it is time to look is due still."""
        more = True
        while more:
            self._looked = self._clock.monotonic()
            more = any(self._is_time() for plan in self._due(CORRECTIONS) for _ in self._made(plan))

    def _due(self, reports: Sequence[Report]) -> Iterator[Plan]:
        return self._schedule.plans(self._tenants(), self._clock.now(), reports)

    def _is_time(self) -> bool:
        return self._clock.monotonic() - self._looked >= self._every

    def _made(self, plan: Plan) -> Iterator[Task]:
        """Each period once it is made. One that fails ends its report for this round."""
        name = plan.report.name
        if name in self._failed:
            return
        try:
            yield from self._job.make(plan)
        except PreconditionError:
            raise
        except Exception as error:
            self._failed.add(name)
            log.error("report.failed", report=name, error=f"{type(error).__name__}: {error}"[:_ERROR_CHARS])


def main() -> int:
    """Make what is due. Returns 0, 1 when a report failed, or 3 when something all of them need is not there."""
    os.nice(_NICE)
    kafka, cassandra, runtime, settings = Kafka(), Cassandra(), Runtime(), Reports()
    logs.configure(runtime, "reports")
    follower = ControlFollower(kafka, "hubbub-reports")
    try:
        directory = follower.start()
        home = find_java(Java().java_home, os.environ)
        with open_job(kafka, cassandra, lambda: start_session(Analytics(), home, DELTA)) as (job, runs):
            schedule = Schedule(job=job, runs=runs, days=settings.days)
            failed = Round(job, schedule, lambda: zones(directory.tenants), SystemClock(), settings.check_seconds).run()
    except PreconditionError as error:
        log.error("report.not_made", error=str(error))
        return 3
    finally:
        follower.stop()
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
