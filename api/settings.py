"""Settings of the read API, prefix `HUBBUB_API_`."""

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from infra.runtime.settings import Section


class Api(Section):
    """Sessions, tokens, the page cache and the bounds of what one request may cost."""

    model_config = SettingsConfigDict(env_prefix="HUBBUB_API_")

    secret: SecretStr = SecretStr("")
    """Signs sessions, tokens and cursors. Empty: one is made at first start and kept in the data directory."""
    session_seconds: int = Field(default=12 * 3600, ge=60)
    """How long a browser session lasts."""
    token_max_seconds: int = Field(default=24 * 3600, ge=1)
    """The longest `ttl` a channel token may be given."""
    cache_entries: int = Field(default=20_000, ge=1)
    """Pages the cache may hold."""
    cache_bytes: int = Field(default=64 * 1024 * 1024, ge=1)
    """Bytes of pages the cache may hold."""
    newest_seconds: float = Field(default=0.1, ge=0)
    """How long a page that new messages can change is served from the cache."""
    older_seconds: float = Field(default=30.0, ge=0)
    """How long an older page is served from the cache."""
    mask_seconds: float = Field(default=900.0, ge=1)
    """How long a delete or block seen in the log masks its message, should history be written late."""
    read_timeout: float = Field(default=2.0, gt=0)
    """Seconds one read of Cassandra may take before the client is told 503."""
    max_points: int = Field(default=1_500, ge=1)
    """The most points one metric query may span."""
    fresh_seconds: float = Field(default=10.0, gt=0)
    """Numbers are complete when they include everything that was in the log this long ago."""
    trace_seconds: float = Field(default=5.0, gt=0)
    """How long one trace may read the log."""
    trace_records: int = Field(default=500_000, ge=1)
    """How many records one trace may read."""
    trace_channels: int = Field(default=500, ge=0)
    """How many recently active channels a trace looks into when only the id is known."""
    ingest_url: str = ""
    """Where browsers find ingest, to which the dashboard sends a moderator's decisions; this machine's when empty."""
    held_scan: int = Field(default=1_000, ge=1)
    """How many held events of a day one request may look at for those in the state asked for."""
    open_operations: bool = False
    """Serve `/metrics` and `/docs` to every address, not to loopback alone."""


class Live(Section):
    """The live stream: what is kept for readers that come back, and what one reader may cost."""

    model_config = SettingsConfigDict(env_prefix="HUBBUB_LIVE_")

    ring_events: int = Field(default=50_000, ge=1)
    """Events kept in memory for readers that resume, over all partitions."""
    ring_bytes: int = Field(default=64 * 1024 * 1024, ge=1)
    """Bytes of those events."""
    preload_records: int = Field(default=10_000, ge=0)
    """Records read back at start, so that readers of the process before resume from memory."""
    catch_up_records: int = Field(default=10_000, ge=0)
    """The most records one shared catch-up read may span; a reader that missed more is told so."""
    catch_up_seconds: float = Field(default=10.0, gt=0)
    """How long a catch-up read may take."""
    queue_events: int = Field(default=2_000, ge=1)
    """Events that may wait for one stream before it is ended as too slow."""
    queue_bytes: int = Field(default=2 * 1024 * 1024, ge=1)
    """Bytes that may wait for one stream."""
    connections: int = Field(default=10_000, ge=1)
    """Open live streams of this process."""
    tenant_connections: int = Field(default=5_000, ge=1)
    """Open live streams of one tenant."""
    connects_per_second: float = Field(default=500.0, gt=0)
    """New live streams let in per second; a burst of two seconds' worth passes, the others are told when to retry."""
    channels: int = Field(default=200, ge=1)
    """Channels one stream may name."""
    ping_seconds: float = Field(default=15.0, gt=0)
    """How often a quiet stream is kept open with a ping."""
    auth_seconds: float = Field(default=5.0, gt=0)
    """How long a WebSocket may stay open without having authenticated."""
    message_bytes: int = Field(default=64 * 1024, ge=1024)
    """The longest message a WebSocket client may send."""
