"""Finds a Java 17 or 21 runtime that can carry Kafka, Cassandra and Spark, or says what was found instead.

Standard library only: the Makefile runs this file before anything is downloaded. As a script it prints the Java home,
or explains on stderr and exits 3.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

SUPPORTED = (17, 21)
"""Feature releases to run on, the preferred first: Kafka 4 and Spark 4.2 take both, Cassandra 5.0 is made for 17."""

NEEDED_MODULE = "jdk.incubator.vector"
"""Spark's launcher adds this module, so a runtime without it stops the gateway at once."""

ADVICE = (
    "Hubbub runs Kafka, Cassandra and Spark on Java 17 (or 21). Install one, then run this again:\n"
    "  Debian, Ubuntu:  sudo apt install openjdk-17-jre-headless\n"
    "  macOS:           brew install openjdk@17\n"
    "An installed one elsewhere is taken from HUBBUB_JAVA_HOME or JAVA_HOME."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """One Java installation. `version` is the feature release, 0 when it could not be told."""

    home: Path
    version: int
    full_version: str
    complete: bool

    @property
    def usable(self) -> bool:
        return self.version in SUPPORTED and self.complete


class JavaError(Exception):
    """No usable Java. The text says which ones were found and how to get one."""

    def __init__(self, found: list[Runtime]) -> None:
        lines = [
            f"  {java.home}: version {java.full_version or 'unknown'}"
            + ("" if java.complete else f", without the module {NEEDED_MODULE}")
            for java in found
        ]
        listing = "Found, but not usable:\n" + "\n".join(lines) if lines else "No Java was found."
        super().__init__(f"{listing}\n{ADVICE}")
        self.found = found


def feature_release(version: str) -> int:
    """`17.0.15` is 17, `1.8.0_402` is 8, `21-ea` is 21; 0 when the text is no version."""
    match = re.match(r"(?:1\.)?(\d+)", version)
    return int(match.group(1)) if match else 0


def parse_release_file(text: str) -> tuple[str, bool]:
    """The version in a Java home's `release` file, and whether its modules are enough.

    A file that lists no modules gets the benefit of the doubt.
    """
    values = dict(re.findall(r'^(\w+)="([^"]*)"$', text, flags=re.MULTILINE))
    modules = values.get("MODULES")
    return values.get("JAVA_VERSION", ""), modules is None or NEEDED_MODULE in modules.split()


def parse_version_output(text: str) -> str:
    """The quoted version in what `java -version` prints."""
    match = re.search(r'version "([^"]+)"', text)
    return match.group(1) if match else ""


def inspect(home: Path) -> Runtime | None:
    """What is installed at `home`; None when there is no `bin/java`. Runs Java only if its release file is missing."""
    executable = home / "bin" / "java"
    if not executable.is_file():
        return None
    full, complete = "", True
    release = home / "release"
    if release.is_file():
        full, complete = parse_release_file(release.read_text(errors="replace"))
    if not full:
        try:
            done = subprocess.run(  # noqa: S603 - the program is the Java that is being asked about
                [executable, "-version"], capture_output=True, text=True, timeout=20, check=False
            )
            full = parse_version_output(done.stderr + done.stdout)
        except (OSError, subprocess.TimeoutExpired) as error:
            full = f"unknown ({error})"
    return Runtime(home=home, version=feature_release(full), full_version=full, complete=complete)


def candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    """Java homes in the order of preference: asked for, on the path, then the usual places."""
    for name in ("HUBBUB_JAVA_HOME", "JAVA_HOME"):
        if environ.get(name):
            yield Path(environ[name])
    on_path = shutil.which("java", path=environ.get("PATH"))
    if on_path:
        yield Path(on_path).resolve().parent.parent
    yield from sorted(Path("/usr/lib/jvm").glob("*"))
    yield from sorted(Path("/Library/Java/JavaVirtualMachines").glob("*/Contents/Home"))
    for prefix in ("/opt/homebrew/opt", "/usr/local/opt"):
        yield from sorted(Path(prefix).glob("openjdk@*/libexec/openjdk.jdk/Contents/Home"))


def find(
    environ: Mapping[str, str],
    *,
    homes: Callable[[Mapping[str, str]], Iterator[Path]] = candidates,
    look: Callable[[Path], Runtime | None] = inspect,
) -> Runtime:
    """The first usable Java of the preferred release, else of the other; what `HUBBUB_JAVA_HOME` names must be usable.

    Raises:
        JavaError: none is usable.
    """
    found: list[Runtime] = []
    seen: set[Path] = set()
    asked = environ.get("HUBBUB_JAVA_HOME")
    for home in [Path(asked)] if asked else homes(environ):
        resolved = home.resolve()
        if resolved in seen:
            continue
        seen.add(resolved)
        java = look(home)
        if java is None:
            continue
        if java.usable and java.version == SUPPORTED[0]:
            return java
        found.append(java)
    for java in found:
        if java.usable:
            return java
    raise JavaError(found)


def main() -> int:
    """Print the Java home, or explain on stderr and answer 3."""
    try:
        print(find(os.environ).home)
    except JavaError as error:
        print(error, file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
