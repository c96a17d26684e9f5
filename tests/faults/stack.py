"""A whole Hubbub of one's own to hurt: started with one command, known by its processes, waited for by its lag."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from infra.contracts.control import Scope
from infra.local import supervisor
from infra.local.state import read_state
from infra.runtime.settings import Cassandra, Kafka

_HOOKS: Final = Path(__file__).parent / "hooks"
#: Records behind which a role has caught up, at the rates used here less than a second's worth.
CAUGHT_UP: Final = 100
_LOOK: Final = 0.25


class NotSettled(Exception):
    """It did not come back, or did not catch up, in the time given."""


class Stack:
    """Addresses, keys, and the power to hurt."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.faults = folder / "faults"
        for name in ("armed", "fired", "mutant"):
            (self.faults / name).mkdir(parents=True, exist_ok=True)
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("HUBBUB_KAFKA", "HUBBUB_CASSANDRA"))
        } | {
            "HUBBUB_DATA_DIR": str(self.data),
            "HUBBUB_FAULTS": str(self.faults),
            "PYTHONPATH": str(_HOOKS),
        }
        self.ingest_url = self.api_url = ""
        self.kafka = Kafka()
        self.cassandra = Cassandra()

    def command(self, *words: str, seconds: float = 300) -> str:
        """Run `hubbub WORDS` and return what it prints. Raises `RuntimeError` with what it complains of."""
        known = {} if words[0] == "up" else {"HUBBUB_KAFKA_BOOTSTRAP": self.kafka.bootstrap}
        done = subprocess.run(
            [sys.executable, "-m", "infra.cli", *words],
            env={**self.environment, **known},
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
        if done.returncode != 0:
            raise RuntimeError(f"hubbub {' '.join(words)}: {done.stderr[-2000:]}")
        return done.stdout

    def up(self) -> None:
        """The one command; returns when all is ready."""
        self.command("up", "--detach")
        known = json.loads(self.command("status", "--json"))
        self.ingest_url, self.api_url = known["ingest"]["url"], known["api"]["url"]
        self.kafka = Kafka(bootstrap=known["kafka"]["bootstrap"])
        self.cassandra = Cassandra(
            contact_points=known["cassandra"]["contact_points"],
            port=known["cassandra"]["port"],
            keyspace=known["cassandra"]["keyspace"],
        )

    def down(self) -> None:
        self.command("down")

    def tenant(self, name: str) -> str:
        """A new tenant, and a key that may send, change and read."""
        scopes = [word for scope in (Scope.WRITE, Scope.SERVER, Scope.READ) for word in ("--scope", scope.value)]
        return self.command("keys", "create", "--tenant", name, "--new-tenant", *scopes).strip()

    def pids(self) -> dict[str, int]:
        """Every part that runs, by name."""
        state = read_state(self.data.absolute())
        parts = {**state.roles, **state.engines} if state else {}
        return {name: part.identity.pid for name, part in parts.items() if part.identity is not None}

    def send_signal(self, part: str, number: int = signal.SIGKILL) -> int:
        """Signal a part once it runs. Returns its pid."""
        pid = self.wait(lambda: self.pids().get(part), 60, f"{part} to run")
        os.kill(pid, number)
        return int(pid)

    def kill_everything(self) -> int:
        """SIGKILL the supervisor and every part at once. Returns how many were hit."""
        state = read_state(self.data.absolute())
        assert state is not None
        victims = [state.supervisor.pid, *self.pids().values()]
        for pid in victims:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue  # it fell with the supervisor
        return len(victims)

    def caught_up(self) -> bool:
        """Whether every part is ready and no role is behind."""
        found = supervisor.status(self.data)
        return (
            found is not None
            and found.ready
            # A role that has just begun does not know yet how far it is behind; ingest reads nothing.
            and all(
                name == "ingest" or (role.lag is not None and role.lag < CAUGHT_UP)
                for name, role in found.roles.items()
            )
        )

    def settle(self, seconds: float = 180, times: int = 4) -> float:
        """Wait until all is ready and caught up, so often in a row. Returns the seconds until the first time."""
        began = time.monotonic()
        first: float | None = None
        held = 0
        while held < times:
            if self.caught_up():
                first = time.monotonic() - began if first is None else first
                held += 1
            else:
                held, first = 0, None
            if time.monotonic() - began > seconds:
                raise NotSettled(f"not caught up within {seconds:.0f} s: {self.behind()}")
            time.sleep(_LOOK)  # other processes can only be asked
        return first or 0.0

    def behind(self) -> str:
        """What is not ready or behind, in words."""
        found = supervisor.status(self.data)
        if found is None:
            return "nothing runs"
        return ", ".join(
            f"{name} {'ready' if part.ready else 'not ready'} lag {part.lag}"
            for name, part in {**found.roles, **found.engines}.items()
        )

    def recover(self, part: str, dead: int, seconds: float = 180) -> float:
        """Wait until a part has a new process and all has caught up. Returns the seconds from now."""
        began = time.monotonic()
        self.wait(lambda: self.pids().get(part, dead) != dead, seconds, f"{part} to be started again")
        self.settle(seconds, times=2)
        return time.monotonic() - began

    def arm(self, point: str) -> None:
        """Whoever reaches this point next is killed there."""
        (self.faults / "armed" / point).touch()

    def fired(self, point: str, seconds: float = 60) -> None:
        """Wait until somebody was killed at this point."""
        mark = self.faults / "fired" / point
        self.wait(mark.exists, seconds, f"{point} to be reached")
        mark.unlink()

    def become(self, role: str, mutant: str) -> None:
        """Replace a role by a mutant, and wait until it has caught up."""
        (self.faults / "mutant" / role).write_text(mutant)
        self.recover(role, self.send_signal(role))

    def restore(self, role: str) -> None:
        """Replace the mutant by the role again. Whoever plays next waits for it."""
        (self.faults / "mutant" / role).unlink()
        self.send_signal(role)

    def wait(self, claim: Callable[[], Any], seconds: float, what: str) -> Any:
        """What the claim returns once it is true."""
        deadline = time.monotonic() + seconds
        while not (found := claim()):
            if time.monotonic() > deadline:
                raise NotSettled(f"waited {seconds:.0f} s for {what}")
            time.sleep(0.05)  # other processes can only be asked
        return found
