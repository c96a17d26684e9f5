"""Settings shared by every role, read from the environment (prefix `HUBBUB_`) and an optional `.env` file.

A room with settings of its own declares one more `Section` beside the code that uses it.
"""

from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Section(BaseSettings):
    """A frozen group of settings that share a prefix. Every field carries a description: the docs are made from it."""

    model_config = SettingsConfigDict(
        env_prefix="HUBBUB_", env_file=".env", extra="ignore", frozen=True, use_attribute_docstrings=True
    )

    def effective(self) -> dict[str, Any]:
        """The values in force, secrets masked, for the log line each role writes at start."""
        return {name: str(value) for name, value in self.model_dump().items()}


class Kafka(Section):
    """Where Kafka is and how topics are named there."""

    model_config = SettingsConfigDict(env_prefix="HUBBUB_KAFKA_")

    bootstrap: str = "127.0.0.1:9092"
    """Bootstrap servers, comma separated."""
    topic_prefix: str = ""
    """Put before every topic and consumer group name, so that several Hubbubs can share a cluster."""
    replication: int = Field(default=1, ge=1)
    """Replication factor of topics that `hubbub topics apply` creates."""
    security: dict[str, str] = Field(default_factory=dict)
    """Extra librdkafka properties as JSON, such as `security.protocol` and SASL mechanism names."""
    password: SecretStr = SecretStr("")
    """SASL password, passed to librdkafka as `sasl.password` when set."""

    def topic(self, name: str) -> str:
        """The name of a contract topic on this cluster."""
        return self.topic_prefix + name

    def group(self, role: str) -> str:
        """The consumer group id of a role on this cluster."""
        return f"{self.topic_prefix}hubbub-{role}"


class Cassandra(Section):
    """Where Cassandra is and how hard it may be pressed."""

    model_config = SettingsConfigDict(env_prefix="HUBBUB_CASSANDRA_")

    contact_points: list[str] = ["127.0.0.1"]
    """Contact points as a JSON list."""
    port: int = 9042
    """CQL native transport port."""
    keyspace: str = "hubbub"
    """Keyspace; created by `hubbub schema apply` when missing."""
    replication: str = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
    """Replication of a keyspace that `hubbub schema apply` creates, as a CQL map."""
    consistency: str = "LOCAL_QUORUM"
    """Consistency level of every read and write."""
    request_timeout: float = 10.0
    """Seconds the driver waits for one request."""
    username: str = ""
    """User name; empty for none."""
    password: SecretStr = SecretStr("")
    """Password of that user."""


class Archive(Section):
    """Where the archive lives, for those who write it and those who read it."""

    model_config = SettingsConfigDict(env_prefix="HUBBUB_ARCHIVE_")

    location: str = ""
    """Folder or object-store URI, as `s3://bucket/hubbub`; `archive` below the data directory when empty. A store must
    be able to refuse to overwrite: that is what keeps two writers apart."""
    storage: dict[str, SecretStr] = Field(default_factory=dict)
    """Options of the object store as JSON, as delta-rs names them: endpoint, region, credentials."""

    def root(self, runtime: "Runtime") -> str:
        """The folder or URI below which each table has a folder."""
        return self.location.rstrip("/") or str(runtime.data_dir.absolute() / "archive")


class Listen(Section):
    """Host and ports each role listens on. Health and metrics of a role are on its port."""

    host: str = "127.0.0.1"
    """Address every role binds."""
    ingest_port: int = 8080
    """Port of the ingest API."""
    router_port: int = 8081
    """Port of the router's health and metrics."""
    history_port: int = 8082
    """Port of the history writer's health and metrics."""
    analytics_port: int = 8083
    """Port of the analytics query's health and metrics."""
    archive_port: int = 8084
    """Port of the archive writer's health and metrics."""
    ledger_port: int = 8085
    """Port of the ledger's health and metrics."""
    reports_port: int = 8086
    """Port of the report maker's health and metrics."""
    interactions_port: int = 8087
    """Port of the health and metrics of what counts sessions and response times."""
    api_port: int = 8090
    """Port of the read API and dashboard."""

    @property
    def reachable_host(self) -> str:
        """Where others on this machine find what binds `host`."""
        return "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104 - asked for, not bound, here


class Runtime(Section):
    """How a role logs and stops, and where it may write."""

    log_level: str = "INFO"
    """Lowest level that is logged."""
    log_format: str = Field(default="auto", pattern="^(auto|json|console)$")
    """`json`, `console`, or `auto`: console on a terminal, JSON elsewhere."""
    data_dir: Path = Path(".hubbub")
    """Where local state lives: engine data, Spark checkpoints, the archive, logs, demo keys."""
    stop_seconds: float = 10.0
    """Bound on a graceful stop after SIGTERM."""
