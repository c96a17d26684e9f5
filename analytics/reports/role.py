"""The reports role: makes every report when it is due, and corrects numbers that something changed since."""

import os
from dataclasses import dataclass
from typing import Final, NoReturn

import structlog

from analytics.reports.connections import open_job
from analytics.reports.due import zones
from analytics.reports.retries import Retries, periods_of
from analytics.reports.schedule import Schedule
from analytics.reports.settings import Reports
from analytics.rounds import Rounds
from analytics.session import find_java
from analytics.settings import Java
from infra.runtime import logs
from infra.runtime.clock import SystemClock
from infra.runtime.control import ControlFollower
from infra.runtime.errors import PreconditionError
from infra.runtime.health import Check, Health, Progress, serve
from infra.runtime.settings import Cassandra, Kafka, Listen, Runtime
from infra.runtime.stopping import stop_event

log = structlog.get_logger("hubbub.reports")

_ROUND: Final = "analytics.reports.due"
#: A look takes a second or two.
_LATE_SECONDS: Final = 60.0
#: How soon what is not there is looked for again.
_RETRY_SECONDS: Final = 1.0


@dataclass(slots=True)
class Waiting:
    """How many periods are due, as of the last look. As a check it holds while they are made, however long that takes.

    Else it holds while looks succeed.
    """

    looked: Progress
    periods: int = 0

    def __call__(self) -> Check:
        return Check(True, f"{self.periods} periods under way") if self.periods else self.looked()


def run() -> int:
    """Make reports until SIGTERM or SIGINT. Returns 0.

    Raises `PreconditionError` when Java, Kafka, its topics, Cassandra or the schema is not there.
    """
    kafka, cassandra, listen, runtime, settings = Kafka(), Cassandra(), Listen(), Runtime(), Reports()
    logs.configure(runtime, "reports")
    logs.log_effective(kafka, cassandra, listen, runtime, settings)
    stopping = stop_event()
    find_java(Java().java_home, os.environ)
    follower = ControlFollower(kafka, "hubbub-reports")
    tenants = follower.start().tenants
    rounds = Rounds(_ROUND, "what it logged says why; run `hubbub report` by hand to see it")
    clock = SystemClock()
    retries = Retries(settings.check_seconds, clock)
    waiting = Waiting(Progress(settings.check_seconds + _LATE_SECONDS))

    health = Health("reports")
    health.add("control", lambda: Check(follower.following, "" if follower.following else "is not followed"))
    health.add("rounds", rounds)
    health.add("retries", retries)
    health.add("looks", waiting)
    health.report_lag(lambda: waiting.periods)
    with open_job(kafka, cassandra, _not_here) as (job, runs):
        schedule = Schedule(job=job, runs=runs, days=settings.days)
        server = serve(health, listen.host, listen.reports_port)
        try:
            while not stopping.is_set():
                try:
                    plans = list(schedule.plans(zones(tenants), clock.now()))
                except PreconditionError as error:
                    log.warning("report.not_planned", error=str(error))
                    stopping.wait(_RETRY_SECONDS)
                    continue
                waiting.looked.beat()
                periods = periods_of(plans)
                if retries.is_due(periods):
                    log.info("report.due", **{plan.report.name: len(plan.tasks) for plan in plans})
                    waiting.periods = len(periods)
                    retries.ended(periods, rounds.run(stopping))
                    waiting.looked.beat()
                    waiting.periods = 0
                stopping.wait(settings.check_seconds)
        finally:
            server.shutdown()
            follower.stop()
    return 0


def _not_here() -> NoReturn:
    raise AssertionError("Spark is for the process of a round")
