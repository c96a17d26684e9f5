import itertools
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.contracts import codec, events, placement, tables
from infra.contracts.events import Event, Invalid, to_ms
from streams.history.cells import Cells
from streams.history.rows import Read, Row, Rows, Step
from streams.history.store import Work
from tests.unit.streams.last_write_wins import LastWriteWins

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
TIMED = ("019ca93e-1000-7000-8000-000000000001", "019ca93e-2000-7000-8000-000000000002", "01HQXA5V4ZQ2N4T0Z7X8K9M3PB")
FOREIGN = ("slack-1", "slack-2")


def event(kind: str, **fields: Any) -> Event:
    return Event(
        **{
            "id": "e1",
            "type": kind,
            "time": START,
            "channel_id": "general",
            "user_id": "ann",
            "tenant": "acme",
            "received_at": START,
            **fields,
        }
    )


def steps(cells: Cells, one: Event, src: str = "ingest/0/0/0") -> Work:
    return Work(cells.steps(one, codec.encode(one), src, "", 0.0), one)


def run_through(work: Work, store: LastWriteWins) -> list[Step]:
    """Do all of it, in order."""
    taken = []
    while step := work.advance():
        taken.append(step)
        work.results = _do(step, store)
    return taken


def _do(step: Step, store: LastWriteWins) -> list[list[tuple[Any, ...]]]:
    results = []
    for part in step:
        if isinstance(part, Row):
            store.write(part.statement, part.values)
        else:
            results.append(store.read(part.statement, part.values))
    return results


def interleave(logs: Sequence[list[Event]], store: LastWriteWins, dice: random.Random) -> None:
    """One writer after another reads the same topic, each with some work in flight; any but the last may break off."""
    for log in logs:
        cells, waiting = Cells(5.0), list(log)
        flying: list[tuple[Work, list[tuple[int, Row | Read]], dict[int, Rows]]] = []
        breaks_off = log is not logs[-1] and dice.random() < 0.5
        while waiting or flying:
            if waiting and (not flying or dice.random() < 0.5):
                work = steps(cells, waiting.pop(0))
                if step := work.advance():
                    flying.append((work, list(enumerate(step)), {}))
                continue
            work, parts, results = flying[dice.randrange(len(flying))]
            if parts:
                slot, part = parts.pop(dice.randrange(len(parts)))
                if isinstance(part, Read):
                    results[slot] = store.read(part.statement, part.values)
                else:
                    store.write(part.statement, part.values)
                if breaks_off and dice.random() < 0.05:
                    break
            if not parts:
                work.results = [results[slot] for slot in sorted(results)]
                step = work.advance()
                flying = [entry for entry in flying if entry[0] is not work]
                if step:
                    flying.append((work, list(enumerate(step)), {}))
        else:
            _do(cells.settle(), store)


def moments() -> st.SearchStrategy[datetime]:
    return st.integers(0, 40).map(lambda n: START + timedelta(milliseconds=n * 250))


@st.composite
def conversations(draw: st.DrawFn) -> list[Event]:
    """A log of one tenant: creates, and changes of them, in any order; copies received again later."""
    log: list[Event] = []
    for number, target in enumerate(draw(st.lists(st.sampled_from(TIMED + FOREIGN), min_size=1, unique=True))):
        place = {"message_id": target, "channel_id": draw(st.sampled_from(["general", "random"]))}
        times = {"time": draw(moments()), "received_at": draw(moments())}
        sent = event("message.sent", id=f"m{number}", text="hi", **times, **place)
        log.append(sent)
        if draw(st.booleans()):
            log.append(event("message.sent", **{**_fields(sent), "received_at": draw(moments()), "source": "retry"}))
        for change in range(draw(st.integers(0, 4))):
            common = {"id": f"m{number}c{change}", "time": draw(moments()), "received_at": draw(moments()), **place}
            user = draw(st.sampled_from(["ann", "bob"]))
            log.append(
                draw(
                    st.sampled_from(
                        [
                            event("message.edited", text=f"edit {change}", **common),
                            event("message.deleted", **common),
                            event("reaction.added", reaction="+1", **{**common, "user_id": user}),
                            event("reaction.removed", reaction="+1", **{**common, "user_id": user}),
                            event("receipt.read", **{**common, "user_id": user}),
                            event("receipt.delivered", **common),
                            event("channel.joined", **{**common, "user_id": user}),
                            event("channel.left", **{**common, "user_id": user}),
                            event("channel.created", properties={"name": f"name {change}"}, **common),
                        ]
                    )
                )
            )
    return draw(st.permutations(log))


def _fields(one: Event) -> dict[str, Any]:
    return {name: getattr(one, name) for name in one.__struct_fields__}


def expected(log: list[Event]) -> dict[str, dict[Any, Any]]:
    """What history must say of this log, worked out without cells."""
    tell: dict[str, dict[Any, Any]] = {"messages": {}, "reactions": {}, "read": {}, "members": {}, "active": {}}
    created: dict[str, Event] = {}
    for one in log:
        if one.type == events.MESSAGE_SENT:
            active = to_ms(one.time)
            tell["active"][one.channel_id] = max(active, tell["active"].get(one.channel_id, active))
            first = created.get(one.target)
            # Received first wins; of two received at once the larger value, as Cassandra has it.
            rank = (-to_ms(one.received_at or START), codec.encode(one))
            if first is None or rank > (-to_ms(first.received_at or START), codec.encode(first)):
                created[one.target] = one
    for target, one in created.items():
        edits = [e for e in log if e.type == events.MESSAGE_EDITED and e.target == target]
        gone = [to_ms(e.time) for e in log if e.type == events.MESSAGE_DELETED and e.target == target]
        newest = max(((to_ms(e.time), codec.encode(e).decode()) for e in edits), default=None)
        tell["messages"][target] = (
            to_ms(placement.sent_at(one)),
            ("deleted", max(gone)) if gone else (codec.encode(one).decode(), newest and newest[1]),
        )
    for one in log:
        user = one.author
        if one.type in (events.REACTION_ADDED, events.REACTION_REMOVED) and _knows(created, one):
            said = (to_ms(one.time), one.type == events.REACTION_ADDED)
            tell["reactions"][one.target, user] = max(said, tell["reactions"].get((one.target, user), said))
        elif one.type == events.RECEIPT_READ and _knows(created, one):
            at = placement.time_of_id(one.target) or placement.sent_at(created[one.target])
            mark = (to_ms(at), one.target)
            tell["read"][user, one.channel_id] = max(mark, tell["read"].get((user, one.channel_id), mark))
        elif one.type in (events.CHANNEL_JOINED, events.CHANNEL_LEFT):
            said = (to_ms(one.time), one.type == events.CHANNEL_JOINED)
            tell["members"][user, one.channel_id] = max(said, tell["members"].get((user, one.channel_id), said))
    return tell


def _knows(created: dict[str, Event], change: Event) -> bool:
    return placement.time_of_id(change.target) is not None or change.target in created


def found(store: LastWriteWins) -> dict[str, dict[Any, Any]]:
    """The same, as a reader of the tables sees it."""
    tell: dict[str, dict[Any, Any]] = {"messages": {}, "reactions": {}, "read": {}, "members": {}, "active": {}}
    for key, row in store.rows("messages").items():
        at = dict(key)
        if row.get("deleted_at") is not None:
            shown: Any = ("deleted", row["deleted_at"])
        else:
            shown = (row.get("envelope"), row.get("edit"))
        if row.get("src") is not None:  # a change without its create is hidden
            tell["messages"][at["message_id"]] = (at["sent_at"], shown)
    for key, cells in store.tables.get("reactions", {}).items():
        at = dict(key)
        written, active = cells["active"]
        tell["reactions"][at["message_id"], at["user_id"]] = (written // 1000, active)
    for key, row in store.rows("read_marks").items():
        at = dict(key)
        tell["read"][at["user_id"], at["channel_id"]] = (row["sent_at"], row["message_id"])
    for key, cells in store.tables.get("channels_by_user", {}).items():
        at = dict(key)
        written, member = cells["member"]
        tell["members"][at["user_id"], at["channel_id"]] = (written // 1000, member)
    for key, row in store.rows("channels").items():
        if "last_activity" in row:
            tell["active"][dict(key)["channel_id"]] = row["last_activity"]
    return tell


@settings(max_examples=150, deadline=None)
@given(log=conversations(), copies=st.integers(0, 3), dice=st.randoms(use_true_random=False))
def test_any_order_and_number_of_copies_ends_in_what_the_log_says(
    log: list[Event], copies: int, dice: random.Random
) -> None:
    store = LastWriteWins()
    logs = [dice.sample(log, len(log)) for _ in range(copies)]
    interleave([*logs, log], store, dice)
    run_once = LastWriteWins()
    cells = Cells(5.0)
    for one in log:
        run_through(steps(cells, one), run_once)
    _do(cells.settle(), run_once)
    assert found(store) == expected(log)
    assert found(run_once) == expected(log)


@settings(max_examples=60, deadline=None)
@given(log=conversations(), dice=st.randoms(use_true_random=False))
def test_a_replay_leaves_every_cell_and_write_time_as_it_was(log: list[Event], dice: random.Random) -> None:
    store = LastWriteWins()
    interleave([log], store, random.Random(1))
    before = _cells(store)
    for _ in range(2):
        interleave([log], store, dice)
        assert _cells(store) == before


def _cells(store: LastWriteWins) -> dict[str, Any]:
    """Every cell with its write time. Which changes were pending depends on the order, so they are left out."""
    return {
        table: {key: dict(cells) for key, cells in rows.items()}
        for table, rows in store.tables.items()
        if table != "pending_changes"
    }


def test_a_message_whose_id_carries_time_is_one_row_once_its_bucket_is_known() -> None:
    cells, store = Cells(5.0), LastWriteWins()
    first = run_through(steps(cells, event("message.sent", message_id=TIMED[0], text="hi")), store)
    assert [[part.statement.name for part in step] for step in first] == [
        ["add_bucket"],
        ["create_message", "touch_channel"],
    ]
    second = run_through(steps(cells, event("message.sent", id="e2", message_id=TIMED[1], text="ho")), store)
    assert [[part.statement.name for part in step] for step in second] == [["create_message"]]


def test_the_index_row_stands_before_a_message_whose_id_carries_no_time() -> None:
    taken = run_through(steps(Cells(5.0), event("message.sent", text="hi")), LastWriteWins())
    assert [[part.statement.name for part in step] for step in taken] == [
        ["add_bucket"],
        ["index_message"],
        ["find_message", "pending"],
        ["create_message", "touch_channel"],
    ]


@pytest.mark.parametrize("turns", sorted(set(itertools.permutations("CCCCEEEE"))), ids="".join)
def test_a_create_and_an_edit_that_race_meet_at_every_step(turns: tuple[str, ...]) -> None:
    store = LastWriteWins()
    sent = event("message.sent", message_id="slack-1", text="hi")
    edit = event("message.edited", id="e2", message_id="slack-1", text="ho", time=START + timedelta(seconds=1))
    cells = Cells(5.0)
    racing = {"C": steps(cells, sent), "E": steps(cells, edit)}
    for turn in (*turns, "C", "E"):
        racing[turn].results = _do(racing[turn].advance(), store)
    ((_, shown),) = found(store)["messages"].values()
    assert shown == (codec.encode(sent).decode(), codec.encode(edit).decode())


def test_the_furthest_read_mark_wins_whenever_it_was_made() -> None:
    store, cells = LastWriteWins(), Cells(5.0)
    for target, second in ((TIMED[1], 1), (TIMED[0], 2)):
        at = START + timedelta(seconds=second)
        run_through(steps(cells, event("receipt.read", message_id=target, time=at)), store)
    assert [row["message_id"] for row in store.rows("read_marks").values()] == [TIMED[1]]


def test_a_second_body_under_a_foreign_id_leaves_the_first_received_alone() -> None:
    cells, store = Cells(5.0), LastWriteWins()
    first = event("message.sent", message_id="slack-1", text="first")
    late = START + timedelta(minutes=20)
    second = event("message.sent", message_id="slack-1", text="second", time=late, received_at=late)
    for one in (first, second, second, first):
        run_through(steps(cells, one), store)
    assert [row["envelope"] for row in store.rows("messages").values()] == [codec.encode(first).decode()]


def test_activity_is_written_at_most_once_in_a_while_and_the_rest_is_settled() -> None:
    cells, store = Cells(5.0), LastWriteWins()
    for second in range(4):
        moment = START + timedelta(seconds=second)
        one = event("message.sent", id=f"e{second}", message_id=TIMED[0], text="hi", time=moment)
        run_through(Work(cells.steps(one, codec.encode(one), None, "", float(second)), None), store)
    assert [row["last_activity"] for row in store.rows("channels").values()] == [to_ms(START)]
    assert cells.unsettled
    _do(cells.settle(), store)
    assert [row["last_activity"] for row in store.rows("channels").values()] == [to_ms(START) + 3000]
    assert not cells.unsettled
    assert cells.settle() == []


def test_the_days_of_what_came_too_late_to_be_counted_live_are_marked_once() -> None:
    cells, store = Cells(5.0), LastWriteWins()
    received = START + timedelta(days=2)
    late = [event("message.sent", id=f"e{n}", text="hi", time=START, received_at=received) for n in range(3)]
    soon = event("message.sent", id="e3", text="hi", time=received - timedelta(seconds=90), received_at=received)
    said = event("receipt.delivered", id="e4", time=START - timedelta(days=1), received_at=received)
    old = event("message.sent", id="e5", time=START - timedelta(days=2), received_at=received, historical=True)
    for one in (*late, soon, said, old):
        run_through(steps(cells, one), store)
    assert store.rows("dirty_days") == {}
    marks = [row for row in cells.settle() if isinstance(row, Row) and row.statement is tables.MARK_DIRTY]
    _do(marks, store)
    ((key, row),) = store.rows("dirty_days").items()
    assert (dict(key)["day"], row) == ("2026-03-01", {"marked_at": to_ms(received)})


@pytest.mark.parametrize("target", [TIMED[0], FOREIGN[0]])
def test_a_delete_long_after_the_message_marks_its_day(target: str) -> None:
    cells, store = Cells(5.0), LastWriteWins()
    sent = placement.sent_at(event("message.sent", message_id=target))
    run_through(steps(cells, event("message.sent", message_id=target, text="hi", time=sent, received_at=sent)), store)
    for number, after in enumerate((timedelta(minutes=1), timedelta(days=1))):
        gone = sent + after
        delete = event("message.deleted", id=f"d{number}", message_id=target, time=gone, received_at=gone)
        run_through(steps(cells, delete), store)
        removed = {dict(key)["day"]: row for key, row in store.rows("dirty_days").items()}
        assert removed == ({placement.day(sent): {"removed_at": to_ms(gone)}} if number else {})


def test_the_bucket_plan_is_taken_over() -> None:
    cells = Cells(5.0)
    work = Work(cells.replan(), None)
    assert [part.statement for part in work.advance()] == [tables.BUCKET_PLAN]
    work.results = [[(datetime(2026, 1, 1), 86_400_000)]]
    assert work.advance() == ()
    assert placement.bucket(START, cells.plan) == to_ms(START.replace(hour=0))


@pytest.mark.parametrize("kind", ["receipt.delivered", "session.started", "app.custom"])
def test_other_types_ask_for_nothing(kind: str) -> None:
    one = event(kind, message_id="m")
    assert Cells(5.0).steps(one, codec.encode(one), None, "", 0.0) == ()


@pytest.mark.parametrize("field", ["tenant", "received_at"])
def test_an_event_that_the_router_did_not_stamp_is_refused(field: str) -> None:
    one = event("message.sent", text="hi", **{field: None})
    with pytest.raises(Invalid) as refused:
        Cells(5.0).steps(one, codec.encode(one), None, "", 0.0)
    assert refused.value.field == field
