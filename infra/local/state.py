"""What a running supervisor writes down for `status`, `down` and its own successor: `state.json` and a lock."""

import fcntl
from pathlib import Path
from typing import IO, Literal

import msgspec

from infra.local.errors import AlreadyRunningError
from infra.local.ports import write_whole
from infra.local.process import ProcessId

Phase = Literal["starting", "ready", "stopping"]


class ProcessState(msgspec.Struct, frozen=True, kw_only=True):
    """One child. `identity` is None while it is down and about to be started again."""

    identity: ProcessId | None
    host: str
    port: int
    log: str
    restarts: int

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"


class State(msgspec.Struct, frozen=True, kw_only=True):
    """A supervisor and everything it runs."""

    supervisor: ProcessId
    phase: Phase
    kafka_bootstrap: str
    cassandra_contact_points: list[str]
    cassandra_port: int
    engines: dict[str, ProcessState]
    roles: dict[str, ProcessState]

    @property
    def identities(self) -> list[ProcessId]:
        """The children, roles first: the order in which they are stopped."""
        children = [*self.roles.values(), *self.engines.values()]
        return [child.identity for child in children if child.identity is not None]

    @property
    def dashboard(self) -> str | None:
        return self.roles["api"].url if "api" in self.roles else None


def read_state(data_dir: Path) -> State | None:
    """The last state written, whether or not its supervisor still lives; None if there is none or it is unreadable."""
    file = data_dir / "state.json"
    if not file.is_file():
        return None
    try:
        return msgspec.json.decode(file.read_bytes(), type=State)
    except msgspec.DecodeError:
        return None


def write_state(data_dir: Path, state: State) -> None:
    """Replace the state in one step."""
    write_whole(data_dir / "state.json", msgspec.json.format(msgspec.json.encode(state)) + b"\n")


def forget_state(data_dir: Path) -> None:
    """Nothing runs any more."""
    (data_dir / "state.json").unlink(missing_ok=True)


class DataLock:
    """Held while a supervisor runs on a data directory; the kernel lets go of it when that process ends, however."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    @classmethod
    def take(cls, data_dir: Path) -> "DataLock":
        """Take the lock.

        Raises:
            AlreadyRunningError: another process holds it.
        """
        data_dir.mkdir(parents=True, exist_ok=True)
        file = (data_dir / "lock").open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            state = read_state(data_dir)
            raise AlreadyRunningError(data_dir, state.dashboard if state else None) from error
        return cls(file)

    def close(self) -> None:
        """Let go. After a fork, the other process's copy still holds the lock."""
        self._file.close()
