"""Settings of the report maker."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from infra.runtime.settings import Section


class Reports(Section):
    """How often it is looked whether a report is due, and for how long reports are kept up."""

    model_config = SettingsConfigDict(env_prefix="HUBBUB_REPORTS_")

    check_seconds: float = Field(default=30.0, gt=0)
    """Seconds between two looks at what is due."""
    days: int = Field(default=7, ge=1, le=400)
    """For so many days a report is made by itself, and made again when the archive has more of its period. A decision
    about an older day is still followed. What is older is made by `hubbub report`."""
