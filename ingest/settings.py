"""Settings of the ingest role alone."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from infra.runtime.settings import Section


class Ingest(Section):
    """How ingest frames, bounds and remembers."""

    model_config = SettingsConfigDict(env_prefix="HUBBUB_INGEST_")

    linger_ms: float = Field(default=3.0, ge=0)
    """Milliseconds a frame waits for more events of its partition."""
    direct_events: int = Field(default=100, ge=1)
    """A request with at least so many events is sent at once, without lingering."""
    in_flight_events: int = Field(default=100_000, ge=1)
    """Events waiting for Kafka's acknowledgement beyond which a request is answered 503 at once."""
    in_flight_bytes: int = Field(default=48 * 1024 * 1024, ge=1)
    """The same bound in bytes of envelopes."""
    unavailable_after: float = Field(default=1.5, gt=0)
    """Seconds a request waits for Kafka; its answer is due within 2 s, on a machine that is busy, too."""
    retry_after: int = Field(default=1, ge=1)
    """Seconds a 503 asks a client to wait."""
    body_seconds: float = Field(default=30.0, gt=0)
    """Seconds a client may take to send its body."""
    dedupe_seconds: float = Field(default=600.0, ge=0)
    """How long the ids of stored events are remembered."""
    dedupe_events: int = Field(default=500_000, ge=0)
    """How many ids of stored events are remembered at most, about 200 bytes each."""
    bucket_count: int = Field(default=100_000, ge=1)
    """Token buckets of users, and of channels, kept for one tenant."""
    topics_check_seconds: float = Field(default=15.0, gt=0)
    """How often readiness compares the topics with the contract."""
    open_docs: bool = False
    """Answer `/docs` and `/metrics` to others than this machine."""
