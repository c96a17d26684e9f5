"""One Kafka node in KRaft mode, broker and controller in one process, for a laptop and for tests."""

import asyncio
import base64
import shutil
import subprocess
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from infra.local.errors import StartError
from infra.local.ports import listens
from infra.local.process import Command

MAX_RECORD = 6 * 1024 * 1024
"""Largest record batch in bytes: the dead letters' 5 MiB and their headers."""


def cluster_id(new_uuid: Callable[[], uuid.UUID]) -> str:
    """A cluster id in Kafka's form: URL-safe base64 of a UUID. A leading dash would read as an option."""
    while True:
        text = base64.urlsafe_b64encode(new_uuid().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaNode:
    """Where the node lives and how it is run."""

    home: Path
    java: Path
    jars: tuple[Path, ...]
    heap: str
    port: int
    controller_port: int
    log: Path
    environment: Mapping[str, str]

    name = "kafka"

    @property
    def data(self) -> Path:
        return self.home / "data"

    def addresses(self) -> dict[str, str]:
        """What the roles need to know."""
        return {"HUBBUB_KAFKA_BOOTSTRAP": f"127.0.0.1:{self.port}"}

    def properties(self, data: Path) -> str:
        """server.properties for log files under `data`.

        Sessions down to 1 s are allowed, so that a killed consumer's partitions move within seconds. The broker's own
        session is short because after a kill -9 the controller refuses the new incarnation until the old one's ends.
        """
        values = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{self.controller_port}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": data,
            "auto.create.topics.enable": "false",
            "default.replication.factor": 1,
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 8,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "share.coordinator.state.topic.num.partitions": 1,
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 1000,
            "broker.heartbeat.interval.ms": 1000,
            "broker.session.timeout.ms": 6000,
            "message.max.bytes": MAX_RECORD,
            "replica.fetch.max.bytes": MAX_RECORD,
            "log.cleaner.dedupe.buffer.size": 33_554_432,
            "log.segment.bytes": 268_435_456,
            "num.network.threads": 2,
            "num.io.threads": 4,
            "auto.leader.rebalance.enable": "false",
        }
        return "".join(f"{key}={value}\n" for key, value in values.items())

    async def prepare(self) -> None:
        """Write the configuration; format the data directory the first time.

        Formatting happens beside its place and is renamed there, so an interrupted one is simply done again.

        Raises:
            StartError: the format tool failed.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        self._config.write_text(self.properties(self.data))
        if self.data.is_dir():
            return
        fresh = self.home / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        config = self.home / "format.properties"
        config.write_text(self.properties(fresh))
        done = await asyncio.to_thread(
            subprocess.run,
            [*self._java("128m"), "kafka.tools.StorageTool", "format", "-t", cluster_id(uuid.uuid4), "-c", str(config)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            self.log.write_text(done.stdout + done.stderr)
            raise StartError(self.name, "could not format its data directory", self.log)
        fresh.rename(self.data)

    def mend(self) -> None:
        """Nothing: a broker recovers its log by itself."""

    def command(self) -> Command:
        """The broker's process."""
        argv = (*self._java(self.heap), "kafka.Kafka", str(self._config))
        return Command(name=self.name, argv=argv, environment=self.environment, log=self.log)

    async def answers(self) -> bool:
        """Whether the broker serves metadata now. The port is asked first: the client logs every refused connection."""
        if not listens(self.port):
            return False
        return await asyncio.to_thread(self._serves_metadata)

    def _serves_metadata(self) -> bool:
        admin = AdminClient({"bootstrap.servers": f"127.0.0.1:{self.port}", "log_level": 0})
        try:
            return bool(admin.list_topics(timeout=2).brokers)
        except KafkaException:
            return False

    @property
    def _config(self) -> Path:
        return self.home / "server.properties"

    def _java(self, heap: str) -> list[str]:
        logging = {
            "showDateTime": "true",
            "dateTimeFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSX",
            "showThreadName": "false",
            "defaultLogLevel": "info",
        }
        return [
            *(str(self.java / "bin" / "java"), f"-Xms{heap}", f"-Xmx{heap}", "-XX:+UseSerialGC"),
            *("-XX:+ExitOnOutOfMemoryError", "-XX:+PerfDisableSharedMem", "-Djava.awt.headless=true"),
            f"-XX:ErrorFile={self.log.parent}/hs_err_%p.log",
            *(f"-Dorg.slf4j.simpleLogger.{key}={value}" for key, value in logging.items()),
            *("-cp", ":".join(str(jar) for jar in self.jars)),
        ]
