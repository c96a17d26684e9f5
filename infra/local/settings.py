"""Settings of the local stack: which Java, which jars, how much memory, how long to wait."""

import os
from pathlib import Path

from pydantic import Field

from infra.runtime.settings import Section


def default_jar_cache() -> Path:
    """A cache per user, so that a second clone downloads nothing."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "hubbub" / "jars"


class Local(Section):
    """How `hubbub up` runs real engines as child processes."""

    java_home: Path | None = None
    """Java 17 or 21 to run the engines and Spark on; looked for when not set."""
    maven_url: str = "https://repo.maven.apache.org/maven2"
    """Maven repository that the locked jars are fetched from."""
    maven_local: Path = Field(default_factory=lambda: Path.home() / ".m2" / "repository")
    """Maven's own local repository: a jar that is there with the locked checksum is copied, not downloaded."""
    jar_cache: Path = Field(default_factory=default_jar_cache)
    """Where fetched jars are kept."""
    kafka_heap: str = Field(default="512m", pattern=r"^\d+[mg]$")
    """Java heap of the local Kafka."""
    cassandra_heap: str = Field(default="1024m", pattern=r"^\d+[mg]$")
    """Java heap of the local Cassandra; the process takes about 0.5 GB more."""
    engine_start_seconds: float = 120.0
    """Bound on the start of one engine."""
    engine_stop_seconds: float = 20.0
    """Bound on the graceful stop of one engine; it is killed after that."""
    role_start_seconds: float = 240.0
    """Bound on the time until every role is ready."""
