"""One Cassandra node, tuned to start fast on a laptop; what a kill -9 must not lose is in its commit log."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog
from cassandra import DriverException
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable
from cassandra.policies import RoundRobinPolicy

from infra.local.ports import listens
from infra.local.process import Command

log = structlog.get_logger(__name__)

EXPORTS = (
    *("java.base/jdk.internal.misc", "java.base/jdk.internal.ref", "java.base/java.lang.ref", "java.base/sun.nio.ch"),
    *("java.management.rmi/com.sun.jmx.remote.internal.rmi", "java.rmi/sun.rmi.registry", "java.rmi/sun.rmi.server"),
    *("java.sql/java.sql", "jdk.unsupported/sun.misc", "jdk.attach/sun.tools.attach"),
)
OPENS = (
    *("java.base/java.lang", "java.base/java.lang.module", "java.base/java.lang.reflect", "java.base/java.lang.invoke"),
    *("java.base/java.io", "java.base/java.net", "java.base/java.nio", "java.base/sun.nio.ch"),
    *("java.base/java.util", "java.base/java.util.concurrent", "java.base/java.util.concurrent.atomic"),
    *("java.base/jdk.internal.loader", "java.base/jdk.internal.ref", "java.base/jdk.internal.reflect"),
    *("java.base/jdk.internal.math", "java.base/jdk.internal.module", "java.base/jdk.internal.util.jar"),
    "jdk.management/com.sun.management.internal",
)
"""What Cassandra lists for Java 17 in its jvm17-server.options, and what its off-heap code needs beside it."""

LOGBACK = """<configuration>
  <appender name="STDOUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%date{ISO8601} %-5level %logger{20} %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="STDOUT"/></root>
</configuration>
"""


#: Version, id and length of the parameters of a commit log segment.
_HEADER_BYTES: Final = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class CassandraNode:
    """Where the node lives and how it is run."""

    home: Path
    java: Path
    java_version: int
    jars: tuple[Path, ...]
    heap: str
    port: int
    storage_port: int
    jmx_port: int
    log: Path
    environment: Mapping[str, str]

    name = "cassandra"

    def addresses(self) -> dict[str, str]:
        """What the roles need to know."""
        return {"HUBBUB_CASSANDRA_CONTACT_POINTS": '["127.0.0.1"]', "HUBBUB_CASSANDRA_PORT": str(self.port)}

    def configuration(self) -> dict[str, Any]:
        """cassandra.yaml as data.

        A write is acknowledged after its commit log sync (`batch`): replay ends at the last marker, and with periodic
        syncs a marker is written every 100 ms, so a kill -9 lost 111 of 5,513 acknowledged writes, at the same rate.
        A disk failure ends the process, so that the supervisor's restart is the recovery.
        """
        return {
            "cluster_name": "hubbub",
            "num_tokens": 1,
            "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
            "endpoint_snitch": "SimpleSnitch",
            "seed_provider": [
                {
                    "class_name": "org.apache.cassandra.locator.SimpleSeedProvider",
                    "parameters": [{"seeds": f"127.0.0.1:{self.storage_port}"}],
                }
            ],
            "listen_address": "127.0.0.1",
            "rpc_address": "127.0.0.1",
            "storage_port": self.storage_port,
            "native_transport_port": self.port,
            "data_file_directories": [str(self.home / "data")],
            "commitlog_directory": str(self.home / "commitlog"),
            "saved_caches_directory": str(self.home / "saved_caches"),
            "hints_directory": str(self.home / "hints"),
            "cdc_raw_directory": str(self.home / "cdc_raw"),
            "commitlog_sync": "batch",
            "commitlog_segment_size": "32MiB",
            "commitlog_total_space": "512MiB",
            "disk_failure_policy": "die",
            "commit_failure_policy": "die",
            "storage_compatibility_mode": "NONE",
            "sstable": {"selected_format": "bti"},
            "memtable": {"configurations": {"default": {"class_name": "TrieMemtable"}}},
            "memtable_allocation_type": "offheap_objects",
            "uuid_sstable_identifiers_enabled": True,
            "concurrent_compactors": 1,
            "auto_snapshot": False,
            "hinted_handoff_enabled": False,
            "batch_size_warn_threshold": "48KiB",
            "batch_size_fail_threshold": "50KiB",
            "unlogged_batch_across_partitions_warn_threshold": 100,
            "read_request_timeout": "5000ms",
            "range_request_timeout": "10000ms",
            "write_request_timeout": "5000ms",
        }

    async def prepare(self) -> None:
        """Write the configuration. JSON is YAML, so no YAML writer is needed."""
        self.home.mkdir(parents=True, exist_ok=True)
        self._config.write_text(json.dumps(self.configuration(), indent=2) + "\n")
        self._logback.write_text(LOGBACK)
        self.mend()

    def mend(self) -> None:
        """Delete commit log segments that were never begun: a full disk leaves them, and no node starts on one.

        A segment's header is on the disk before its first mutation, so one that begins with zeros holds nothing.
        """
        for segment in sorted((self.home / "commitlog").glob("CommitLog-*.log")):
            with segment.open("rb") as file:
                begun = any(file.read(_HEADER_BYTES))
            if not begun:
                segment.unlink()
                log.warning("commitlog.unwritten_segment_deleted", segment=segment.name)

    def command(self) -> Command:
        """The node's process."""
        argv = (*self._java(), "org.apache.cassandra.service.CassandraDaemon")
        return Command(name=self.name, argv=argv, environment=self.environment, log=self.log)

    async def answers(self) -> bool:
        """Whether the node answers a query now. The port is asked first: the driver logs every refused connection."""
        if not listens(self.port):
            return False
        return await asyncio.to_thread(self._answers_query)

    def _answers_query(self) -> bool:
        profile = ExecutionProfile(load_balancing_policy=RoundRobinPolicy())
        cluster = Cluster(
            ["127.0.0.1"],
            port=self.port,
            protocol_version=5,
            schema_metadata_enabled=False,
            execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        )
        try:
            with cluster.connect() as session:
                return session.execute("SELECT release_version FROM system.local").one() is not None
        except (NoHostAvailable, DriverException, OSError):
            return False
        finally:
            cluster.shutdown()

    @property
    def _config(self) -> Path:
        return self.home / "cassandra.yaml"

    @property
    def _logback(self) -> Path:
        return self.home / "logback.xml"

    def _java(self) -> list[str]:
        jamm = next(jar for jar in self.jars if jar.name.startswith("jamm-"))
        properties = {
            "cassandra.config": self._config.as_uri(),
            "cassandra.storagedir": self.home,
            "logback.configurationFile": self._logback,
            "cassandra.jmx.local.port": self.jmx_port,
            "cassandra-foreground": "yes",
            "cassandra.ring_delay_ms": 0,
            "cassandra.skip_wait_for_gossip_to_settle": 0,
            "jdk.attach.allowAttachSelf": "true",
            "io.netty.tryReflectionSetAccessible": "true",
            "java.net.preferIPv4Stack": "true",
            "java.awt.headless": "true",
        }
        # Cassandra installs a security manager for user functions, which Java refuses by default from 18 on.
        guard = ["-Djava.security.manager=allow"] if self.java_version >= 18 else []
        return [
            *(str(self.java / "bin" / "java"), f"-Xms{self.heap}", f"-Xmx{self.heap}", "-Xss256k", "-XX:+UseG1GC"),
            *("-XX:MaxGCPauseMillis=300", "-XX:MaxDirectMemorySize=512m", "-XX:+ParallelRefProcEnabled"),
            *("-XX:+ExitOnOutOfMemoryError", "-XX:+PerfDisableSharedMem", f"-javaagent:{jamm}"),
            f"-XX:ErrorFile={self.log.parent}/hs_err_%p.log",
            *(f"--add-exports={export}=ALL-UNNAMED" for export in EXPORTS),
            *(f"--add-opens={package}=ALL-UNNAMED" for package in OPENS),
            *(f"-D{key}={value}" for key, value in properties.items()),
            *guard,
            *("-cp", ":".join(str(jar) for jar in self.jars)),
        ]
