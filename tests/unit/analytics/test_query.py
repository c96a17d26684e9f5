"""Spark's report of a batch in our words."""

from datetime import UTC, datetime
from typing import Any

from analytics.query import Batch, batch_of


def report(**event_time: str) -> dict[str, Any]:
    return {
        "batchId": 7,
        "eventTime": event_time,
        "durationMs": {"triggerExecution": 640},
        "stateOperators": [
            {"operatorName": "stateStoreSave", "numRowsDroppedByWatermark": 0, "customMetrics": {}},
            {
                "operatorName": "dedupeWithinWatermark",
                "numRowsDroppedByWatermark": 3,
                "customMetrics": {"numDroppedDuplicateRows": 2},
            },
        ],
        "sources": [{"endOffset": {"events": {"0": 10}}, "latestOffset": {"events": {"0": 12}}}],
    }


def test_late_events_and_duplicates_are_those_the_deduplication_dropped() -> None:
    assert batch_of(report(watermark="2026-03-14T09:26:53.589Z")) == Batch(
        batch_id=7,
        watermark=datetime(2026, 3, 14, 9, 26, 53, 589_000, tzinfo=UTC),
        offsets={"events": {"0": 10}},
        ends={"events": {"0": 12}},
        late=3,
        duplicates=2,
        seconds=0.64,
    )


def test_before_the_first_event_there_is_no_watermark() -> None:
    without = report()
    del without["eventTime"]
    assert batch_of(without).watermark is None
    assert batch_of(report()).watermark is None
    assert batch_of(report(watermark="1970-01-01T00:00:00.000Z")).watermark is None


def test_a_batch_begun_before_a_crash_is_reported_without_the_ends_of_the_topics() -> None:
    repeated = report()
    repeated["sources"][0]["latestOffset"] = None
    assert batch_of(repeated).ends is None
