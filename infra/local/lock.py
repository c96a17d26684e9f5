"""Writes `jars.lock` anew from what Maven resolves: `python -m infra.local.lock`, on a machine with Maven and network.

Change a version in `ROOTS`, run it, review the difference, commit. Nothing else resolves dependencies: a start only
downloads what the lock lists. Of Spark's jars only those are kept that PySpark's own distribution lacks.
"""

import hashlib
import re
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from infra.local.jars import LOCK, Engine, Jar, render_lock

ROOTS: dict[Engine, tuple[str, ...]] = {
    "kafka": ("org.apache.kafka:kafka_2.13:4.2.1", "org.slf4j:slf4j-simple:1.7.36"),
    "cassandra": ("org.apache.cassandra:cassandra-all:5.0.8",),
    "spark": (
        "org.apache.spark:spark-sql-kafka-0-10_2.13:4.2.0",
        "com.globalmentor:hadoop-bare-naked-local-fs:0.1.0",
        "io.delta:delta-spark_4.2_2.13:4.4.0",
    ),
}
"""What each engine is asked for by name; everything else follows from it."""


def pom(roots: tuple[str, ...]) -> str:
    """A Maven project that depends on `roots`."""
    dependencies = "".join(
        f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>"
        "</dependency>"
        for group, artifact, version in (root.split(":") for root in roots)
    )
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>hubbub</groupId><artifactId>lock</artifactId><version>1</version>"
        f"<dependencies>{dependencies}</dependencies></project>"
    )


def parse_dependency_list(text: str) -> dict[str, Path]:
    """Coordinate to jar file, from `mvn dependency:list` with absolute file names.

    A line is `group:artifact:jar[:classifier]:version:scope:file`, with or without ` -- module …` after it.
    """
    resolved: dict[str, Path] = {}
    for line in text.splitlines():
        match = re.match(r"^\s+([\w.\-]+):([\w.\-]+):jar:(?:([\w.\-]+):)?([\w.\-]+):(?:compile|runtime):(\S+)", line)
        if match:
            group, artifact, classifier, version, file = match.groups()
            coordinate = f"{group}:{artifact}:{version}" + (f":{classifier}" if classifier else "")
            resolved[coordinate] = Path(file)
    return resolved


def resolve(roots: tuple[str, ...]) -> dict[str, Path]:
    """Ask Maven for the jars that `roots` need at run time."""
    with tempfile.TemporaryDirectory() as folder:
        project, listing = Path(folder, "pom.xml"), Path(folder, "list.txt")
        project.write_text(pom(roots))
        subprocess.run(  # noqa: S603 - arguments are this file's own
            [
                *("mvn", "--batch-mode", "--quiet", "--file", project, "dependency:list"),
                *("-DincludeScope=runtime", "-DoutputAbsoluteArtifactFilename=true", f"-DoutputFile={listing}"),
            ],
            check=True,
        )
        return parse_dependency_list(listing.read_text())


def artifact_of(file_name: str) -> str:
    """The artifact part of a jar's file name: what stands before the version."""
    return re.split(r"-\d", file_name.removesuffix(".jar"), maxsplit=1)[0]


def main() -> int:
    """Resolve every engine's jars and write the lock."""
    spec = find_spec("pyspark")
    if spec is None or spec.origin is None:
        print("PySpark is not installed: run `uv sync --all-extras` first", file=sys.stderr)
        return 3
    bundled = {artifact_of(path.name) for path in (Path(spec.origin).parent / "jars").glob("*.jar")}
    jars: list[Jar] = []
    for engine, roots in ROOTS.items():
        for coordinate, path in resolve(roots).items():
            if engine == "spark" and coordinate.split(":")[1] in bundled:
                continue
            content = path.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            jars.append(Jar(sha256=digest, size=len(content), engine=engine, coordinate=coordinate))
    LOCK.write_text(render_lock(jars))
    print(f"{LOCK}: {len(jars)} jars", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
