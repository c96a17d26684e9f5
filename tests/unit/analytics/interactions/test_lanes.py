"""Late, a copy, or taken: by its own partition; and how far time has come: by the partition furthest behind."""

from collections.abc import Iterable

import msgspec

from analytics.interactions.acts import read
from analytics.interactions.lanes import Admission, Lane, ahead, watermark
from infra.contracts.events import Event
from tests.unit.analytics.interactions.told import at, event, heartbeat


def admitted(lane: Lane, events: Iterable[Event]) -> list[str]:
    return [lane.admit(read(msgspec.json.encode(one), 0, at(10_000))).value for one in events]


def test_an_event_is_late_two_minutes_behind_the_newest_of_its_partition() -> None:
    lane = Lane(offset=0)
    assert admitted(lane, [event(10, "a"), event(8, "b"), event(7.99, "c"), event(9, "d")]) == [
        "taken", "taken", "late", "taken",
    ]  # fmt: skip


def test_heartbeats_and_bots_move_time_and_are_nothing_else() -> None:
    lane = Lane(offset=0)
    told = [event(0, "a"), heartbeat(5), event(2, "b"), event(9, "c", is_bot=True), event(6, "d")]
    assert admitted(lane, told) == ["taken", "none", "late", "none", "late"]


def test_a_copy_is_known_while_it_could_be_taken_whether_or_not_ids_were_forgotten() -> None:
    for forgets in (False, True):
        lane = Lane(offset=0)
        found = []
        for one in [event(0, "a"), event(1, "a"), event(0, "a", tenant="other"), event(2.5, "b"), event(2, "a")]:
            found += admitted(lane, [one])
            if forgets:
                lane.forget()
        assert found == ["taken", "copy", "taken", "taken", "taken"]
    assert lane.seen == {"acme": {"b": at(2.5), "a": at(2)}}


def test_time_has_come_as_far_as_in_the_partition_furthest_behind() -> None:
    lanes = {0: Lane(offset=0, newest=at(10)), 1: Lane(offset=0)}
    assert watermark(lanes.values()) is None
    assert ahead(lanes) == {0}
    lanes[1].newest = at(7.9)
    assert watermark(lanes.values()) == at(5)
    assert ahead(lanes) == {0}
    lanes[1].newest = at(8)
    assert watermark(lanes.values()) == at(6)
    assert ahead(lanes) == set()


def test_what_is_admitted_is_never_behind_the_watermark() -> None:
    lane = Lane(offset=0, newest=at(10))
    assert lane.admit(read(msgspec.json.encode(event(8, "edge")), 0, at(10))) is Admission.TAKEN
    assert watermark([lane]) == at(8)
