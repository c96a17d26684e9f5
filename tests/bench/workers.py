"""Processes of their own for contenders and load: what each costs is told apart from what the others do."""

import multiprocessing
import resource
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import psutil


class Worker:
    """A process that calls functions for us, one at a time, until `close`. They and their arguments are pickled."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """What the function returns. Raises what it raises, and `EOFError` when the process dies of it."""
        self._ours.send((function, args))
        ok, result = self._ours.recv()
        if not ok:
            raise result
        return result

    def close(self) -> None:
        """End the process."""
        self._ours.close()
        self._process.join()


def processes(pid: int) -> list[psutil.Process]:
    """A process and its descendants."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def cpu_seconds(pid: int) -> float:
    """User and system seconds of a process and its descendants so far."""
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes(pid)))


class Stopwatch:
    """Wall and CPU seconds of this process between entering and leaving."""

    def __enter__(self) -> "Stopwatch":
        self._cpu = _own_cpu()
        self._wall = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._wall
        self.cpu_seconds = _own_cpu() - self._cpu


def _own_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _serve(connection: Connection) -> None:
    while True:
        try:
            function, args = connection.recv()
        except EOFError:
            return
        try:
            connection.send((True, function(*args)))
        except Exception as error:  # it is raised again where the function was asked for
            connection.send((False, error))
