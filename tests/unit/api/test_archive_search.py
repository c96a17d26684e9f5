"""A trace's last place: an event is found by its id, in the days around the one the id tells, and no other tenant's."""

import dataclasses
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from analytics.archive.feed import Feed
from analytics.archive.rows import arrow_batch, read_row
from analytics.archive.table import Move, open_table
from api.archive_search import find
from infra.contracts import archive, codec
from infra.contracts.archive import ArchiveTable
from infra.contracts.records import Action, Held, Severity, Verdict
from infra.runtime.errors import PreconditionError
from tests.unit.analytics.archive.records import NOW, Message, event, place

VERDICT = Verdict(action=Action.HOLD, rule="pii", version=3, reason="an address", matches=2, severity=Severity.HIGH)
DAY = timedelta(days=1)


def keep(folder: Path, table: ArchiveTable, *values: bytes) -> None:
    topic = table.topics[0].name
    feed = Feed(open_table(table, *place(folder)), "", 0.0)
    feed.assign((topic, 0))
    for offset, value in enumerate(values):
        message = Message(topic, 0, offset, value, ("src", b"ingest/1/%d/2" % offset), ("rule", b"mask@1"))
        feed.take(message, 0.0)  # type: ignore[arg-type]
    feed.commit(0.0)


def test_an_event_is_found_as_it_was_archived(tmp_path: Path) -> None:
    # Its time was corrected to before midnight; the id tells the day after.
    one = event(1, time=NOW - DAY / 2, properties={"a": [1]}, context={"os": "x"})
    keep(tmp_path, archive.EVENTS, codec.encode(event(0)), codec.encode(one))
    keep(tmp_path, archive.HELD)
    found = find(*place(tmp_path), "acme", "e1", NOW + DAY / 4)
    assert found is not None
    assert (found.event, found.outcome, found.verdict) == (one, "events", None)
    assert (found.src, found.rule) == ("ingest/1/1/2", "mask@1")
    assert find(*place(tmp_path), "other", "e1", NOW) is None
    assert find(*place(tmp_path), "acme", "e1", NOW + 3 * DAY) is None


def test_what_was_held_is_found_with_its_verdict(tmp_path: Path) -> None:
    keep(tmp_path, archive.EVENTS)
    keep(tmp_path, archive.HELD, msgspec.json.encode(Held(event=event(2), verdict=VERDICT)))
    found = find(*place(tmp_path), "acme", "e2", NOW)
    assert found is not None
    assert (found.outcome, found.verdict, found.rule) == ("held", VERDICT, None)


def test_what_was_held_before_severities_were_kept_has_the_usual_one(tmp_path: Path) -> None:
    keep(tmp_path, archive.EVENTS)
    columns = tuple(c for c in archive.HELD.columns if c.name not in ("severity", "shadow"))
    older = msgspec.structs.replace(VERDICT, severity=Severity.MEDIUM)
    table = open_table(dataclasses.replace(archive.HELD, columns=columns), *place(tmp_path))
    body = msgspec.json.encode(Held(event=event(2), verdict=older))
    row = read_row(archive.HELD, body, [])
    assert row is not None
    cells = dict(zip(archive.HELD.names, row, strict=True))
    table.append([arrow_batch(table.contract, [tuple(cells[c.name] for c in columns)])], {("held", 0): Move(None, 1)})
    open_table(archive.HELD, *place(tmp_path))
    found = find(*place(tmp_path), "acme", "e2", NOW)
    assert found is not None
    assert found.verdict == older
    later = Feed(open_table(archive.HELD, *place(tmp_path)), "", 0.0)
    later.assign(("held", 0))
    body = msgspec.json.encode(Held(event=event(3), verdict=VERDICT))
    later.take(Message("held", 0, 1, body), 0.0)  # type: ignore[arg-type]
    later.commit(0.0)
    found = find(*place(tmp_path), "acme", "e3", NOW)
    assert found is not None
    assert found.verdict == VERDICT


def test_no_archive_is_a_precondition(tmp_path: Path) -> None:
    with pytest.raises(PreconditionError):
        find(*place(tmp_path), "acme", "e1", NOW)
