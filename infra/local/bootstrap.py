"""Prints the path of a working uv, installing a private one under `.hubbub/` when the machine has none.

Standard library only: the Makefile runs this file when there is nothing but Python. It explains and exits 3 when
neither `venv` nor `pip` works. uv comes from the package index that pip is configured for.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

PRIVATE = Path(".hubbub") / "uv"
ADVICE = (
    "uv could not be installed: this Python has neither a working venv nor pip. One of these helps:\n"
    "  Debian, Ubuntu:  sudo apt install python3-venv\n"
    "  macOS:           brew install uv\n"
    "  anywhere:        pipx install uv"
)


def works(command: Sequence[str]) -> bool:
    """Whether the command runs and succeeds; what it says is only shown when it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own commands
    except OSError:
        return False
    if done.returncode != 0:
        print(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()}", file=sys.stderr)
    return done.returncode == 0


def installed(private: Path) -> Iterator[Path]:
    """Where a uv may be: on the path, then where an earlier run put it."""
    on_path = shutil.which("uv")
    if on_path:
        yield Path(on_path)
    yield from (path for path in (private / "bin" / "uv", private / "target" / "bin" / "uv") if path.is_file())


def install(private: Path, python: str) -> Path | None:
    """Install uv under `private`; by a virtual environment, else by pip alone, since Debian splits venv off."""
    print("uv is not installed: installing a private one", file=sys.stderr)
    if works([python, "-m", "venv", "--clear", str(private)]):
        uv = private / "bin" / "uv"
        if works([str(private / "bin" / "python"), "-m", "pip", "install", "--quiet", "uv"]) and uv.is_file():
            return uv
    target = private / "target"
    uv = target / "bin" / "uv"
    if works([python, "-m", "pip", "install", "--quiet", "--target", str(target), "uv"]) and uv.is_file():
        return uv
    return None


def main() -> int:
    """Print the path, or explain on stderr and answer 3."""
    if sys.version_info < (3, 11):  # noqa: UP036 - this file is what tells users of an older one
        print(
            f"Hubbub needs Python 3.11 or newer, this is {sys.version.split()[0]}: try `make PYTHON=python3.11`",
            file=sys.stderr,
        )
        return 3
    uv = next((path for path in installed(PRIVATE) if works([str(path), "--version"])), None)
    uv = uv or install(PRIVATE, sys.executable)
    if uv is None:
        print(ADVICE, file=sys.stderr)
        return 3
    print(uv)
    return 0


if __name__ == "__main__":
    sys.exit(main())
