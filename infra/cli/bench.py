"""`hubbub bench`: every stage beside its physical limit and what people would use instead. In a checkout only."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from infra.runtime.errors import PreconditionError

_MODULE = "tests.bench"
_ROOT = Path(__file__).parents[2]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    app.command()(bench)


def bench(
    stages: Annotated[
        list[str] | None,
        typer.Argument(help="Which: ingest, routing, history, pages, live, metrics, whole; all unless given."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Three rounds of a fifth of the events.")] = False,
    json: Annotated[Path | None, typer.Option("--json", help="Write the figures here as well.")] = None,
) -> None:
    """Measure each stage beside its physical limit and its peers, by turns. Exit code 1 below a bar."""
    if not (_ROOT / "tests" / "bench").is_dir() or importlib.util.find_spec("tests") is None:
        raise PreconditionError("the benchmark lies in the repository, not in the package: run it from a checkout.")
    command = [sys.executable, "-m", _MODULE, *(stages or ())]
    command += ["--quick"] if quick else []
    command += ["--json", str(json.absolute())] if json is not None else []
    sys.exit(subprocess.run(command, cwd=_ROOT, check=False).returncode)  # noqa: S603 - our own module
