"""A role of analytics as a process of its own."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from socket import socket
from typing import Any

import httpx
import psutil

_START_SECONDS = 180.0


class Role:
    """One process, which listens where the variable `port` says. `kill` is SIGKILL."""

    def __init__(self, command: Sequence[str], port: str, environment: dict[str, str], log_file: Path) -> None:
        with socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        with log_file.open("ab") as output:
            self._process = subprocess.Popen(
                command, env={**environment, port: str(self._port)}, stdout=output, stderr=output
            )

    def report(self) -> dict[str, Any]:
        try:
            return dict(httpx.get(f"http://127.0.0.1:{self._port}/readyz", timeout=5).json())
        except httpx.HTTPError:
            return {"ready": False, "lag": None}

    def jvm(self) -> psutil.Process:
        (child,) = psutil.Process(self._process.pid).children()
        return child

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def terminate(self, seconds: float) -> int:
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(seconds)

    def wait(self, seconds: float) -> int:
        return self._process.wait(seconds)


@contextmanager
def running(command: Sequence[str], port: str, environment: dict[str, str], log_file: Path) -> Iterator[Role]:
    """The role, started, and killed at the end if the test left it running."""
    role = Role(command, port, environment, log_file)
    try:
        yield role
    finally:
        role.kill()


def wait_until(holds: Callable[[], bool], seconds: float = _START_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)
