"""Settings of the analytics role: how Spark runs, where it keeps its checkpoint and how much it takes at once."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from infra.runtime.settings import Section


class Analytics(Section):
    """How the metrics query runs."""

    model_config = SettingsConfigDict(env_prefix="HUBBUB_ANALYTICS_")

    jars: str = ""
    """Paths of the jars Spark needs beside its own, comma separated; `hubbub up` fills it in."""
    master: str = "local[2]"
    """Spark master."""
    driver_memory: str = Field(default="1g", pattern=r"^\d+[mg]$")
    """Java heap of the Spark driver."""
    checkpoint_dir: Path | None = None
    """Where checkpoints are kept; `checkpoints` below the data directory when not set."""
    shuffle_partitions: int = Field(default=1, ge=1)
    """Partitions of the state: 1 on one machine, more on a cluster. Fixed for a checkpoint's life."""
    read_tasks: int = Field(default=2, ge=1)
    """Tasks a micro-batch reads the topics' partitions in; a cluster wants one a core."""
    state_store: Literal["memory", "rocksdb"] = "memory"
    """Where the query's state lives between batches. Fixed for a checkpoint's life."""
    max_offsets_per_trigger: int = Field(default=1_000_000, ge=1)
    """Most records one micro-batch takes. Within one batch nothing is late, however unevenly partitions lag; a larger
    backlog is taken in several, and what one partition holds more than two minutes behind another may be late."""
    cached_windows: int = Field(default=100_000, ge=1)
    """Windows kept in memory so that merging need not read them back."""


class Java(Section):
    """Which Java Spark runs on."""

    java_home: Path | None = None
    """Java 17 or 21 to run the engines and Spark on; looked for when not set."""
