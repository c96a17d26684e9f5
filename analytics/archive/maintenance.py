"""Keeps the archive's files few and sorted while the writer goes on: small files put together, replaced ones removed.

A day that is over is sorted by tenant and channel, so that a reader of one skips the others; a day that still grows
only has its small files put together. Appends go on meanwhile: delta-rs lets them pass, and of two that put the same
files together one is refused. Nothing is removed that a reader may still be at. What cannot be done to one day or table
is told, and the others are put in order all the same.
"""

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final, Literal

import structlog
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError

from analytics.archive.settings import ArchiveWriter
from analytics.archive.table import PARQUET
from infra.contracts.archive import TABLES, ArchiveTable
from infra.runtime import logs
from infra.runtime.archive import ArchiveReader, DataFile, files
from infra.runtime.errors import PreconditionError, Unreachable
from infra.runtime.settings import Archive, Runtime

log = structlog.get_logger("hubbub.archive")

#: A day that grows: so many files below this size are put together, to about this size. Larger ones are left alone, or
#: each hour would write the whole day again.
_SMALL_FILES: Final = 32
_SMALL_BYTES: Final = 8 * 1024 * 1024
#: A day that is over is sorted again when a fifth of it came since, or that many files.
_LOOSE_SHARE: Final = 0.2
_LOOSE_FILES: Final = 16
#: Nobody waits for it.
_NICE: Final = 10
#: By what a day is sorted, where the table has it.
_SORTED_BY: Final = ("tenant", "channel_id")

#: Told what is done and how much there is in all.
Advance = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Due:
    """A day with something to do: `sort` all of it, or `compact` its small files."""

    day: date
    work: Literal["sort", "compact"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintained:
    """What was done to one table. `skipped` are days that somebody else was at, `failed` those an error stopped."""

    table: str
    days: int
    skipped: int
    failed: int
    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int
    removed: int
    seconds: float


def due(found: Iterable[DataFile], today: date, target_bytes: int) -> list[Due]:
    """The days of a table that need something, oldest first."""
    days: dict[date, list[int]] = defaultdict(list)
    for file in found:
        days[file.day].append(file.bytes)
    works = ((day, _work(sizes, target_bytes, grows=day >= today)) for day, sizes in sorted(days.items()))
    return [Due(day, work) for day, work in works if work is not None]


def maintain(
    reader: ArchiveReader,
    table: ArchiveTable,
    settings: ArchiveWriter,
    *,
    today: date,
    monotonic: Callable[[], float] = time.monotonic,
    advance: Advance | None = None,
) -> Maintained:
    """Put one table in order, as many of its days as can be.

    Raises `PreconditionError` without one, `Unreachable` when it cannot be cleared of what was replaced.
    """
    began = monotonic()
    delta = reader.open(table)
    before = files(delta)
    days = due(before, today, settings.target_bytes)
    skipped = failed = 0
    try:
        for number, day in enumerate(days):
            if advance is not None:
                advance(number, len(days))
            try:
                _put_together(delta, table, day, settings)
            except CommitFailedError as error:
                skipped += 1
                log.info("archive.day_skipped", table=table.name, day=day.day.isoformat(), error=str(error)[:200])
                delta.update_incremental()
            except (DeltaError, OSError) as error:
                failed += 1
                log.error("archive.day_failed", table=table.name, day=day.day.isoformat(), error=str(error)[:500])
                delta.update_incremental()
        if advance is not None:
            advance(len(days), len(days))
        # All that the log does not name, too: what a killed writer left behind is in no commit.
        removed = delta.vacuum(settings.keep_hours, dry_run=False, enforce_retention_duration=False, full=True)
        delta.create_checkpoint()
        delta.cleanup_metadata()
    except (DeltaError, OSError) as error:
        raise Unreachable("the archive", reader.root, f"{error} Run it again: nothing is lost.") from error
    after = files(delta)
    return Maintained(
        table=table.name,
        days=len(days),
        skipped=skipped,
        failed=failed,
        files_before=len(before),
        files_after=len(after),
        bytes_before=sum(file.bytes for file in before),
        bytes_after=sum(file.bytes for file in after),
        removed=len(removed),
        seconds=round(monotonic() - began, 3),
    )


def _work(sizes: list[int], target_bytes: int, *, grows: bool) -> Literal["sort", "compact"] | None:
    if grows:
        return "compact" if sum(size < _SMALL_BYTES // 2 for size in sizes) >= _SMALL_FILES else None
    # Sorting leaves full files, a little below the target, and one with the rest.
    loose = sorted(size for size in sizes if size < target_bytes // 2)[:-1]
    return "sort" if sum(loose) > _LOOSE_SHARE * sum(sizes) or len(loose) >= _LOOSE_FILES else None


def _put_together(delta: DeltaTable, table: ArchiveTable, due: Due, settings: ArchiveWriter) -> None:
    filters = [("day", "=", due.day.isoformat())]
    if due.work == "compact":
        delta.optimize.compact(filters, target_size=_SMALL_BYTES, max_concurrent_tasks=1, writer_properties=PARQUET)
        return
    delta.optimize.z_order(
        [name for name in _SORTED_BY if name in table.names],
        filters,
        target_size=settings.target_bytes,
        max_concurrent_tasks=1,
        max_spill_size=settings.sort_bytes,
        writer_properties=PARQUET,
    )


def maintain_all(
    archive: Archive, runtime: Runtime, settings: ArchiveWriter, today: date, advance: Advance | None = None
) -> Iterator[Maintained]:
    """Put every table in order, one after the other. Raises as `maintain` does, once all others are done."""
    reader = ArchiveReader(archive, runtime)
    failures: list[PreconditionError] = []
    for table in TABLES:
        try:
            done = maintain(reader, table, settings, today=today, advance=advance)
        except PreconditionError as error:
            log.error("archive.not_maintained", table=table.name, error=str(error)[:500])
            failures.append(error)
        else:
            yield done
    if failures:
        raise failures[0]


def main() -> int:
    """One round in a process of its own, as the archive role starts it: what it takes of memory goes with it.

    Returns 0, 1 when days could not be put in order, 3 when a table could not.
    """
    os.nice(_NICE)
    runtime = Runtime()
    logs.configure(runtime, "archive")
    failed = 0
    try:
        for done in maintain_all(Archive(), runtime, ArchiveWriter(), datetime.now(UTC).date()):
            log.info("archive.maintained", **{name: getattr(done, name) for name in Maintained.__slots__})
            failed += done.failed
    except PreconditionError:
        return 3  # logged where it happened
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
