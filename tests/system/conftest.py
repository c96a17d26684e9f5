"""A running Hubbub, seen from outside only: the one HUBBUB_SYSTEM names, or one started for this session."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.runtime.cassandra import connect


@dataclass(frozen=True, kw_only=True)
class Hubbub:
    """Addresses and keys, and the power to kill a role."""

    ingest_url: str
    api_url: str
    keys: dict[str, str]
    environment: dict[str, str]

    def command(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `hubbub WORDS` against it."""
        return subprocess.run(
            [sys.executable, "-m", "infra.cli", *words],
            env=self.environment,
            text=True,
            capture_output=True,
            check=check,
            timeout=300,
        )

    def status(self) -> dict[str, Any]:
        """What `hubbub status --json` prints."""
        found: dict[str, Any] = json.loads(self.command("status", "--json", check=False).stdout)
        return found

    def kill(self, role: str) -> int:
        """Kill a role with -9. Returns the pid that died."""
        pid: int = self.status()["roles"][role]["pid"]
        os.kill(pid, signal.SIGKILL)
        return pid

    def restart(self, role: str, seconds: float = 120) -> None:
        """Kill a role with -9 and wait until its successor is ready."""
        dead = self.kill(role)

        def is_back() -> bool:
            now = self.status()["roles"][role]
            return now["pid"] not in (None, dead) and now["ready"]

        eventually(is_back, seconds)

    def read(self, path: str, **params: Any) -> Any:
        """GET from the API with the read key."""
        reply = httpx.get(
            self.api_url + path, params=params, headers={"Authorization": f"Bearer {self.keys['read']}"}, timeout=30
        )
        reply.raise_for_status()
        return reply.json()

    def send(self, *events: dict[str, Any], key: str = "write") -> httpx.Response:
        """POST events to ingest."""
        return httpx.post(
            self.ingest_url + "/v1/events",
            json=list(events),
            headers={"Authorization": f"Bearer {self.keys[key]}"},
            timeout=30,
        )


def eventually(claim: Callable[[], Any], seconds: float = 30) -> Any:
    """What the claim returns as soon as it is true; an AssertionError when it is not in time."""
    deadline = time.monotonic() + seconds
    while not (found := claim()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {claim}"
        time.sleep(0.1)  # another process's state can only be asked for
    return found


@pytest.fixture(scope="session")
def hubbub(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hubbub]:
    """A running Hubbub."""
    given = os.environ.get("HUBBUB_SYSTEM")
    if given:
        status = json.loads(Path(given).read_text())
        yield _from_status(status, dict(os.environ))
        return
    kafka, cassandra = request.getfixturevalue("kafka"), request.getfixturevalue("cassandra")
    keyspace = f"{cassandra.keyspace}_system"
    environment = {
        **os.environ,
        "HUBBUB_DATA_DIR": str(tmp_path_factory.mktemp("hubbub")),
        # Topics and tables of its own: other tests write records with origins that no router gave.
        "HUBBUB_KAFKA_TOPIC_PREFIX": f"{kafka.topic_prefix}system-",
        "HUBBUB_CASSANDRA_KEYSPACE": keyspace,
        # Corrections wait for the archive.
        "HUBBUB_ARCHIVE_COMMIT_SECONDS": "5",
        "HUBBUB_REPORTS_CHECK_SECONDS": "2",
    }
    command = [sys.executable, "-m", "infra.cli"]
    started = subprocess.run(
        [*command, "up", "--detach"], env=environment, text=True, capture_output=True, check=False, timeout=300
    )
    assert started.returncode == 0, started.stderr
    try:
        status = json.loads(
            subprocess.run([*command, "status", "--json"], env=environment, capture_output=True, check=False).stdout
        )
        yield _from_status(status, environment)
    finally:
        subprocess.run([*command, "down"], env=environment, check=True, timeout=120)
        database = connect(cassandra, keyspace="", prepare=False)
        database.session.execute(f'DROP KEYSPACE IF EXISTS "{keyspace}"', timeout=60)
        database.close()


def _from_status(status: dict[str, Any], environment: dict[str, str]) -> Hubbub:
    return Hubbub(
        ingest_url=status["ingest"]["url"], api_url=status["api"]["url"], keys=status["keys"], environment=environment
    )
