"""Settings of the archive writer and of what keeps the archive in order."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from infra.runtime.settings import Section


class ArchiveWriter(Section):
    """How often the archive writer commits, how much it holds, and how the tables are kept in order."""

    model_config = SettingsConfigDict(env_prefix="HUBBUB_ARCHIVE_")

    instance: str = "0"
    """Stable name of this process within its consumer group; after a restart it gets its partitions back at once."""
    commit_seconds: float = Field(default=60.0, gt=0)
    """The longest that a row waits for its commit. Each commit adds at least one file a day it holds rows of."""
    buffer_bytes: int = Field(default=16 * 1024 * 1024, ge=1024)
    """Bytes of rows read and not yet committed, at which all are committed at once."""
    buffer_days: int = Field(default=400, ge=1)
    """Days of one commit, each of which is a file being written: an import of years is committed in pieces."""
    maintain_seconds: float = Field(default=3600.0, ge=0)
    """Seconds between two rounds of putting small files together; 0 leaves that to `hubbub archive maintain`."""
    target_bytes: int = Field(default=128 * 1024 * 1024, ge=1024)
    """Size of a data file after that."""
    sort_bytes: int = Field(default=256 * 1024 * 1024, ge=1024 * 1024)
    """Memory for sorting a day; what does not fit is spilled to disk."""
    keep_hours: int = Field(default=24, ge=1, le=168)
    """How long a data file that was replaced is kept for readers that began before."""
