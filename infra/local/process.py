"""One child process: started in a group of its own with its output in a log file, stopped within a bound.

A process is known by pid and start time, since a pid alone may belong to somebody else after a while.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil

from infra.local.errors import StartError

TETHER = Path(__file__).with_name("tether.py")
LOG_LIMIT = 32 * 1024 * 1024
"""A log longer than this, in bytes, is set aside as `.1` when its process starts."""
PROBE_SECONDS = 0.1
"""Pause between two questions whether a process answers."""


class ProcessId(msgspec.Struct, frozen=True, kw_only=True):
    """A pid with the start time (seconds since the epoch) that makes it unmistakable."""

    pid: int
    created: float

    @classmethod
    def of(cls, pid: int) -> "ProcessId":
        return cls(pid=pid, created=psutil.Process(pid).create_time())

    def find(self) -> psutil.Process | None:
        """The process, if it is still this one and not a zombie."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.created) < 1.0
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to run, under which name, and where its output goes."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path


class Running:
    """A started child."""

    def __init__(self, command: Command, process: asyncio.subprocess.Process, identity: ProcessId) -> None:
        self.command = command
        self.identity = identity
        self._process = process

    @classmethod
    async def start(cls, command: Command) -> "Running":
        """Start the command as leader of a new process group.

        The thread this is awaited in must live as long as the child: Linux sends the parent-death signal when the
        forking thread ends, not only when its process does.
        """
        command.log.parent.mkdir(parents=True, exist_ok=True)
        if command.log.is_file() and command.log.stat().st_size > LOG_LIMIT:
            command.log.replace(command.log.with_name(command.log.name + ".1"))
        with command.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(TETHER), str(os.getpid())),
                *command.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(command.environment),
                start_new_session=True,
            )
        try:
            identity = ProcessId.of(process.pid)
        except psutil.NoSuchProcess:
            identity = ProcessId(pid=process.pid, created=0.0)
        return cls(command, process, identity)

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    async def wait(self) -> int:
        """The exit code, once it has exited; what is left of its group is killed then."""
        code = await self._process.wait()
        kill_group(self.identity.pid)
        return code

    async def stop(self, seconds: float) -> int:
        """SIGTERM to the process, SIGKILL to its whole group after `seconds`; the exit code.

        Only the leader is asked: it knows in which order its own children have to stop.
        """
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(seconds):
                return await self.wait()
        except TimeoutError:
            kill_group(self.identity.pid)
            return await self.wait()

    async def until(self, answers: Callable[[], Awaitable[bool]], seconds: float) -> None:
        """Wait until `answers` is true.

        Raises:
            StartError: the process exited first, or `seconds` went by.
        """
        name, log = self.command.name, self.command.log
        exited = asyncio.ensure_future(self.wait())
        try:
            async with asyncio.timeout(seconds):
                while not await answers():
                    await asyncio.wait({exited}, timeout=PROBE_SECONDS)
                    if exited.done():
                        raise StartError(name, f"exited with code {exited.result()} while starting", log)
        except TimeoutError as error:
            raise StartError(name, f"does not answer after {seconds:.0f} s", log) from error
        finally:
            exited.cancel()


def kill_group(pid: int) -> None:
    """SIGKILL whatever is left of the group that `pid` leads; nothing left is fine."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def stop_orphans(identities: list[ProcessId], seconds: float) -> int:
    """Stop processes that a dead supervisor left behind: SIGTERM, then SIGKILL to their groups. How many there were."""
    left = [process for process in (identity.find() for identity in identities) if process is not None]
    for process in left:
        process.terminate()
    _, stubborn = psutil.wait_procs(left, timeout=seconds)
    for process in left:
        kill_group(process.pid)
    psutil.wait_procs(stubborn, timeout=5)
    return len(left)
