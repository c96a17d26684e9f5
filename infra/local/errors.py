"""What can go wrong while starting or stopping local processes; each error says what to do about it."""

from pathlib import Path


class LocalError(Exception):
    """A precondition of the local stack is not met. The command line maps it to exit code 3."""


class JarError(LocalError):
    """A jar cannot be fetched, or what came is not what the lock says."""


class PortError(LocalError):
    """No free port was found near the wanted one."""


class StartError(LocalError):
    """A process exited or stayed silent while it was being started."""

    def __init__(self, name: str, reason: str, log: Path) -> None:
        ended = _tail(log)
        super().__init__(f"{name} {reason}; its log is {log}" + (f" and ends:\n{ended}" if ended else ""))
        self.name = name
        self.reason = reason
        self.log = log


class AlreadyRunningError(LocalError):
    """Another supervisor holds this data directory."""

    def __init__(self, data_dir: Path, dashboard: str | None) -> None:
        where = f"the dashboard is at {dashboard}" if dashboard else "it is still starting"
        super().__init__(f"already running on {data_dir}: {where}")
        self.data_dir = data_dir
        self.dashboard = dashboard


def _tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log; empty when there is none."""
    if not log.is_file():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 16_384))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
