"""`up`, `down` and `status` with real processes, without engines."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from infra.local.supervisor import down, status

DETACHED = Path(__file__).with_name("detached.py")


def run_up(data_dir: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(DETACHED), str(data_dir)],
        env={**os.environ, **environ},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    down(tmp_path)


def lives(pid: int) -> bool:
    """Whether this process runs. One that ended may still be listed until its new parent has looked."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_life_from_up_to_down(data_dir: Path) -> None:
    assert status(data_dir) is None
    done = run_up(data_dir)
    assert done.returncode == 0
    assert done.stderr.startswith("set-up: ready after ")
    assert (data_dir / "step").read_text() == "kafka.test:9092"

    found = status(data_dir)
    assert found is not None
    assert found.ready
    assert found.dashboard == done.stdout.strip() == found.roles["api"].url
    assert found.roles["ingest"].lag == 3
    assert (found.kafka_bootstrap, found.cassandra_contact_points) == ("kafka.test:9092", ["cassandra.test"])
    assert found.engines == {}

    again = run_up(data_dir)
    assert again.returncode == 3
    assert f"already running on {data_dir}: the dashboard is at {found.dashboard}" in again.stdout

    pids = [role.pid for role in found.roles.values()]
    assert down(data_dir)
    assert not any(lives(pid) for pid in pids if pid)
    assert status(data_dir) is None
    assert not down(data_dir)


def test_children_of_a_killed_supervisor_are_gone_at_the_next_up_and_ports_are_kept(data_dir: Path) -> None:
    run_up(data_dir)
    before = status(data_dir)
    assert before is not None
    os.kill(before.supervisor, signal.SIGKILL)

    assert run_up(data_dir).returncode == 0
    after = status(data_dir)
    assert after is not None
    assert after.ready
    assert not any(lives(role.pid) for role in before.roles.values() if role.pid)
    assert {name: role.port for name, role in after.roles.items()} == {
        name: role.port for name, role in before.roles.items()
    }


def test_a_role_that_cannot_start_ends_the_start_and_leaves_nothing(data_dir: Path) -> None:
    done = run_up(data_dir, CRASH="api")
    assert done.returncode == 3
    assert "api keeps exiting" in done.stdout
    assert "cannot start" in done.stdout
    assert status(data_dir) is None
