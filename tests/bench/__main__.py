"""Every stage beside its physical limit and beside what people would use instead.

`python -m tests.bench [STAGE ...] [--rounds N] [--scale S] [--json FILE]` prints a table for each piece of work. Exit
code 1 below a bar.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import Progress

from tests.bench import counting, fanout, ingest, pages, routing, storing, whole
from tests.bench.contest import ROUNDS, Contest, Results, hold
from tests.bench.place import Place
from tests.bench.results import as_json, hardware, is_met, table

STAGES = {
    "ingest": ingest.contests,
    "routing": routing.contests,
    "history": storing.contests,
    "pages": pages.contests,
    "live": fanout.contests,
    "metrics": counting.contests,
    "whole": whole.contests,
}
_QUICK = 0.2
#: Of tables that go into a file.
_WIDTH = 120


def main() -> int:
    """Measure, print, and say whether every bar is met."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("stage", nargs="*", choices=[[], *STAGES], help="all by default")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds that count; one more warms up")
    parser.add_argument("--quick", action="store_true", help="three rounds of a fifth of the events")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    options = parser.parse_args()
    rounds, scale = (3, _QUICK) if options.quick else (options.rounds, 1.0)
    errors = Console(stderr=True)
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    console.print(hardware())
    found: list[tuple[Contest, Results]] = []
    with Place(scale) as place, Progress(console=errors, transient=True) as progress:
        for stage in options.stage or STAGES:
            with STAGES[stage](place) as contests:
                for contest in contests:
                    task = progress.add_task(contest.title, total=(rounds + 1) * len(contest.contenders))
                    results = hold(contest, rounds, partial(progress.advance, task))
                    progress.remove_task(task)
                    found.append((contest, results))
                    console.print(table(contest, results))
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(as_json(found)), indent=2))
    return int(not all(is_met(contest, results) for contest, results in found))


if __name__ == "__main__":
    sys.exit(main())
