"""What is made again and what is left alone, and how sure the archive is of a day."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from analytics.reports.coverage import Coverage, Seen, as_of
from analytics.reports.runs import Run, digest, next_revision, reason
from infra.contracts.reports import Document, Extent, State
from infra.contracts.windows import WATERMARK_DELAY
from tests.unit.analytics.reported import daily

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


def test_a_period_of_another_time_zone_is_another_period():
    kathmandu, berlin = (msgspec.structs.replace(EXTENT, timezone=zone) for zone in ("Asia/Kathmandu", "Europe/Berlin"))
    run = msgspec.structs.replace(DONE, extent=kathmandu)
    assert why(run, kathmandu) is None
    assert why(run, berlin) == "zone"
    # What was made before zones were kept is not made again for that.
    before = msgspec.json.decode(b'{"versions":{"events":7,"held":3},"rows":{"events":100,"held":2}}', type=Extent)
    assert why(msgspec.structs.replace(DONE, extent=before), berlin) is None


def test_an_open_day_is_counted_again_once_it_is_final():
    assert why(msgspec.structs.replace(DONE, final=False)) == "final"


def test_a_revision_never_has_two_sets_of_numbers():
    one = daily(seed=1)
    two = msgspec.structs.replace(daily(seed=2), revision=0)
    run = msgspec.structs.replace(DONE, revision=3, digest=digest(one))
    first = msgspec.structs.replace(one, revision=3)
    assert next_revision(None, None, one) == 1
    assert next_revision(run, first, one) == 3
    assert next_revision(run, first, two) == 4
    # Killed after the fourth was stored and before its run finished: the third's numbers would come as the fifth.
    killed = msgspec.json.decode(msgspec.json.encode(msgspec.structs.replace(two, revision=4)), type=Document)
    assert next_revision(run, killed, two) == 4
    assert next_revision(run, killed, daily(seed=5)) == 5
    assert next_revision(run, killed, one) == 5
    begun = msgspec.structs.replace(DONE, state=State.RUNNING, revision=0, digest="")
    assert next_revision(begun, None, one) == 1
    assert next_revision(begun, msgspec.structs.replace(one, revision=1), two) == 2


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
