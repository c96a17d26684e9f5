"""Loaded by Python itself when this folder is on PYTHONPATH: lets a fault run hurt a role from inside.

HUBBUB_FAULTS names a folder, in which

- `armed/POINT` makes the role that reaches POINT kill itself with SIGKILL, once; whoever takes the file away dies. A
  file with `kill PID` in it kills that process, one with `sleep SECONDS` has the role sleep;
- `environment/ROLE` is a JSON object of variables that the role starts with;
- `held/ROLE` keeps the role from starting as long as it is there;
- `mutant/ROLE` holds the name of the mutant of `mutants.py` that the role is to be.

Two variables change what the role believes: HUBBUB_FAULTS_SKEW is added to its wall clock, in seconds, and
HUBBUB_FAULTS_GROUP to the names of its consumer groups. The product knows nothing of any of this.
"""

import importlib
import inspect
import json
import os
import signal
import sys
import time
from datetime import timedelta
from functools import wraps
from pathlib import Path

#: Where a role can be killed: module, function, and whether before or after its body.
POINTS = {
    "ingest.before_produce": ("ingest.framer", "Framer.send", "before"),
    "ingest.after_produce": ("ingest.framer", "Framer.send", "after"),
    "ingest.before_reply": ("ingest.framer", "Framer._settle", "before"),
    "router.before_produce": ("streams.router.deliveries", "Batch.produce", "before"),
    "router.before_commit": ("streams.router.pipeline", "Pipeline._settle", "before"),
    "history.before_write": ("streams.history.store", "Store.pump", "before"),
    "history.before_commit": ("streams.history.writer", "Writer._commit", "before"),
    "archive.before_commit": ("analytics.archive.table", "Table.append", "before"),
    "archive.after_commit": ("analytics.archive.table", "Table.append", "after"),
    "analytics.before_store": ("analytics.writer", "Writer.take", "before"),
    "analytics.after_store": ("analytics.writer", "Writer.take", "after"),
}


def die_at(point: str) -> None:
    """Be killed, or do what else the file says, if this point is armed."""
    folder = Path(os.environ["HUBBUB_FAULTS"])
    armed = folder / "armed" / point
    try:
        action = armed.read_text()  # before it moves: whoever waits for it there takes it away
        armed.rename(folder / "fired" / point)
    except FileNotFoundError:
        return
    match action.split():
        case ["kill", pid]:
            os.kill(int(pid), signal.SIGKILL)
        case ["sleep", seconds]:
            time.sleep(float(seconds))  # as a handler does that never lets go
        case _:
            os.kill(os.getpid(), signal.SIGKILL)


def _wrap(point: str, module: str, name: str, when: str) -> None:
    owner = importlib.import_module(module)
    *path, last = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    body = getattr(owner, last)

    if inspect.iscoroutinefunction(body):

        @wraps(body)
        async def wrapped(*args, **kwargs):
            if when == "before":
                die_at(point)
            result = await body(*args, **kwargs)
            if when == "after":
                die_at(point)
            return result
    else:

        @wraps(body)
        def wrapped(*args, **kwargs):
            if when == "before":
                die_at(point)
            result = body(*args, **kwargs)
            if when == "after":
                die_at(point)
            return result

    setattr(owner, last, wrapped)


def _believe() -> None:
    """Patch what the two variables are about."""
    if skew := os.environ.get("HUBBUB_FAULTS_SKEW"):
        clock = importlib.import_module("infra.runtime.clock").SystemClock
        now, shift = clock.now, timedelta(seconds=float(skew))
        clock.now = lambda self: now(self) + shift
    if suffix := os.environ.get("HUBBUB_FAULTS_GROUP"):
        kafka = importlib.import_module("infra.runtime.settings").Kafka
        group = kafka.group
        kafka.group = lambda self, role: group(self, role) + suffix


def _install() -> None:
    command = sys.orig_argv  # sys.argv is not complete yet
    role = command[-1] if command[-3:-1] == ["infra.cli", "run"] else None
    if role is None or "HUBBUB_FAULTS" not in os.environ:
        return
    folder = Path(os.environ["HUBBUB_FAULTS"])
    while (folder / "held" / role).exists():
        time.sleep(0.1)  # a file can only be looked for
    environment = folder / "environment" / role
    if environment.exists():
        os.environ |= json.loads(environment.read_text())
    _believe()
    for point, (module, name, when) in POINTS.items():
        if point.startswith(role + "."):
            _wrap(point, module, name, when)
    mutant = folder / "mutant" / role
    if mutant.exists():
        getattr(importlib.import_module("mutants"), mutant.read_text().strip())(die_at)


_install()
