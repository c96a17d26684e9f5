"""What each report costs: seconds a million events, and memory of the JVM and of Python at their peak.

`python -m tests.bench.reports [NAME …]` makes each report once over an archive of a simulated community, each in a
process of its own, as a round of reports is. All events lie where the report looks: in its day, week or month; for
those that follow people for longer, in the weeks before it. Seconds are those of a cold Spark, after its start.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil

from analytics.reports import outcomes
from analytics.reports.registry import REPORTS
from analytics.reports.report import Report
from analytics.settings import Analytics
from infra.cli.output import note, print_table
from infra.contracts.events import MESSAGE_SENT
from ingest.progress import Advance, bar
from ingest.simulator.community import Community
from tests.integration.analytics.archived import Fact, write

TENANT: Final = "demo"
#: A Sunday and the last of its month, so that a week and four of them end with it.
LAST: Final = date(2026, 5, 31)
_LENGTHS: Final = {"day": 1, "week": 7, "month": 28}
#: Of so many messages a rule holds one.
_HELD: Final = 40
#: Signals are not archived: so many more are planned than are wanted.
_PLANNED: Final = 1.1
_LOOK_SECONDS: Final = 0.1
_MEGABYTE: Final = 1_000_000


def spread(report: Report) -> int:
    """Over how many days the events lie that the report is made from."""
    if report.before is None:
        return outcomes.READ
    length = _LENGTHS[report.grain]
    return max(length, report.before.days) if report.grain == "day" and report.before.days > 7 else length


def lived(events: int, days: int, people: int, progress: Advance | None) -> Iterator[Fact]:
    """So many events of a simulated community, evenly over the days up to the last one."""
    duration = timedelta(days=days).total_seconds()
    start = datetime.combine(LAST + timedelta(days=1 - days), time.min, UTC)
    community = Community(
        users=people, channels=200, rate=_PLANNED * events / duration, seed=6, start=start, duration=duration
    )
    stored = (planned for planned in community.plan() if not planned.event.is_signal)
    for number, planned in enumerate(islice(stored, events)):
        received = max(planned.event.time, start + timedelta(seconds=planned.offset))
        event = msgspec.structs.replace(planned.event, tenant=TENANT, received_at=received)
        is_held = event.type == MESSAGE_SENT and number % _HELD == 0
        yield event, "held" if is_held else "events"
        if progress is not None and number % 10_000 == 0:
            progress(number, events)


def archive(folder: Path, events: int, days: int, people: int) -> Path:
    """An archive of so many events over so many days, which is left as it is where it is there already."""
    root = folder / f"{events}-events-{people}-people-{days}-days"
    if not root.exists():
        beginning = root.with_suffix(".unfinished")
        with bar(f"archive of {days} days") as progress:
            write(beginning, lived(events, days, people, progress))
        beginning.rename(root)
    return root


def measured(name: str, root: Path) -> dict[str, Any]:
    """What `tests.bench.one_report` says of this report, and the memory that it took. Raises `SystemExit`."""
    command = [sys.executable, "-m", "tests.bench.one_report", name, str(root), LAST.isoformat(), TENANT]
    peaks = {"jvm_mb": 0, "python_mb": 0, "together_mb": 0}
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as complained:
        process = subprocess.Popen(command, stdout=said, stderr=complained)
        try:
            while True:
                for kind, size in _resident(process.pid).items():
                    peaks[kind] = max(peaks[kind], size)
                try:
                    process.wait(_LOOK_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    continue
        finally:
            process.kill()
        said.seek(0)
        complained.seek(0)
        if process.returncode != 0:
            raise SystemExit(f"{name} failed with {process.returncode}:\n{complained.read()[-4000:]}")
        return {**json.loads(said.read()), **peaks}


def _resident(pid: int) -> dict[str, int]:
    """Resident memory of a process and of all that it started, in megabytes, now."""
    sizes = {"jvm_mb": 0, "python_mb": 0}
    try:
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            try:
                kind = "jvm_mb" if process.name() == "java" else "python_mb"
                sizes[kind] += round(process.memory_info().rss / _MEGABYTE)
            except psutil.Error:  # it has ended since
                continue
    except psutil.Error:
        pass
    return {**sizes, "together_mb": sum(sizes.values())}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="reports; every one by default")
    parser.add_argument("--events", type=int, default=1_000_000, help="default 1,000,000")
    parser.add_argument("--people", type=int, default=10_000, help="default 10,000")
    parser.add_argument("--archives", type=Path, help="a folder that keeps the archives for the next time")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    if unknown := {*options.names} - {*REPORTS}:
        parser.error(f"there is no report {min(unknown)}; one of {', '.join(REPORTS)}")
    names = options.names or list(REPORTS)
    rows: list[dict[str, Any]] = []
    with nullcontext(options.archives) if options.archives else tempfile.TemporaryDirectory() as place:
        roots = {
            days: archive(Path(place), options.events, days, options.people)
            for days in sorted({spread(REPORTS[name]) for name in names})
        }
        with bar("reports") as progress:
            for done, name in enumerate(names, start=1):
                days = spread(REPORTS[name])
                found = measured(name, roots[days])
                per_million = round(found["seconds"] * 1_000_000 / options.events, 1)
                rows.append(
                    {"report": name, "days": days, "seconds": found.pop("seconds"), "a_million": per_million, **found}
                )
                note(f"{name}: {rows[-1]['seconds']} s, {rows[-1]['together_mb']} MB")
                if progress is not None:
                    progress(done, len(names))
    heap = Analytics().driver_memory
    if options.json:
        print(json.dumps({"events": options.events, "people": options.people, "heap": heap, "reports": rows}, indent=2))
    else:
        print_table([name.upper().replace("_", " ") for name in rows[0]], [list(row.values()) for row in rows])
        note(f"{options.events:,} events of {options.people:,} people, a Java heap of {heap}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
