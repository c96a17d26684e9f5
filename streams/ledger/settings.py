"""Settings of the ledger."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from infra.runtime.settings import Section


class LedgerSettings(Section):
    """How often the ledger compares, how long stages have to follow, and how much it keeps in memory."""

    model_config = SettingsConfigDict(env_prefix="HUBBUB_LEDGER_")

    check_seconds: float = Field(default=2.0, gt=0)
    """Seconds between two comparisons."""
    settle_seconds: float = Field(default=20.0, ge=0)
    """Seconds after its end in which a minute may still be open; after them a stage that has not followed is late."""
    horizon_minutes: int = Field(default=120, ge=1)
    """How long a minute that is not balanced is kept in memory, where it can still heal."""
    first_minutes: int = Field(default=10, ge=0)
    """How far back the very first start begins; later ones begin where the one before was done."""
    catch_up_hours: int = Field(default=24, ge=1, le=144)
    """The furthest back that a start after a long stop begins."""
    open_records: int = Field(default=50_000, ge=1)
    """Input records waiting for their counterpart, at which the side that is ahead is not read further."""
    stall_seconds: float = Field(default=30.0, gt=0)
    """The ledger is not ready when it has not compared for so long."""
    canary_seconds: float = Field(default=5.0, ge=0)
    """Seconds between two canaries, events of our own that are followed through everything; 0 sends none."""
    canary_lost_seconds: float = Field(default=10.0, gt=0)
    """Seconds after which a canary that has not arrived is lost."""
    canary_stall_seconds: float = Field(default=30.0, gt=0)
    """The ledger is not ready when no canary has arrived for so long."""
    ingest_url: str = ""
    """Where the canary is sent to; this machine's ingest when empty."""
    api_url: str = ""
    """Where the live stream that must show the canary is; this machine's API when empty."""
