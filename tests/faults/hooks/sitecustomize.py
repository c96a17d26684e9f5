"""Loaded by Python itself when this folder is on PYTHONPATH: lets a fault run end a role at a named point in its code.

HUBBUB_FAULTS names a folder. A file `armed/POINT` there makes the role that reaches POINT kill itself with SIGKILL,
once: whoever removes the file dies. A file `mutant/ROLE` holds the name of a mutant of `mutants.py` that the role is
to be. The product knows nothing of this.
"""

import importlib
import inspect
import os
import signal
import sys
from functools import wraps
from pathlib import Path

#: Where a role can be killed: module, function, and whether before or after its body.
POINTS = {
    "ingest.before_produce": ("ingest.framer", "Framer.send", "before"),
    "ingest.after_produce": ("ingest.framer", "Framer.send", "after"),
    "ingest.before_reply": ("ingest.framer", "Framer._settle", "before"),
    "router.before_produce": ("streams.deliveries", "Batch.produce", "before"),
    "router.before_commit": ("streams.pipeline", "Pipeline._settle", "before"),
    "history.before_write": ("streams.history.store", "Store.pump", "before"),
    "history.before_commit": ("streams.history.writer", "Writer._commit", "before"),
    "analytics.before_store": ("analytics.writer", "Writer.take", "before"),
    "analytics.after_store": ("analytics.writer", "Writer.take", "after"),
}


def die_at(point: str) -> None:
    """Be killed, if this point is armed."""
    folder = Path(os.environ["HUBBUB_FAULTS"])
    try:
        (folder / "armed" / point).rename(folder / "fired" / point)
    except FileNotFoundError:
        return
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


def _install() -> None:
    command = sys.orig_argv  # sys.argv is not complete yet
    role = command[-1] if command[-3:-1] == ["infra.cli", "run"] else None
    folder = os.environ.get("HUBBUB_FAULTS")
    if role is None or folder is None:
        return
    for point, (module, name, when) in POINTS.items():
        if point.startswith(role + "."):
            _wrap(point, module, name, when)
    mutant = Path(folder, "mutant", role)
    if mutant.exists():
        getattr(importlib.import_module("mutants"), mutant.read_text().strip())(die_at)


_install()
