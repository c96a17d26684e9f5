"""Settings of the router."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from infra.runtime.settings import Section


class RouterSettings(Section):
    """How the router reads, judges and writes."""

    model_config = SettingsConfigDict(env_prefix="HUBBUB_ROUTER_")

    instance_id: str = "router-0"
    """Name of this worker in its consumer group (static membership): stable over restarts, unique among workers."""
    session_seconds: float = Field(default=6.0, ge=6)
    """Seconds without a group heartbeat after which Kafka gives this worker's partitions away."""
    group_heartbeat_seconds: float = Field(default=2.0, gt=0)
    """Seconds between group heartbeats; at most a third of the session."""
    commit_seconds: float = Field(default=0.5, gt=0)
    """Seconds between offset commits."""
    in_flight_records: int = Field(default=2_000, ge=1)
    """Input records of one topic whose outputs Kafka has not confirmed yet, at most."""
    watermark_seconds: float = Field(default=1.0, gt=0)
    """Seconds between the heartbeat records that keep event time moving on a quiet evening."""
    stall_seconds: float = Field(default=30.0, gt=0)
    """The router is not ready when records wait this long without one being confirmed."""
    fuse_ratio: float = Field(default=0.1, gt=0, le=1)
    """Share of elements failing by our own fault, within a minute, that stops the worker."""
