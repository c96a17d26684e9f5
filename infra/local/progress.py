"""Shows what a start is waiting for: bars on a terminal, a line now and then elsewhere, always on stderr."""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import IO, BinaryIO, Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

LINE_SECONDS = 5.0
"""Seconds between two lines about one download where there is no terminal."""


class Progress(Protocol):
    """Told about every step of a start: a jar download, an engine, a set-up step, a role."""

    def began(self, name: str) -> None: ...
    def moved(self, name: str, done: int, total: int) -> None: ...
    def ready(self, name: str, detail: str) -> None: ...
    def note(self, text: str) -> None: ...
    def close(self) -> None: ...


class Quiet:
    """Shows nothing."""

    def began(self, name: str) -> None: ...
    def moved(self, name: str, done: int, total: int) -> None: ...
    def ready(self, name: str, detail: str) -> None: ...
    def note(self, text: str) -> None: ...
    def close(self) -> None: ...


class Lines:
    """One line when a step is ready, and one every few seconds while bytes move."""

    def __init__(self, stream: TextIO, now: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._now = now
        self._began: dict[str, float] = {}
        self._last = 0.0

    def began(self, name: str) -> None:
        self._began.setdefault(name, self._now())

    def moved(self, name: str, done: int, total: int) -> None:
        now = self._now()
        if now - self._last >= LINE_SECONDS:
            self._last = now
            self._write(f"{name}: {megabytes(done)} of {megabytes(total)}")

    def ready(self, name: str, detail: str) -> None:
        now = self._now()
        took = now - self._began.get(name, now)
        self._write(f"{name}: ready after {took:.1f} s" + (f" ({detail})" if detail else ""))

    def note(self, text: str) -> None:
        self._write(text)

    def close(self) -> None: ...

    def _write(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


class Terminal:
    """A spinner and a bar for each step."""

    def __init__(self, console: Console) -> None:
        self._bars = Bars(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description:<12}"),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[detail]}"),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}

    def began(self, name: str) -> None:
        self._bars.start()
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=None, detail="")

    def moved(self, name: str, done: int, total: int) -> None:
        detail = f"{megabytes(done)} of {megabytes(total)}"
        self._bars.update(self._tasks[name], completed=done, total=total, detail=detail)

    def ready(self, name: str, detail: str) -> None:
        self._bars.update(self._tasks[name], completed=1, total=1, detail=detail)

    def note(self, text: str) -> None:
        self._bars.console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        self._bars.stop()


class PipeProgress:
    """Sends every call through a pipe to a process that shows it; `relay` is the other end."""

    def __init__(self, writing: int) -> None:
        self._pipe: BinaryIO | None = os.fdopen(writing, "wb", buffering=0)

    def began(self, name: str) -> None:
        self._send("began", name)

    def moved(self, name: str, done: int, total: int) -> None:
        self._send("moved", name, done, total)

    def ready(self, name: str, detail: str) -> None:
        self._send("ready", name, detail)

    def note(self, text: str) -> None:
        self._send("note", text)

    def close(self) -> None: ...

    def finish(self, failure: str | None = None) -> None:
        """The start has ended; nothing is sent after this."""
        self._send("finish", failure)
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None

    def _send(self, *call: str | int | None) -> None:
        if self._pipe is None:
            return
        try:
            self._pipe.write(json.dumps(call).encode() + b"\n")
        except BrokenPipeError:
            self._pipe.close()
            self._pipe = None


def relay(events: IO[bytes], progress: Progress) -> str | None:
    """Show what a `PipeProgress` sends until its start has ended; what went wrong, or None."""
    for line in events:
        match json.loads(line):
            case ["began", str(name)]:
                progress.began(name)
            case ["moved", str(name), int(done), int(total)]:
                progress.moved(name, done, total)
            case ["ready", str(name), str(detail)]:
                progress.ready(name, detail)
            case ["note", str(text)]:
                progress.note(text)
            case ["finish", None]:
                return None
            case ["finish", str(failure)]:
                return failure
    return "the supervisor ended while starting; see supervisor.log"


def for_stderr() -> Progress:
    """What suits stderr as it is now."""
    return Terminal(Console(stderr=True)) if sys.stderr.isatty() else Lines(sys.stderr)


def megabytes(size: int) -> str:
    """`12.3 MB`."""
    return f"{size / 1e6:.1f} MB"
