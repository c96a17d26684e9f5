"""Keeps one process running: started again whenever it exits, until it is told to stop."""

import asyncio
from collections.abc import Callable

import structlog

from infra.local.backoff import Backoff
from infra.local.process import Command, Running

log = structlog.get_logger(__name__)


class Keeper:
    """One supervised process.

    `changed` is called whenever its pid changes, `note` with a line for whoever watches; `now` is a monotonic clock.
    `mend` is called before each restart, to put right what an end in the middle of things may leave.
    """

    def __init__(
        self,
        command: Command,
        *,
        stop_seconds: float,
        changed: Callable[[], None],
        note: Callable[[str], None],
        now: Callable[[], float],
        mend: Callable[[], None] = lambda: None,
    ) -> None:
        self.command = command
        self.running: Running | None = None
        self.restarts = 0
        self._stop_seconds = stop_seconds
        self._changed = changed
        self._note = note
        self._now = now
        self._mend = mend
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return self.command.name

    async def start(self) -> Running:
        """Start the process and keep it from now on."""
        started = self._now()
        self.running = running = await Running.start(self.command)
        self._changed()
        self._task = asyncio.create_task(self._keep(running, started), name=f"keep {self.name}")
        return running

    async def stop(self) -> None:
        """Stop the process within its bound and start it no more."""
        self._stopping.set()
        if self.running is not None:
            await self.running.stop(self._stop_seconds)
        if self._task is not None:
            await self._task
        self.running = None
        self._changed()

    async def _keep(self, running: Running, started: float) -> None:
        backoff = Backoff()
        while True:
            code = await running.wait()
            if self._stopping.is_set():
                return
            ran = self._now() - started
            delay = backoff.after(ran)
            log.warning("process.exited", name=self.name, code=code, ran_seconds=round(ran, 1), restart_in=delay)
            self._note(f"{self.name} exited with code {code} after {ran:.0f} s: started again in {delay:g} s")
            self.running = None
            self._changed()
            if await self._stopped_within(delay):
                return
            started = self._now()
            self._mend()
            self.running = running = await Running.start(self.command)
            self.restarts += 1
            self._changed()
            if self._stopping.is_set():
                await running.stop(self._stop_seconds)
                return

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return False
        return True
