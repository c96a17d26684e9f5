"""The jars named in `jars.lock`, present and with the locked checksum, or an error that says which is not.

The lock has one line a jar: sha256, size in bytes, engine, Maven coordinate (`group:artifact:version[:classifier]`).
`infra.local.lock` regenerates it. A jar that is present is never fetched again, so a start works offline.
"""

import asyncio
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import httpx
import stamina

from infra.local.errors import JarError

Engine = Literal["kafka", "cassandra", "spark"]
ENGINES: tuple[Engine, ...] = get_args(Engine)
LOCK = Path(__file__).with_name("jars.lock")
HEADER = "# sha256 size engine group:artifact:version[:classifier]; made by `python -m infra.local.lock`\n"
PARALLEL = 8
"""Downloads at a time."""

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all, as bytes arrive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Jar:
    """One locked jar."""

    sha256: str
    size: int
    engine: Engine
    coordinate: str

    @property
    def file_name(self) -> str:
        _, artifact, version, *classifier = self.coordinate.split(":")
        return "-".join((artifact, version, *classifier)) + ".jar"

    @property
    def maven_path(self) -> str:
        """Path below the root of a Maven repository."""
        group, artifact, version, *_ = self.coordinate.split(":")
        return "/".join((*group.split("."), artifact, version, self.file_name))

    def path(self, cache: Path) -> Path:
        """Where the jar is kept. The checksum's start keeps equal names of different content apart."""
        return cache / self.sha256[:12] / self.file_name


def parse_lock(text: str) -> tuple[Jar, ...]:
    """The jars of a lock's text.

    Raises:
        JarError: a line is not four well-formed fields.
    """
    jars: list[Jar] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = line.split()
        if len(fields) != 4:
            raise JarError(f"jars.lock line {number}: four fields expected, not {len(fields)}")
        sha256, size, engine, coordinate = fields
        known = next((name for name in ENGINES if name == engine), None)
        if len(sha256) != 64 or not size.isdigit() or known is None or len(coordinate.split(":")) not in (3, 4):
            raise JarError(f"jars.lock line {number} is malformed: {line}")
        jars.append(Jar(sha256=sha256, size=int(size), engine=known, coordinate=coordinate))
    return tuple(jars)


def render_lock(jars: Iterable[Jar]) -> str:
    """The lock's text: sorted, so that a regenerated lock differs only where a jar does."""
    ordered = sorted(jars, key=lambda jar: (jar.engine, jar.coordinate))
    return HEADER + "".join(f"{jar.sha256} {jar.size} {jar.engine} {jar.coordinate}\n" for jar in ordered)


def locked(*engines: Engine) -> tuple[Jar, ...]:
    """The committed lock's jars for these engines."""
    return tuple(jar for jar in parse_lock(LOCK.read_text()) if jar.engine in engines)


def paths(jars: Iterable[Jar], cache: Path) -> list[Path]:
    """Where these jars are kept, in the lock's order."""
    return [jar.path(cache) for jar in jars]


def spark_jars(cache: Path) -> list[Path]:
    """The jars Spark needs beside those PySpark ships; present after `ensure`."""
    return paths(locked("spark"), cache)


def missing(jars: Iterable[Jar], cache: Path) -> list[Jar]:
    """Jars not in the cache. Sizes are compared, not checksums: only verified files are ever renamed into place."""
    result: dict[Path, Jar] = {}
    for jar in jars:
        path = jar.path(cache)
        if not path.is_file() or path.stat().st_size != jar.size:
            result[path] = jar
    return list(result.values())


def adopt(jar: Jar, cache: Path, maven_local: Path) -> bool:
    """Copy the jar from Maven's local repository if it is there with the locked checksum."""
    source = maven_local / jar.maven_path
    if not source.is_file() or source.stat().st_size != jar.size:
        return False
    part = _part(jar, cache)
    shutil.copyfile(source, part)
    if hashlib.sha256(part.read_bytes()).hexdigest() != jar.sha256:
        part.unlink()
        return False
    part.replace(jar.path(cache))
    return True


async def ensure(jars: Iterable[Jar], *, cache: Path, url: str, maven_local: Path, progress: Progress) -> int:
    """Fetch what is missing; answers how many jars were downloaded.

    Raises:
        JarError: a download failed after retries, or its checksum is not the locked one.
    """
    wanted = missing(jars, cache)
    total, done, downloaded = sum(jar.size for jar in wanted), 0, 0
    gate = asyncio.Semaphore(PARALLEL)

    def advance(size: int) -> None:
        nonlocal done
        done += size
        progress(done, total)

    async def fetch_one(client: httpx.AsyncClient, jar: Jar) -> None:
        nonlocal downloaded
        async with gate:
            if await asyncio.to_thread(adopt, jar, cache, maven_local):
                advance(jar.size)
                return
            await download(client, jar, cache=cache, url=url, advance=advance)
            downloaded += 1

    if not wanted:
        return 0
    progress(0, total)
    try:
        async with httpx.AsyncClient(timeout=30, follow_redirects=True) as client, asyncio.TaskGroup() as tasks:
            for jar in wanted:
                tasks.create_task(fetch_one(client, jar))
    except* (JarError, OSError) as group:
        raise _first(group) from group
    return downloaded


async def download(
    client: httpx.AsyncClient, jar: Jar, *, cache: Path, url: str, advance: Callable[[int], None]
) -> None:
    """Stream one jar beside its place and rename it there once its checksum is right."""
    address = f"{url.rstrip('/')}/{jar.maven_path}"
    part = _part(jar, cache)
    try:
        async for attempt in stamina.retry_context(on=_passing, attempts=4, wait_max=5):
            with attempt:
                digest, received = hashlib.sha256(), 0
                try:
                    async with client.stream("GET", address) as response:
                        response.raise_for_status()
                        with part.open("wb") as file:
                            async for chunk in response.aiter_bytes():
                                file.write(chunk)
                                digest.update(chunk)
                                received += len(chunk)
                                advance(len(chunk))
                except httpx.HTTPError:
                    advance(-received)
                    raise
        if digest.hexdigest() != jar.sha256:
            raise JarError(f"{jar.coordinate}: what {address} sent has another checksum than jars.lock")
        part.replace(jar.path(cache))
    except httpx.HTTPError as error:
        raise JarError(
            f"{jar.coordinate} could not be fetched from {address}: {error or type(error).__name__}"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _passing(error: Exception) -> bool:
    """Whether a later attempt may succeed: lost connections and server errors, not a 404."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code >= 500 or error.response.status_code == 429
    return isinstance(error, httpx.TransportError)


def _part(jar: Jar, cache: Path) -> Path:
    """A name of this process's own beside the jar's place, so that two starts do not write one file."""
    path = jar.path(cache)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def _first(group: BaseExceptionGroup[BaseException]) -> JarError:
    """One readable error for a group of failed downloads."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error if isinstance(error, JarError) else JarError(str(error))
