"""The checkpoint's folder: what was fixed when it was made, and whether it can be continued.

Spark keeps its own files below `spark`; `manifest.json` beside them is ours.
"""

import os
from collections.abc import Callable
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec

from analytics.errors import CheckpointError
from analytics.settings import Analytics
from infra.contracts.metrics import MEASURES, SKETCH_LG_K
from infra.contracts.tables import METRICS_QUERY
from infra.contracts.windows import WATERMARK_DELAY
from infra.runtime.settings import Kafka

#: What Spark's errors name, and what it means. Found by damaging checkpoints on purpose.
_DAMAGE: Final = {
    "Incomplete log file": "one of its log files is cut short",
    "Checksum error": "one of its files is not as it was written",
    "CANNOT_LOAD_STATE_STORE": "part of its state is missing or damaged",
    "MISSING_STATE_DIRECTORY": "its state is missing",
    "STATE_STORE_KEY_SCHEMA_NOT_COMPATIBLE": "its state is that of another query",
    "STATE_STORE_VALUE_SCHEMA_NOT_COMPATIBLE": "its state is that of another query",
    "KAFKA_DATA_LOSS": "records it had still to read are gone from Kafka",
}


class Fixed(msgspec.Struct, frozen=True, kw_only=True):
    """What cannot change while a checkpoint lives."""

    spark: str
    state_store: str
    shuffle_partitions: int
    topic_prefix: str
    watermark_seconds: int
    measures: list[str]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What was fixed, and the first day whose windows may be written: None when nothing of the topics is gone."""

    query: str
    fixed: Fixed
    first_day: datetime | None


def fixed_by(settings: Analytics, kafka: Kafka) -> Fixed:
    """What a checkpoint made now would be fixed to."""
    return Fixed(
        spark=".".join(version("pyspark").split(".")[:2]),
        state_store=settings.state_store,
        shuffle_partitions=settings.shuffle_partitions,
        topic_prefix=kafka.topic_prefix,
        watermark_seconds=int(WATERMARK_DELAY.total_seconds()),
        measures=[
            f"{m.name} {m.kind} {m.outcome} {' '.join(sorted(m.types))} ({' '.join(sorted(m.replies))}) {SKETCH_LG_K}"
            for m in MEASURES
        ],
    )


def folder_of(settings: Analytics, data_dir: Path) -> Path:
    """Where the metrics query keeps its checkpoint: a folder a version."""
    return (settings.checkpoint_dir or data_dir / "checkpoints") / METRICS_QUERY


def spark_folder(folder: Path) -> Path:
    """The part of it that is Spark's."""
    return folder / "spark"


def open_checkpoint(folder: Path, fixed: Fixed, first_day: Callable[[], datetime | None]) -> Manifest:
    """The manifest of the checkpoint, made with the `first_day` found now if there is none yet.

    Raises `CheckpointError` when the checkpoint is damaged or was made under other settings.
    """
    path = folder / "manifest.json"
    if path.exists():
        try:
            manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
        except msgspec.MsgspecError as error:
            raise CheckpointError(folder, f"{path.name} is damaged ({error})") from None
        for name in Fixed.__struct_fields__:
            was, now = getattr(manifest.fixed, name), getattr(fixed, name)
            if was != now:
                raise CheckpointError(folder, f"it was made with {name} {was} and now has {now}")
        return manifest
    if spark_folder(folder).exists():
        raise CheckpointError(folder, f"{path.name} is missing")
    manifest = Manifest(query=METRICS_QUERY, fixed=fixed, first_day=first_day())
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(msgspec.json.encode(manifest))
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    return manifest


def explain(folder: Path, error: str) -> None:
    """Raise `CheckpointError` when this is how Spark fails on a checkpoint it cannot continue."""
    for sign, why in _DAMAGE.items():
        if sign in error:
            raise CheckpointError(folder, why)
