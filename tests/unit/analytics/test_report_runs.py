"""What is made again and what is left alone, and how sure the archive is of a day."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from analytics.reports.coverage import Coverage, Seen, combine
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
    assert combine(beats) == Coverage(as_of=NOON, caught_up=True)
    waiting = Seen(True, NOON + timedelta(seconds=9), NOON - timedelta(seconds=5))
    assert combine([*beats, waiting]) == Coverage(as_of=NOON - timedelta(seconds=5), caught_up=False)
    held = Seen(False, None, NOON - timedelta(minutes=1))
    assert combine([*beats, held, Seen(False, None, None)]).as_of == NOON - timedelta(minutes=1)


def test_without_a_heartbeat_nothing_is_claimed():
    found = combine([Seen(True, NOON, None), Seen(True, None, None), Seen(False, None, None)])
    assert found == Coverage(as_of=None, caught_up=True)
    assert not found.is_final(NOON)
    assert found.is_complete(NOON)
    assert combine([]) == Coverage(as_of=None, caught_up=True)


def test_a_day_is_final_as_a_window_is():
    end = NOON
    for late, final in ((timedelta(seconds=-1), False), (timedelta(), True)):
        found = Coverage(as_of=end + WATERMARK_DELAY + late, caught_up=False)
        assert found.is_final(end) is final
        assert found.is_complete(end) is final
