"""A year of days, as four imports of it leave it beside what came late, put in order."""

import random
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from operator import itemgetter
from pathlib import Path
from typing import Any

from analytics.archive.feed import Feed
from analytics.archive.maintenance import maintain
from analytics.archive.settings import ArchiveWriter
from analytics.archive.table import open_table
from infra.contracts import archive, codec
from infra.contracts.events import Event
from infra.runtime.archive import ArchiveReader, files
from infra.runtime.settings import Archive, Runtime
from tests.unit.analytics.archive.records import Message

FIRST = datetime(2025, 1, 1, tzinfo=UTC)
DAYS, IMPORTS, SPAN, ROWS = 365, 4, 14, 100
WORDS = ("is the build green", "who broke it", "lunch at noon", "ship it now", "later", "ok thanks", "see you there")
#: Enough of a row to tell it from any other.
COLUMNS = ["day", "tenant", "id", "time", "channel_id", "text"]


def said(rng: random.Random, number: int, moment: datetime) -> Event:
    kind = rng.choices(("message.sent", "reaction.added", "session.started"), (6, 2, 2))[0]
    return Event(
        id=f"{number:032x}",
        type=kind,
        time=moment,
        received_at=moment,
        tenant=f"t{rng.randrange(3)}",
        channel_id=None if kind == "session.started" else f"c{rng.randrange(40)}",
        user_id=f"u{rng.randrange(500)}",
        text=f"{' '.join(rng.choices(WORDS, k=rng.randrange(1, 6)))} {number}",
        source="http",
    )


def commits(rng: random.Random) -> Iterator[list[Event]]:
    """What each commit holds: some days in their order, and now and then an event of days before."""
    number = 0
    for _ in range(IMPORTS):
        for first in range(0, DAYS, SPAN):
            batch = []
            for day in range(first, min(first + SPAN, DAYS)):
                for _ in range(ROWS):
                    late = timedelta(days=rng.randrange(1, 4)) if rng.random() < 0.002 else timedelta()
                    moment = FIRST + timedelta(days=day, seconds=rng.randrange(86_400)) - late
                    batch.append(said(rng, number, max(FIRST, moment)))
                    number += 1
            yield batch


def scan(reader: ArchiveReader) -> list[tuple[Any, ...]]:
    found = reader.rows(archive.EVENTS, columns=COLUMNS, copies=True)
    return sorted((tuple(row.values()) for row in found), key=itemgetter(2))


def timed_scan(reader: ArchiveReader, day: date, tenant: str) -> float:
    """Seconds that one tenant's day takes."""
    began = time.perf_counter()
    assert list(reader.rows(archive.EVENTS, days=(day, day), tenant=tenant, columns=["id"]))
    return time.perf_counter() - began


def test_a_year_of_days_is_put_in_order(tmp_path: Path) -> None:
    place = Archive(location=str(tmp_path)), Runtime()
    feed = Feed(open_table(archive.EVENTS, *place), "", 0.0)
    feed.assign(("events", 0))
    offset, began = 0, time.perf_counter()
    for batch in commits(random.Random(7)):
        for event in batch:
            feed.take(Message("events", 0, offset, codec.encode(event), ("src", b"ingest/0/%d/0" % offset)), 0.0)  # type: ignore[arg-type]
            offset += 1
        feed.commit(0.0)
    written = time.perf_counter() - began
    reader = ArchiveReader(*place)
    before, middle = scan(reader), date(2025, 7, 1)
    slow = timed_scan(reader, middle, "t1")
    done = maintain(reader, archive.EVENTS, ArchiveWriter(), today=date(2026, 1, 1))
    quick = timed_scan(reader, middle, "t1")
    assert len(before) == DAYS * IMPORTS * ROWS
    assert (done.days, done.skipped) == (DAYS, 0)
    assert done.files_before >= DAYS * IMPORTS
    assert done.files_after == DAYS
    assert {file.day for file in files(reader.open(archive.EVENTS))} == {
        FIRST.date() + timedelta(days=n) for n in range(DAYS)
    }
    assert scan(reader) == before
    assert open_table(archive.EVENTS, *place).position(("events", 0)) == offset
    print(
        f"\n{offset:,} rows; {done.files_before:,} to {done.files_after:,} files, {done.bytes_before:,} to "
        f"{done.bytes_after:,} bytes; {written:.1f} s to write, {done.seconds:.1f} s to put in order; "
        f"one tenant's day {slow * 1000:.0f} ms before, {quick * 1000:.0f} ms after"
    )
