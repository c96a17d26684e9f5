"""Settings of the history writer."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from infra.runtime.settings import Section


class History(Section):
    """How much the history writer keeps in flight and how often it commits."""

    model_config = SettingsConfigDict(env_prefix="HUBBUB_HISTORY_")

    instance: str = "0"
    """Stable name of this process within its consumer group; after a restart it gets its partitions back at once."""
    max_records: int = Field(default=2_000, ge=1)
    """Records read and not yet confirmed by Cassandra, at which reading stops until some are."""
    max_batches: int = Field(default=16, ge=1)
    """Batches in flight to Cassandra."""
    pause_seconds: float = Field(default=1.0, gt=0)
    """How long reading may stand still before the partitions are paused."""
    commit_seconds: float = Field(default=5.0, gt=0)
    """Seconds between commits under load, and between two writes of one channel's last activity."""
