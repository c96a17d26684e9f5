"""Real Kafka and Cassandra as supervised child processes: prepared, started together, awaited, stopped together."""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from infra.local import jars, java
from infra.local.cassandra import CassandraNode
from infra.local.errors import LocalError
from infra.local.kafka import KafkaNode
from infra.local.keeper import Keeper
from infra.local.ports import claim
from infra.local.process import Command
from infra.local.progress import Progress, Quiet
from infra.local.settings import Local
from infra.local.state import ProcessState

ENGINE_PORTS = {
    "kafka": 9092,
    "kafka_controller": 9093,
    "cassandra": 9042,
    "cassandra_storage": 7000,
    "cassandra_jmx": 7199,
}
"""The ports that are tried first."""


class EngineNode(Protocol):
    """What Kafka's and Cassandra's nodes have in common."""

    @property
    def name(self) -> str: ...
    @property
    def port(self) -> int: ...
    def addresses(self) -> dict[str, str]: ...
    async def prepare(self) -> None: ...
    def mend(self) -> None: ...
    def command(self) -> Command: ...
    async def answers(self) -> bool: ...


def find_java(local: Local, environ: Mapping[str, str]) -> java.Runtime:
    """The Java to run on, the setting before what the environment and the machine offer.

    Raises:
        LocalError: there is none; the text says how to get one.
    """
    asked = {"HUBBUB_JAVA_HOME": str(local.java_home)} if local.java_home else {}
    try:
        return java.find({**environ, **asked})
    except java.JavaError as error:
        raise LocalError(str(error)) from error


async def fetch_jars(local: Local, engines: Collection[jars.Engine], progress: Progress) -> None:
    """Have the locked jars of these engines in the cache.

    Raises:
        JarError: one cannot be had.
    """
    progress.began("jars")
    downloaded = await jars.ensure(
        jars.locked(*engines),
        cache=local.jar_cache,
        url=local.maven_url,
        maven_local=local.maven_local,
        progress=lambda done, total: progress.moved("jars", done, total),
    )
    progress.ready("jars", f"{downloaded} downloaded" if downloaded else "present")


def nodes(
    data_dir: Path,
    *,
    local: Local,
    runtime: java.Runtime,
    ports: Mapping[str, int],
    environment: Mapping[str, str],
    wanted: Collection[str],
) -> list[EngineNode]:
    """The wanted engines of a data directory, configured, nothing started or written yet."""
    made: list[EngineNode] = []
    if "kafka" in wanted:
        made.append(
            KafkaNode(
                home=data_dir / "kafka",
                java=runtime.home,
                jars=tuple(jars.paths(jars.locked("kafka"), local.jar_cache)),
                heap=local.kafka_heap,
                port=ports["kafka"],
                controller_port=ports["kafka_controller"],
                log=data_dir / "logs" / "kafka.log",
                environment=environment,
            )
        )
    if "cassandra" in wanted:
        made.append(
            CassandraNode(
                home=data_dir / "cassandra",
                java=runtime.home,
                java_version=runtime.version,
                jars=tuple(jars.paths(jars.locked("cassandra"), local.jar_cache)),
                heap=local.cassandra_heap,
                port=ports["cassandra"],
                storage_port=ports["cassandra_storage"],
                jmx_port=ports["cassandra_jmx"],
                log=data_dir / "logs" / "cassandra.log",
                environment=environment,
            )
        )
    return made


class Engines:
    """Running engines."""

    def __init__(
        self,
        engine_nodes: list[EngineNode],
        *,
        local: Local,
        changed: Callable[[], None],
        note: Callable[[str], None],
    ) -> None:
        self.nodes = engine_nodes
        self.environment = {key: value for node in engine_nodes for key, value in node.addresses().items()}
        self.keepers: dict[str, Keeper] = {}
        self._local = local
        self._changed = changed
        self._note = note

    async def start(self, progress: Progress) -> None:
        """Start all at the same time and wait until each answers.

        Raises:
            StartError: one exited or did not answer in time.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                for node in self.nodes:
                    tasks.create_task(self._start(node, progress))
        except* Exception as group:
            raise group.exceptions[0] from None

    async def stop(self) -> None:
        """Stop all at the same time, within the bound."""
        async with asyncio.TaskGroup() as tasks:
            for keeper in self.keepers.values():
                tasks.create_task(keeper.stop())

    def states(self, data_dir: Path) -> dict[str, ProcessState]:
        """Each engine as it is now, for the state file."""
        return {
            node.name: ProcessState(
                identity=keeper.running.identity if keeper and keeper.running else None,
                host="127.0.0.1",
                port=node.port,
                log=str(data_dir / "logs" / f"{node.name}.log"),
                restarts=keeper.restarts if keeper else 0,
            )
            for node in self.nodes
            for keeper in [self.keepers.get(node.name)]
        }

    async def _start(self, node: EngineNode, progress: Progress) -> None:
        progress.began(node.name)
        await node.prepare()
        keeper = Keeper(
            node.command(),
            stop_seconds=self._local.engine_stop_seconds,
            changed=self._changed,
            note=self._note,
            now=time.monotonic,
            mend=node.mend,
        )
        self.keepers[node.name] = keeper
        running = await keeper.start()
        await running.until(node.answers, self._local.engine_start_seconds)
        progress.ready(node.name, f"127.0.0.1:{node.port}")


@contextmanager
def local_engines(
    data_dir: Path,
    *,
    local: Local | None = None,
    wanted: Collection[jars.Engine] = ("kafka", "cassandra"),
    ports: Mapping[str, int] = ENGINE_PORTS,
    progress: Progress | None = None,
) -> Iterator[Engines]:
    """Real engines for a `with` block, on free ports, restarted if they die: what tests use.

    `environment` of what is yielded holds the `HUBBUB_*` addresses. Everything runs on a thread of its own, so the
    block may be synchronous or run an event loop.

    Raises:
        LocalError: the engines cannot be had.
    """
    data_dir = data_dir.absolute()
    data_dir.mkdir(parents=True, exist_ok=True)
    settings, shown = local or Local(), progress or Quiet()
    ready: Future[Engines] = Future()
    stop = threading.Event()

    async def live() -> None:
        runtime = find_java(settings, os.environ)
        await fetch_jars(settings, wanted, shown)
        engines = Engines(
            nodes(
                data_dir,
                local=settings,
                runtime=runtime,
                ports=claim(data_dir, ports),
                environment=os.environ,
                wanted=wanted,
            ),
            local=settings,
            changed=lambda: None,
            note=shown.note,
        )
        try:
            await engines.start(shown)
            ready.set_result(engines)
            await asyncio.to_thread(stop.wait)
        finally:
            await engines.stop()

    def run() -> None:
        try:
            asyncio.run(live())
        except Exception as error:
            if ready.done():
                raise
            ready.set_exception(error)

    thread = threading.Thread(target=run, name="local engines")
    thread.start()
    try:
        yield ready.result()
    finally:
        stop.set()
        thread.join()
