"""One round of what is due, in a process of its own: Spark is started when something is, and goes with it."""

import os
from collections.abc import Iterable, Mapping
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import structlog

from analytics.reports.connections import open_job
from analytics.reports.job import Job, Plan
from analytics.reports.schedule import Schedule
from analytics.reports.settings import Reports
from analytics.session import DELTA, find_java, start_session
from analytics.settings import Analytics, Java
from infra.contracts.control import CANARY, Tenant
from infra.runtime import logs
from infra.runtime.clock import SystemClock
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


def make_all(job: Job, plans: Iterable[Plan]) -> int:
    """Make what is planned, and return how many reports failed: one that does must not keep the others from being made.

    Raises `PreconditionError` when an engine does not answer.
    """
    failed = 0
    for plan in plans:
        try:
            for _ in job.make(plan):
                pass
        except PreconditionError:
            raise
        except Exception as error:
            failed += 1
            log.error("report.failed", report=plan.report.name, error=f"{type(error).__name__}: {error}"[:_ERROR_CHARS])
    return failed


def main() -> int:
    """Make what is due. Returns 0, 1 when a report failed, or 3 when something all of them need is not there."""
    os.nice(_NICE)
    kafka, cassandra, runtime, settings = Kafka(), Cassandra(), Runtime(), Reports()
    logs.configure(runtime, "reports")
    follower = ControlFollower(kafka, "hubbub-reports")
    try:
        directory = follower.start()
        follower.stop()
        home = find_java(Java().java_home, os.environ)
        with open_job(kafka, cassandra, lambda: start_session(Analytics(), home, DELTA)) as (job, runs):
            schedule = Schedule(job=job, runs=runs, days=settings.days)
            failed = make_all(job, schedule.plans(zones(directory.tenants), SystemClock().now()))
    except PreconditionError as error:
        log.error("report.not_made", error=str(error))
        return 3
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
