"""What is made again and what is left alone, and how sure the archive is of a day."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from analytics.reports.coverage import Coverage, Seen, as_of
from analytics.reports.runs import Run, reason
from infra.contracts.reports import Extent, State
from infra.contracts.windows import WATERMARK_DELAY

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
EXTENT = Extent(versions={"events": 7, "held": 3}, rows={"events": 100, "held": 2})
DONE = Run(
    report="daily",
    period="2026-03-13",
    state=State.FINISHED,
    started_at=NOON,
    finished_at=NOON,
    as_of=NOON,
    final=True,
    revision=1,
    digest="d",
    extent=EXTENT,
)


def why(run: Run | None, extent: Extent = EXTENT, *, final: bool = True, removed: bool = False, again: bool = False):
    return reason(run, extent, final=final, removed=removed, again=again)


def test_a_finished_report_is_left_alone():
    assert why(DONE) is None
    assert why(msgspec.structs.replace(DONE, final=False), final=False) is None
    # Files that were put together are other versions with the same rows.
    assert why(DONE, msgspec.structs.replace(EXTENT, versions={"events": 9, "held": 3})) is None


def test_what_never_began_or_did_not_finish_is_made():
    assert why(None) == "new"
    begun = msgspec.structs.replace(DONE, state=State.RUNNING, finished_at=None, extent=None)
    assert why(begun) == "unfinished"
    # Killed while it was made again: its last numbers stand, and are not trusted to be the newest.
    assert why(msgspec.structs.replace(DONE, state=State.RUNNING)) == "unfinished"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"extent": msgspec.structs.replace(EXTENT, rows={"events": 101, "held": 2})}, "changed"),
        ({"removed": True}, "removed"),
        ({"again": True}, "asked"),
    ],
)
def test_a_day_is_counted_again_when_there_is_a_reason(changes: dict[str, Any], expected: str):
    assert why(DONE, **changes) == expected


def test_an_open_day_is_counted_again_once_it_is_final():
    assert why(msgspec.structs.replace(DONE, final=False)) == "final"


def test_the_archive_is_as_far_as_its_slowest_partition():
    beats = [Seen(True, NOON + timedelta(seconds=n), None) for n in range(3)]
    assert as_of(beats) == NOON
    waiting = Seen(True, NOON + timedelta(seconds=9), NOON - timedelta(seconds=5))
    assert as_of([*beats, waiting]) == NOON - timedelta(seconds=5)
    held = Seen(False, None, NOON - timedelta(minutes=1))
    assert as_of([*beats, held, Seen(False, None, None)]) == NOON - timedelta(minutes=1)


def test_without_a_heartbeat_nothing_is_claimed():
    assert as_of([Seen(True, NOON, None), Seen(True, None, None), Seen(False, None, None)]) is None
    assert as_of([]) is None
    unknown = Coverage(as_of=None, at=NOON)
    assert not unknown.is_final(NOON - timedelta(days=9))
    assert not unknown.is_complete(NOON - timedelta(days=9))


def test_a_day_is_final_as_a_window_is():
    for late, final in ((timedelta(seconds=-1), False), (timedelta(), True)):
        found = Coverage(as_of=NOON + WATERMARK_DELAY + late, at=NOON + timedelta(days=1))
        assert found.is_final(NOON) is final
        assert found.is_complete(NOON) is final


def test_an_open_day_is_complete_while_the_archive_keeps_up():
    for behind, complete in ((timedelta(seconds=70), True), (timedelta(seconds=121), False)):
        found = Coverage(as_of=NOON - behind, at=NOON)
        assert found.is_complete(NOON + timedelta(hours=9)) is complete
        assert not found.is_final(NOON + timedelta(hours=9))
