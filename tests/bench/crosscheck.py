"""Retention, lifecycle and sessions of real chat: the reports against an independent count of the same in DuckDB.

`python -m tests.bench.crosscheck FOLDER [REPORT …]` reads IRC logs, `*.raw.txt`, as they are imported, writes them to
an archive, makes the reports of sampled periods with Spark, and compares every number of theirs, of every cohort, step
and person, with what `tests.bench.recount` finds. Every second retention is made in the middle of its period. Prints
how many agree and each that does not. Exit code 1 on a difference.
"""

import argparse
import json
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pyspark.sql import SparkSession

from analytics.reports import counting, visits
from analytics.reports.coverage import Coverage
from analytics.reports.registry import REPORTS
from analytics.reports.snapshot import Snapshot
from analytics.reports.spans import Span
from infra.cli.output import note, print_table
from infra.cli.report import spark_session
from infra.contracts.reports import Cell, Document
from infra.runtime.archive import ArchiveReader
from infra.runtime.settings import Archive, Runtime
from ingest.progress import bar
from tests.bench.recount import Place, Recount
from tests.integration.analytics.archived import Fact, write
from tests.integration.analytics.chat import irc
from tests.integration.analytics.places import whole

CHECKED: Final = (
    *("retention", "retention-daily", "retention-monthly", "lifecycle", "lifecycle-daily", "lifecycle-monthly"),
    "sessions",
)
#: Half of the last digit that a report shows; shares are the same to the digit.
_ROUNDED: Final = {"seconds": 0.05, "sessions": 0.005}
_EVERY: Final = 1_000_000


@dataclass(slots=True)
class Tally:
    """What was compared of one list of a report. A row is a cohort, a step, a length or a person of one period."""

    periods: int = 0
    rows: int = 0
    numbers: int = 0
    differences: list[str] = field(default_factory=list)

    @property
    def agreeing(self) -> int:
        return self.numbers - len(self.differences)


class Crosscheck:
    """One tenant's reports over the archive in a folder, and the recount that they are compared with."""

    def __init__(self, spark: SparkSession, root: Path, recount: Recount, tenant: str, zone: ZoneInfo) -> None:
        self._recount, self._tenant, self._zone = recount, tenant, zone
        reader = ArchiveReader(Archive(location=str(root)), Runtime())
        tables = {table.name: table for name in CHECKED for table in REPORTS[name].tables}
        versions = Snapshot(reader, list(tables.values())).versions
        #: As reports read them, once for all periods.
        self._tables = {
            name: counting.read(spark, reader.root, table, versions[name], [tenant]).cache()
            for name, table in tables.items()
        }
        self.tallies: dict[tuple[str, str], Tally] = defaultdict(Tally)

    def compare(self, name: str, span: Span, as_of: datetime) -> None:
        """Make the report of this period as of this moment, and look at each of its numbers."""
        report = whole(REPORTS[name])
        rows = counting.shown(report.query(self._tables, span, as_of), report.shapes).collect()
        coverage = Coverage(as_of=as_of, at=as_of)
        (document,) = counting.documents(report, (r.asDict() for r in rows), [self._tenant], span, coverage, {})
        units = {column.name: column.unit for column in report.columns}
        shown = {"figures": report.figures, **{shape.name: shape.columns for shape in report.shapes}}
        ours = _filled(_numbers(document))
        theirs = _filled(
            {place: value for place, value in self._count(name, span, as_of).items() if place[2] in shown[place[0]]}
        )
        for section in shown:
            tally = self.tallies[name, section]
            tally.periods += 1
            tally.rows += len({key for of, key, _ in ours.keys() | theirs.keys() if of == section})
        for place in sorted(ours.keys() | theirs.keys()):
            tally = self.tallies[name, place[0]]
            tally.numbers += 1
            one, other = ours.get(place), theirs.get(place)
            if not _agree(one, other, units[place[2]]):
                where = " ".join((name, span.day.isoformat(), *filter(None, place)))
                tally.differences.append(f"{where}: {one} by the report, {other} by DuckDB")

    def close(self) -> None:
        for table in self._tables.values():
            table.unpersist()

    def _count(self, name: str, span: Span, as_of: datetime) -> dict[Place, Cell]:
        if name == "sessions":
            return self._recount.sessions(tenant=self._tenant, start=span.start, end=span.end)
        period: dict[str, Any] = {
            **{"tenant": self._tenant, "zone": self._zone, "grain": span.grain, "last": span.day, "as_of": as_of},
            **{"end": span.day + timedelta(days=span.count), "count": visits.PERIODS[span.grain]},
        }
        if name.startswith("lifecycle"):
            return self._recount.lifecycle(**period)
        return self._recount.retention(figures=REPORTS[name].figures, **period)


def periods(name: str, days: Iterable[date], zone: ZoneInfo, most: int) -> list[tuple[Span, datetime]]:
    """The periods these days lie in, at most so many, from the first to the last, and as of when each is reported."""
    spans = {span.day: span for day in days for span in REPORTS[name].spans(day, day, zone)}
    found = [spans[day] for day in sorted(spans)]
    if most < len(found):
        found = [found[round(n * (len(found) - 1) / max(1, most - 1))] for n in range(most)]
    return [(span, _as_of(name, span, number)) for number, span in enumerate(found)]


def _as_of(name: str, span: Span, number: int) -> datetime:
    """Every second retention is of a period that is not over."""
    if name.startswith("retention") and number % 2:
        return span.start + (span.end - span.start) / 2
    return span.until + timedelta(hours=1)


def _numbers(document: Document) -> dict[Place, Cell]:
    """Each number of the document by its place."""
    found: dict[Place, Cell] = {("figures", "", name): value for name, value in document.figures.items()}
    for section in document.sections:
        for row in section.rows:
            key = str(row[section.key])
            if section.kind == "series":
                key = str(int(datetime.fromisoformat(key).timestamp()))
            found |= {(section.name, key, name): row[name] for name in section.columns}
    return found


def _filled(numbers: Mapping[Place, Cell]) -> dict[Place, Cell]:
    """Without the rows in which there is nothing, which a report shows and a count does not."""
    full = {place[:2] for place, value in numbers.items() if value}
    return {place: value for place, value in numbers.items() if place[:2] in full and value is not None}


def _agree(one: Cell | None, other: Cell | None, unit: str) -> bool:
    if isinstance(one, int | float) and isinstance(other, int | float):
        return abs(one - other) <= _ROUNDED.get(unit, 0) + 1e-9
    return one == other


def rows_of(tallies: Mapping[tuple[str, str], Tally]) -> Iterator[dict[str, Any]]:
    """What was compared, list by list."""
    for (report, section), tally in tallies.items():
        yield {
            **{"report": report, "list": section, "periods": tally.periods, "rows": tally.rows},
            **{"numbers": tally.numbers, "agree": tally.agreeing, "differ": len(tally.differences)},
        }


def check(
    spark: SparkSession,
    facts: Sequence[Fact],
    *,
    most: int,
    tenant: str,
    zone: ZoneInfo,
    names: Iterable[str] = CHECKED,
) -> dict[tuple[str, str], Tally]:
    """Compare these reports of a tenant over facts, at most so many periods of each. Shows a bar on a terminal."""
    days = {event.time.astimezone(zone).date() for event, _ in facts if event.tenant == tenant}
    work = [(name, *period) for name in names for period in periods(name, days, zone, most)]
    with tempfile.TemporaryDirectory() as place, closing(Recount(facts, Path(place))) as recount:
        root = Path(place, "archive")
        write(root, facts)
        with closing(Crosscheck(spark, root, recount, tenant, zone)) as checking, bar("periods") as progress:
            for done, (name, span, as_of) in enumerate(work, start=1):
                checking.compare(name, span, as_of)
                if progress is not None:
                    progress(done, len(work))
    return checking.tallies


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"there is no time zone {name}") from error


def main() -> int:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="with IRC logs, *.raw.txt")
    parser.add_argument("names", nargs="*", metavar="REPORT", help=f"of {', '.join(CHECKED)}; all by default")
    parser.add_argument("--periods", type=int, default=12, help="of each report at most; default 12, 0 is every one")
    parser.add_argument("--zone", type=_zone, default=ZoneInfo("UTC"), help="whose calendar; default UTC")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    if options.periods < 0:
        parser.error(f"--periods is 0 or more, not {options.periods}")
    if unknown := {*options.names} - {*CHECKED}:
        parser.error(f"{min(unknown)} is not checked; one of {', '.join(CHECKED)} is")
    facts: list[Fact] = [(event, "events") for event in irc(options.folder)]
    if not facts:
        parser.error(f"there are no logs, *.raw.txt, in {options.folder}")
    spark = spark_session(os.environ)
    try:
        tallies = check(
            spark,
            facts,
            names=options.names or CHECKED,
            most=options.periods or _EVERY,
            tenant="acme",
            zone=options.zone,
        )
    finally:
        spark.stop()
    rows = list(rows_of(tallies))
    differences = [line for tally in tallies.values() for line in tally.differences]
    days = {event.time.date() for event, _ in facts}
    told = {"events": len(facts), "days": len(days), "compared": rows, "differences": differences}
    if options.json:
        print(json.dumps(told, indent=2))
    else:
        print_table([name.upper() for name in rows[0]], [list(row.values()) for row in rows])
        for line in differences:
            print(line)
        note(
            f"{len(facts):,} events of {len(days)} days: {sum(r['agree'] for r in rows):,} numbers agree, "
            f"{len(differences)} differ"
        )
    return int(bool(differences))


if __name__ == "__main__":
    sys.exit(main())
