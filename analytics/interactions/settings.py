"""Settings of the interactions role."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from infra.runtime.settings import Section


class InteractionsSettings(Section):
    """How often live sessions, response times and waits are stored, and how much is kept in memory."""

    model_config = SettingsConfigDict(env_prefix="HUBBUB_INTERACTIONS_")

    store_seconds: float = Field(default=1.0, gt=0)
    """Seconds between two times at which what changed is stored."""
    snapshot_seconds: float = Field(default=30.0, gt=0)
    """Seconds between two snapshots of the state; a start reads the log from the last of them on."""
    snapshot_dir: Path | None = None
    """Where the snapshot is kept; `interactions` below the data directory when not set."""
    first_hours: int = Field(default=48, ge=25)
    """How far back a start without a snapshot begins. Windows count from 24 hours after that on: by then it is known
    who waited and who was there."""
    buffer_acts: int = Field(default=200_000, ge=1_000)
    """Events the watermark has not passed, at which partitions that are ahead of the others wait for them."""
    stall_seconds: float = Field(default=30.0, gt=0)
    """The role is not ready when nothing has been stored for so long."""
