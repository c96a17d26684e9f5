"""The state file and the lock."""

import os
from pathlib import Path

import pytest

from infra.local.errors import AlreadyRunningError
from infra.local.process import ProcessId
from infra.local.state import DataLock, Phase, ProcessState, State, forget_state, read_state, write_state


def process(pid: int | None, port: int) -> ProcessState:
    identity = None if pid is None else ProcessId(pid=pid, created=1.0)
    return ProcessState(identity=identity, host="127.0.0.1", port=port, log="/l", restarts=0)


def state(phase: Phase = "ready") -> State:
    return State(
        supervisor=ProcessId.of(os.getpid()),
        phase=phase,
        kafka_bootstrap="127.0.0.1:9092",
        cassandra_contact_points=["127.0.0.1"],
        cassandra_port=9042,
        engines={"kafka": process(1, 9092)},
        roles={"router": process(None, 8081), "api": process(2, 8090)},
    )


def test_what_is_written_is_read_and_forgotten(tmp_path: Path) -> None:
    assert read_state(tmp_path) is None
    write_state(tmp_path, state())
    assert read_state(tmp_path) == state()
    forget_state(tmp_path)
    assert read_state(tmp_path) is None


def test_an_unreadable_state_is_none(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"supervisor": 1}')
    assert read_state(tmp_path) is None


def test_children_are_listed_roles_first_without_those_that_are_down() -> None:
    assert [identity.pid for identity in state().identities] == [2, 1]


def test_only_one_holds_the_lock_and_the_other_is_told_the_dashboard(tmp_path: Path) -> None:
    lock = DataLock.take(tmp_path)
    with pytest.raises(AlreadyRunningError, match="still starting"):
        DataLock.take(tmp_path)
    write_state(tmp_path, state())
    with pytest.raises(AlreadyRunningError, match=r"http://127\.0\.0\.1:8090"):
        DataLock.take(tmp_path)
    lock.close()
    DataLock.take(tmp_path).close()
