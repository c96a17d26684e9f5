"""Everything one `hubbub up` runs: engines, set-up steps, then roles; stopped in the opposite order."""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from infra.local import jars
from infra.local.engines import ENGINE_PORTS, Engines, fetch_jars, find_java, nodes
from infra.local.errors import StartError
from infra.local.keeper import Keeper
from infra.local.ports import claim
from infra.local.process import PROBE_SECONDS, Command, ProcessId
from infra.local.progress import Progress
from infra.local.settings import Local
from infra.local.state import Phase, ProcessState, State, forget_state, write_state
from infra.runtime.settings import Cassandra, Kafka, Listen, Runtime

ROLES = ("ingest", "router", "history", "archive", "analytics", "interactions", "reports", "ledger", "api")
HOPELESS = 4
"""A role that was restarted this often before it was ever ready will not become ready."""
STOP_GRACE = 5.0
"""Seconds a role gets beyond its own bound on stopping, before it is killed."""


def role_command(role: str) -> tuple[str, ...]:
    """How a role is started."""
    return (sys.executable, "-m", "infra.cli", "run", role)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Something to do when the engines answer and before the roles start, such as creating topics.

    `run` gets the environment the roles will get. It is called on a thread; what it raises ends the start.
    """

    title: str
    run: Callable[[Mapping[str, str]], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run and with which settings. An engine whose address is set is used as it is and not started."""

    roles: Sequence[str] = ROLES
    steps: Sequence[Step] = ()
    command: Callable[[str], tuple[str, ...]] = role_command
    runtime: Runtime = field(default_factory=Runtime)
    listen: Listen = field(default_factory=Listen)
    local: Local = field(default_factory=Local)
    kafka: Kafka = field(default_factory=Kafka)
    cassandra: Cassandra = field(default_factory=Cassandra)
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    @property
    def data_dir(self) -> Path:
        return self.runtime.data_dir.absolute()

    @property
    def own_engines(self) -> tuple[jars.Engine, ...]:
        """The engines to start: those whose address nobody set."""
        own: list[jars.Engine] = []
        if "bootstrap" not in self.kafka.model_fields_set:
            own.append("kafka")
        if not {"contact_points", "port"} & self.cassandra.model_fields_set:
            own.append("cassandra")
        return tuple(own)


class Stack:
    """A plan being carried out in this process."""

    def __init__(self, plan: Plan, progress: Progress) -> None:
        self.plan = plan
        self.environment: dict[str, str] = {}
        self._progress = progress
        self._supervisor = ProcessId.of(os.getpid())
        self._phase: Phase = "starting"
        self._ports: dict[str, int] = {}
        self._engines: Engines | None = None
        self._roles: dict[str, Keeper] = {}

    async def start(self) -> None:
        """Start everything and wait until each role is ready.

        Raises:
            LocalError: a precondition is missing, or something did not come up.
            Exception: whatever a step raises.
        """
        plan, data_dir = self.plan, self.plan.data_dir
        wanted = plan.own_engines
        spark: tuple[jars.Engine, ...] = ("spark",) if {"analytics", "reports"} & set(plan.roles) else ()
        self.environment = {**plan.environ, "HUBBUB_DATA_DIR": str(data_dir), "PYTHONUNBUFFERED": "1"}
        role_ports = {role: int(getattr(plan.listen, f"{role}_port")) for role in plan.roles}
        self._ports = claim(data_dir, {**ENGINE_PORTS, **role_ports})
        self.environment |= {f"HUBBUB_{role.upper()}_PORT": str(self._ports[role]) for role in plan.roles}
        self._write()
        if wanted or spark:
            java = find_java(plan.local, plan.environ)
            self.environment["JAVA_HOME"] = str(java.home)
            await fetch_jars(plan.local, (*wanted, *spark), self._progress)
            engine_nodes = nodes(
                data_dir,
                local=plan.local,
                runtime=java,
                ports=self._ports,
                environment=plan.environ,
                wanted=wanted,
            )
            self._engines = Engines(engine_nodes, local=plan.local, changed=self._write, note=self._progress.note)
            self.environment |= self._engines.environment
        if spark:
            spark_jars = jars.spark_jars(plan.local.jar_cache)
            self.environment["HUBBUB_ANALYTICS_JARS"] = ",".join(map(str, spark_jars))
        if self._engines is not None:
            await self._engines.start(self._progress)
        for step in plan.steps:
            self._progress.began(step.title)
            await asyncio.to_thread(step.run, self.environment)
            self._progress.ready(step.title, "")
        await self._start_roles()
        self._phase = "ready"
        self._write()

    async def stop(self) -> None:
        """Stop the roles, then the engines, each within its bound."""
        self._phase = "stopping"
        self._write()
        async with asyncio.TaskGroup() as tasks:
            for keeper in self._roles.values():
                tasks.create_task(keeper.stop())
        if self._engines is not None:
            await self._engines.stop()
        forget_state(self.plan.data_dir)

    async def _start_roles(self) -> None:
        async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
            try:
                async with asyncio.TaskGroup() as tasks:
                    for role in self.plan.roles:
                        tasks.create_task(self._start_role(role, client))
            except* Exception as group:
                raise group.exceptions[0] from None

    async def _start_role(self, role: str, client: httpx.AsyncClient) -> None:
        self._progress.began(role)
        log = self.plan.data_dir / "logs" / f"{role}.log"
        keeper = Keeper(
            Command(name=role, argv=self.plan.command(role), environment=self.environment, log=log),
            stop_seconds=self.plan.runtime.stop_seconds + STOP_GRACE,
            changed=self._write,
            note=self._progress.note,
            now=time.monotonic,
        )
        self._roles[role] = keeper
        await keeper.start()
        url = self._role_state(role, keeper).url
        deadline = time.monotonic() + self.plan.local.role_start_seconds
        while not await is_ready(client, url):
            if keeper.restarts >= HOPELESS:
                raise StartError(role, "keeps exiting", log)
            if time.monotonic() > deadline:
                raise StartError(role, f"is not ready after {self.plan.local.role_start_seconds:.0f} s", log)
            await asyncio.sleep(PROBE_SECONDS)  # another process's readiness cannot be awaited, only asked for
        self._progress.ready(role, url)

    def _role_state(self, role: str, keeper: Keeper | None) -> ProcessState:
        return ProcessState(
            identity=keeper.running.identity if keeper and keeper.running else None,
            host=self.plan.listen.reachable_host,
            port=self._ports[role],
            log=str(self.plan.data_dir / "logs" / f"{role}.log"),
            restarts=keeper.restarts if keeper else 0,
        )

    def _write(self) -> None:
        """Write down what runs now."""
        kafka, cassandra = self.plan.kafka, self.plan.cassandra
        engines = {} if self._engines is None else self._engines.states(self.plan.data_dir)
        write_state(
            self.plan.data_dir,
            State(
                supervisor=self._supervisor,
                phase=self._phase,
                kafka_bootstrap=self.environment.get("HUBBUB_KAFKA_BOOTSTRAP", kafka.bootstrap),
                cassandra_contact_points=cassandra.contact_points,
                cassandra_port=int(self.environment.get("HUBBUB_CASSANDRA_PORT", cassandra.port)),
                engines=engines,
                roles={role: self._role_state(role, self._roles.get(role)) for role in self.plan.roles},
            ),
        )


async def is_ready(client: httpx.AsyncClient, url: str) -> bool:
    """Whether a role says that it makes progress with everything it needs."""
    try:
        return (await client.get(f"{url}/readyz")).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
