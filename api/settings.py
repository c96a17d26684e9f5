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
    open_operations: bool = False
    """Serve `/metrics`, `/docs` and `/openapi.json` to every address, not to loopback alone."""
