"""A whole Hubbub of one's own to hurt: started with one command, known by its processes, waited for by its lag."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import psutil

from infra.contracts.control import Scope
from infra.local import supervisor
from infra.local.state import read_state
from infra.runtime.archive import ArchiveReader
from infra.runtime.settings import Archive, Cassandra, Kafka, Runtime
from tests.faults.proxy import Controls, proxied
from tests.integration.streams.running import free_port

_HOOKS: Final = Path(__file__).parent / "hooks"
#: Records behind which a role has caught up, at the rates used here less than a second's worth.
CAUGHT_UP: Final = 100
_LOOK: Final = 0.25


#: Parts whose disk can be filled, and megabytes of it: what they need for a row and a little more.
DISKS: Final = {"kafka": 700, "cassandra": 1_000, "checkpoints": 100, "archive": 100}


class NotSettled(Exception):
    """It did not come back, or did not catch up, in the time given."""


class Stack:
    """Addresses, keys, and the power to hurt. With `small_disks` some parts live on file systems that can be filled."""

    def __init__(self, folder: Path, *, small_disks: bool = False) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.faults = folder / "faults"
        self.small_disks = small_disks
        for name in ("armed", "fired", "mutant", "environment", "held"):
            (self.faults / name).mkdir(parents=True, exist_ok=True)
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("HUBBUB_KAFKA", "HUBBUB_CASSANDRA"))
        } | {
            "HUBBUB_DATA_DIR": str(self.data),
            "HUBBUB_FAULTS": str(self.faults),
            "PYTHONPATH": str(_HOOKS),
            # Kills meet a commit often, and a row need not wait a minute for its last one.
            "HUBBUB_ARCHIVE_COMMIT_SECONDS": "1",
            # Nor half a minute for the next look at what is due.
            "HUBBUB_REPORTS_CHECK_SECONDS": "5",
        }
        self.ingest_url = self.api_url = ""
        self.kafka = Kafka()
        self.cassandra = Cassandra()
        self.archive = ArchiveReader(Archive(), Runtime(data_dir=self.data))

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

    @contextmanager
    def running(self) -> Iterator[None]:
        """Up until the end of the block."""
        mounted = []
        try:
            for name, megabytes in DISKS.items() if self.small_disks else ():
                (self.data / name).mkdir(parents=True)
                words = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "hubbub-faults", str(self.data / name)]
                subprocess.run(words, check=True, capture_output=True)
                mounted.append(self.data / name)
            self.up()
            yield
        finally:
            self.command("down")
            for folder in mounted:
                subprocess.run(["umount", str(folder)], check=True, capture_output=True)

    @contextmanager
    def full(self, disk: str) -> Iterator[None]:
        """No byte is free on this disk until the end of the block."""
        filler = self.data / disk / "filler"
        try:
            with filler.open("wb", buffering=0) as file:
                piece = bytes(2**20)
                while piece:
                    try:
                        file.write(piece)
                    except OSError as error:
                        if error.errno != errno.ENOSPC:
                            raise
                        piece = piece[: len(piece) // 2]
            yield
        finally:
            filler.unlink()

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

    def exit_codes(self, part: str) -> list[int]:
        """How its processes have ended so far, as the supervisor saw it."""
        lines = (self.data / "logs" / "supervisor.log").read_text().splitlines()
        events = [json.loads(line) for line in lines if line.startswith("{")]
        return [e["code"] for e in events if e["event"] == "process.exited" and e["name"] == part]

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

    def arm(self, point: str, action: str = "") -> None:
        """Whoever reaches this point next is killed there, or does what the action says: see `hooks`."""
        part = self.faults / f"{point}.part"
        part.write_text(action)
        part.rename(self.faults / "armed" / point)

    @contextmanager
    def altered(self, role: str, **environment: str) -> Iterator[None]:
        """The role runs with these variables until the end of the block."""
        file = self.faults / "environment" / role
        file.write_text(json.dumps(environment))
        try:
            self.recover(role, self.send_signal(role, signal.SIGTERM))
            yield
        finally:
            file.unlink()
            self.recover(role, self.send_signal(role, signal.SIGTERM))

    @contextmanager
    def held(self, role: str) -> Iterator[None]:
        """The role is killed, and its successors do not begin until the end of the block."""
        file = self.faults / "held" / role
        file.touch()
        try:
            self.send_signal(role)
            yield
        finally:
            file.unlink()

    @contextmanager
    def behind_proxy(self, role: str, engine: str) -> Iterator[Controls]:
        """The role reaches Kafka or Cassandra through a proxy until the end of the block."""
        if engine == "kafka":
            host, _, port = self.kafka.bootstrap.rpartition(":")
        else:
            host, port = self.cassandra.contact_points[0], str(self.cassandra.port)
        with proxied(host, int(port), kafka=engine == "kafka") as proxy:
            variables = {
                "kafka": {"HUBBUB_KAFKA_BOOTSTRAP": proxy.address},
                "cassandra": {"HUBBUB_CASSANDRA_PORT": str(proxy.port)},
            }
            with self.altered(role, **variables[engine]):
                yield proxy

    @contextmanager
    def worker(self, number: int) -> Iterator["Worker"]:
        """One more router, ready, until the end of the block."""
        worker = Worker(self, number)
        try:
            worker.start()
            self.wait(worker.ready, 60, f"router-{number} to be ready")
            yield worker
        finally:
            worker.stop()

    def resident(self, part: str) -> int:
        """Megabytes of memory a part and its children hold."""
        process = psutil.Process(self.pids()[part])
        return sum(p.memory_info().rss for p in (process, *process.children(recursive=True))) // 2**20

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


class Worker:
    """A router beside the supervised one, in its group, that is started again by hand."""

    def __init__(self, stack: Stack, number: int) -> None:
        self._port = free_port()
        self._log = stack.folder / f"router-{number}.log"
        self._environment = stack.environment | {
            "HUBBUB_KAFKA_BOOTSTRAP": stack.kafka.bootstrap,
            "HUBBUB_ROUTER_INSTANCE_ID": f"router-{number}",
            "HUBBUB_ROUTER_PORT": str(self._port),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "infra.cli", "run", "router"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)

    def ready(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self._port}/readyz").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def replace(self) -> None:
        """SIGKILL it, and start its successor at once."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self.start()

    def stop(self) -> None:
        """SIGTERM, and wait for its end."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
