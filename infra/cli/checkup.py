"""What `hubbub doctor` looks at."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from infra.contracts.archive import TABLES
from infra.runtime.errors import PreconditionError, Unreachable
from infra.runtime.settings import Archive, Cassandra, Kafka, Runtime

_GIB = 1024**3
_DISK_GIB = 5
_MEMORY_GIB = 6


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `hint` says what to do, and is empty when nothing is."""

    name: str
    ok: bool
    detail: str
    hint: str = ""


def checkup() -> Iterator[Finding]:
    """Look at everything a local Hubbub needs, and at the servers it would use."""
    yield _java()
    yield _memory()
    yield _disk(Runtime().data_dir)
    found = running_addresses()
    kafka, cassandra = found if found else (Kafka(), Cassandra())
    yield from _servers(kafka, cassandra)
    yield _archive(Archive(), Runtime())


def _java() -> Finding:
    from infra.local.java import JavaError, find

    try:
        runtime = find(dict(os.environ))
    except JavaError as error:
        return Finding("java", False, "no usable one", str(error))
    return Finding("java", True, f"{runtime.version} at {runtime.home}")


def _memory() -> Finding:
    import psutil

    free = psutil.virtual_memory().available / _GIB
    hint = "" if free >= _MEMORY_GIB else f"a whole Hubbub takes up to {_MEMORY_GIB} GiB: close something"
    return Finding("memory", free >= _MEMORY_GIB, f"{free:.1f} GiB available", hint)


def _disk(folder: Path) -> Finding:
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / _GIB
    return Finding(
        "disk", free >= _DISK_GIB, f"{free:.0f} GiB free at {place}", "" if free >= _DISK_GIB else "free some"
    )


def _servers(kafka: Kafka, cassandra: Cassandra) -> Iterator[Finding]:
    from infra.runtime.kafka import check_topics
    from infra.runtime.migrations import check_schema

    def topics() -> list[str]:
        return [str(problem) for problem in check_topics(kafka, timeout=3)]

    def schema() -> list[str]:
        return check_schema(cassandra)

    node = f"cassandra {','.join(cassandra.contact_points)}:{cassandra.port}"
    for name, check, remedy in (
        (f"kafka {kafka.bootstrap}", topics, "hubbub topics apply"),
        (node, schema, "hubbub schema apply"),
    ):
        try:
            problems = check()
        except PreconditionError as error:
            yield Finding(name, False, "does not answer", f"hubbub up ({error})")
            continue
        yield Finding(
            name, not problems, "; ".join(problems) or "as the contract says", f"`{remedy}`" if problems else ""
        )


def _archive(archive: Archive, runtime: Runtime) -> Finding:
    try:
        from infra.runtime.archive import ArchiveReader, files
    except ImportError:
        return Finding("archive", True, "not installed here: it needs the extra `analytics`")
    reader = ArchiveReader(archive, runtime)
    name = f"archive {reader.root}"
    try:
        rows = sum(file.rows for table in TABLES for file in files(reader.open(table)))
    except Unreachable as error:
        return Finding(name, False, "cannot be read", str(error))
    except PreconditionError:
        return Finding(name, True, "nothing is archived yet")
    return Finding(name, True, f"{rows:,} rows")


def running_addresses() -> tuple[Kafka, Cassandra] | None:
    """Where Kafka and Cassandra are of the Hubbub that runs on this data directory, if one does."""
    from infra.local import supervisor

    status = supervisor.status(Runtime().data_dir)
    if status is None:
        return None
    return (
        Kafka().model_copy(update={"bootstrap": status.kafka_bootstrap}),
        Cassandra().model_copy(
            update={"contact_points": status.cassandra_contact_points, "port": status.cassandra_port}
        ),
    )
