"""`up`, `down` and `status`: one supervisor a data directory, attached to a terminal or detached from it.

`up` returns when everything was stopped again; detached, when everything is ready.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import msgspec
import psutil
import structlog

from infra.local.errors import LocalError
from infra.local.process import stop_orphans
from infra.local.progress import PipeProgress, Progress, for_stderr, relay
from infra.local.stack import Plan, Stack
from infra.local.state import DataLock, ProcessState, forget_state, read_state
from infra.runtime import logs

ORPHAN_SECONDS = 20.0
"""How long processes left by a dead supervisor get to stop gracefully."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStatus:
    """One child as it is now. `ready` and `lag` are what a role's `/readyz` says; an engine is ready when it runs."""

    pid: int | None
    ready: bool
    lag: int | None
    url: str
    port: int
    log: Path
    restarts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A local Hubbub as it is now."""

    ready: bool
    phase: str
    supervisor: int
    kafka_bootstrap: str
    cassandra_contact_points: list[str]
    cassandra_port: int
    engines: dict[str, ProcessStatus]
    roles: dict[str, ProcessStatus]

    @property
    def dashboard(self) -> str | None:
        return self.roles["api"].url if "api" in self.roles else None


def up(plan: Plan, *, detach: bool = False, ready: Callable[[Status], None], progress: Progress | None = None) -> None:
    """Run the plan until SIGINT or SIGTERM; detached, leave it running once it is ready.

    `ready` is called once everything is, for instance to print addresses. Call this from the main thread.

    Raises:
        AlreadyRunningError: a supervisor holds the data directory.
        LocalError: a precondition is missing, or something did not come up; all is stopped again.
    """
    lock = DataLock.take(plan.data_dir)
    shown = progress or for_stderr()
    try:
        _clear_orphans(plan.data_dir, shown)
        if detach:
            _detach(plan, shown)
            ready(_expect_status(plan.data_dir))
        else:
            with (_logs(plan.data_dir) / "supervisor.log").open("a") as log:
                logs.configure(plan.runtime, "supervisor", stream=log)
                asyncio.run(_supervise(plan, shown, lambda: ready(_expect_status(plan.data_dir))))
    finally:
        shown.close()
        lock.close()


def down(data_dir: Path, seconds: float = 90.0) -> bool:
    """Stop what runs on a data directory and wait until it has; False when nothing did.

    Raises:
        LocalError: it still runs after `seconds`.
    """
    data_dir = data_dir.absolute()
    state = read_state(data_dir)
    if state is None:
        return False
    supervisor = state.supervisor.find()
    if supervisor is None:
        stopped = stop_orphans(state.identities, ORPHAN_SECONDS)
        forget_state(data_dir)
        return stopped > 0
    supervisor.terminate()
    try:
        supervisor.wait(seconds)
    except psutil.TimeoutExpired as error:
        raise LocalError(f"the supervisor (pid {supervisor.pid}) still runs after {seconds:.0f} s") from error
    return True


def status(data_dir: Path) -> Status | None:
    """What runs on a data directory, each role asked now; None when no supervisor does."""
    state = read_state(data_dir.absolute())
    if state is None or state.supervisor.find() is None:
        return None
    with httpx.Client(timeout=2, trust_env=False) as client:
        roles = {name: _role_status(role, client) for name, role in state.roles.items()}
    engines = {name: _process_status(engine, ready=_lives(engine)) for name, engine in state.engines.items()}
    return Status(
        ready=state.phase == "ready" and all(one.ready for one in (*roles.values(), *engines.values())),
        phase=state.phase,
        supervisor=state.supervisor.pid,
        kafka_bootstrap=state.kafka_bootstrap,
        cassandra_contact_points=state.cassandra_contact_points,
        cassandra_port=state.cassandra_port,
        engines=engines,
        roles=roles,
    )


async def _supervise(plan: Plan, progress: Progress, ready: Callable[[], None]) -> None:
    """Start, stay until a signal asks to stop, stop: whatever happens in between."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    stack = Stack(plan, progress)
    start = asyncio.create_task(stack.start())
    stop = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({start, stop}, return_when=asyncio.FIRST_COMPLETED)
        if start.done():
            start.result()
            progress.close()
            ready()
            await stop
    finally:
        start.cancel()
        stop.cancel()
        await asyncio.wait({start})
        progress.note("stopping")
        await stack.stop()


def _detach(plan: Plan, progress: Progress) -> None:
    """Fork the supervisor into a session of its own; show its progress here until it is ready.

    Raises:
        LocalError: it could not start.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os._exit(_detached(plan, writing))
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as events:
            failure = relay(events, progress)
    except KeyboardInterrupt:
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)
        raise
    if failure is not None:
        os.waitpid(child, 0)
        raise LocalError(failure)


def _detached(plan: Plan, writing: int) -> int:
    """The detached supervisor's whole life; its exit code."""
    os.setsid()
    log = (_logs(plan.data_dir) / "supervisor.log").open("a", buffering=1)
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    logs.configure(plan.runtime, "supervisor", stream=sys.stderr)
    progress = PipeProgress(writing)
    try:
        asyncio.run(_supervise(plan, progress, progress.finish))
    except LocalError as error:
        progress.finish(str(error))
        return 1
    except Exception as error:
        structlog.get_logger(__name__).exception("supervisor.failed")
        progress.finish(f"{type(error).__name__}: {error}")
        return 1
    progress.finish("stopped before it was ready")
    return 0


def _clear_orphans(data_dir: Path, progress: Progress) -> None:
    """Stop what a killed supervisor left behind; the lock is held, so whatever is recorded has no supervisor."""
    state = read_state(data_dir)
    if state is not None:
        count = stop_orphans(state.identities, ORPHAN_SECONDS)
        if count:
            progress.note(f"stopped {count} processes that a killed supervisor had left behind")
        forget_state(data_dir)


def _logs(data_dir: Path) -> Path:
    folder = data_dir / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _expect_status(data_dir: Path) -> Status:
    found = status(data_dir)
    if found is None:
        raise LocalError("the supervisor ended right after it was ready; see supervisor.log")
    return found


def _lives(process: ProcessState) -> bool:
    return process.identity is not None and process.identity.find() is not None


def _role_status(role: ProcessState, client: httpx.Client) -> ProcessStatus:
    try:
        answer = client.get(f"{role.url}/readyz")
    except httpx.TransportError:
        return _process_status(role, ready=False)
    try:
        lag = msgspec.json.decode(answer.content, type=_Readiness).lag
    except msgspec.DecodeError:
        lag = None
    return _process_status(role, ready=answer.status_code == httpx.codes.OK, lag=lag)


class _Readiness(msgspec.Struct):
    """The part of a `/readyz` answer that is shown."""

    lag: int | None = None


def _process_status(process: ProcessState, *, ready: bool, lag: int | None = None) -> ProcessStatus:
    return ProcessStatus(
        pid=process.identity.pid if process.identity else None,
        ready=ready,
        lag=lag,
        url=process.url,
        port=process.port,
        log=Path(process.log),
        restarts=process.restarts,
    )
