"""A checkpoint is continued only as what it was made as; otherwise the way out is said."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from analytics.checkpoint import explain, fixed_by, folder_of, open_checkpoint, spark_folder
from analytics.errors import CheckpointError
from analytics.settings import Analytics
from infra.contracts.tables import METRICS_QUERY
from infra.runtime.settings import Kafka

DAY = datetime(2026, 3, 15, tzinfo=UTC)
FIXED = fixed_by(Analytics(), Kafka(topic_prefix=""))


def test_the_folder_is_named_for_the_query_and_its_version(tmp_path: Path) -> None:
    assert folder_of(Analytics(), tmp_path) == tmp_path / "checkpoints" / METRICS_QUERY
    assert folder_of(Analytics(checkpoint_dir=tmp_path / "c"), tmp_path) == tmp_path / "c" / METRICS_QUERY


def test_the_first_day_is_found_once_and_then_kept(tmp_path: Path) -> None:
    made = open_checkpoint(tmp_path / "c", FIXED, lambda: DAY)
    spark_folder(tmp_path / "c").mkdir()
    assert made.first_day == DAY
    assert open_checkpoint(tmp_path / "c", FIXED, lambda: None) == made


@pytest.mark.parametrize(
    ("settings", "prefix", "name"),
    [
        (Analytics(shuffle_partitions=4), "", "shuffle_partitions 1 and now has 4"),
        (Analytics(state_store="rocksdb"), "", "state_store memory and now has rocksdb"),
        (Analytics(), "other-", "topic_prefix"),
    ],
)
def test_other_settings_are_refused_and_the_rebuild_is_named(
    tmp_path: Path, settings: Analytics, prefix: str, name: str
) -> None:
    open_checkpoint(tmp_path, fixed_by(Analytics(state_store="memory"), Kafka(topic_prefix="")), lambda: None)
    with pytest.raises(CheckpointError, match=name) as refused:
        open_checkpoint(tmp_path, fixed_by(settings, Kafka(topic_prefix=prefix)), lambda: None)
    assert f"The checkpoint {tmp_path}" in str(refused.value)
    assert "delete that folder" in str(refused.value)


def test_a_damaged_or_missing_manifest_is_refused(tmp_path: Path) -> None:
    open_checkpoint(tmp_path, FIXED, lambda: None)
    manifest = tmp_path / "manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:20])
    with pytest.raises(CheckpointError, match="damaged"):
        open_checkpoint(tmp_path, FIXED, lambda: None)
    manifest.unlink()
    spark_folder(tmp_path).mkdir()
    with pytest.raises(CheckpointError, match="missing"):
        open_checkpoint(tmp_path, FIXED, lambda: None)


@pytest.mark.parametrize(
    "error",
    [
        "Failed to read log file file:/c/offsets/35. Incomplete log file",
        "Checksum error: file:/c/commits/35 at 0 exp: 1 got: 2",
        "[CANNOT_LOAD_STATE_STORE.CANNOT_READ_DELTA_FILE_NOT_EXISTS] An error occurred during loading state.",
        "[STREAMING_STATEFUL_OPERATOR_MISSING_STATE_DIRECTORY] Cannot restart streaming query",
        "[KAFKA_DATA_LOSS.INITIAL_OFFSET_NOT_FOUND] Some data may have been lost",
    ],
)
def test_spark_s_complaints_about_a_checkpoint_are_understood(error: str) -> None:
    with pytest.raises(CheckpointError, match="delete that folder"):
        explain(Path("c"), error)


def test_other_failures_are_left_alone() -> None:
    explain(Path("c"), "org.apache.kafka.common.errors.TimeoutException: Timed out waiting for a node assignment")
