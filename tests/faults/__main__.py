"""`python -m tests.faults [ROW ...] [--quick]`: play rows of the fault matrix and the positive controls.

A run counts only if every control is caught. Verdicts are kept by commit in `tests/faults/results`, so that a long run
that was cut off goes on where it stopped.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.faults.controls import CONTROLS, Control
from tests.faults.matrix import QUICK, ROWS
from tests.faults.row import Row
from tests.faults.scene import Verdict, play
from tests.faults.stack import NotSettled, Stack

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Exit 0 when every row kept its promises and every control was caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("rows", nargs="*", help="numbers of rows and names of controls; all by default")
    parser.add_argument("--quick", action="store_true", help="each role and engine once, then the controls")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--again", action="store_true", help="play what has a verdict for this commit already")
    options = parser.parse_args()
    # Told to stop, it still stops what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    plays: list[Row | Control] = [QUICK, *(c for c in CONTROLS if c.quick)] if options.quick else chosen(options.rows)
    results = RESULTS / commit()
    results.mkdir(parents=True, exist_ok=True)
    if options.again or options.quick:
        for one in plays:
            file_of(one, results).unlink(missing_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="hubbub-faults-"))
    began = time.monotonic()
    documents: list[dict[str, Any]] = []
    # What fills disks comes last, on a Hubbub of its own.
    for small in (False, True):
        these = [one for one in plays if one.small_disks is small]
        if small and these and os.geteuid() != 0:
            print(f"left out, since only root can mount small disks: {', '.join(map(name_of, these))}")
            continue
        stack = Stack(folder / ("small" if small else "large"), small_disks=small)
        documents += played(these, stack, results, options.seed)
    failed = sum(not document["ok"] for document in documents)
    rows = [document for document in documents if document["name"].startswith("row")]
    print(
        f"{len(documents) - failed} of {len(plays)} as they must be: {sum(d['events'] for d in rows):,} events and"
        f" {sum(d['kills'] for d in rows):,} kills in {time.monotonic() - began:.0f} s"
    )
    if failed:
        print(f"logs and ledgers are in {folder}")
    else:
        shutil.rmtree(folder)
    return int(failed > 0)


def played(plays: list[Row | Control], stack: Stack, results: Path, seed: int) -> Iterator[dict[str, Any]]:
    """The verdict on each, from its file or by playing it on a stack that is started when the first needs it."""
    with ExitStack() as running:
        for one in plays:
            file = file_of(one, results)
            if not file.exists():
                if not stack.ingest_url:
                    running.enter_context(stack.running())
                file.write_text(json.dumps(run(stack, one, seed), indent=1) + "\n")
            document = json.loads(file.read_text())
            report(document)
            yield document


def file_of(one: Row | Control, results: Path) -> Path:
    return results / f"{name_of(one)}.json"


def chosen(names: list[str]) -> list[Row | Control]:
    """The rows and controls of these names, all if none is given."""
    known: dict[str, Row | Control] = {str(row.number): row for row in ROWS} | {c.name: c for c in CONTROLS}
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"no such row or control: {', '.join(unknown)}. There are {', '.join(known)}.")
    return [known[name] for name in names] if names else list(known.values())


def name_of(one: Row | Control) -> str:
    return f"row-{one.number:02d}" if isinstance(one, Row) else f"control-{one.name}"


def run(stack: Stack, one: Row | Control, seed: int) -> dict[str, Any]:
    """Play one row or control. A control is as it must be when the claim it breaks fails."""
    name = name_of(one)
    try:
        if isinstance(one, Row):
            verdict = play(stack, name, one.body, rate=one.rate, seed=seed)
            return describe(name, one.what, verdict, ok=verdict.kept)
        try:
            stack.become(one.role, one.name)
            verdict = play(stack, name, one.body, rate=200, seed=seed, agree=5.0)
        finally:
            stack.restore(one.role)
    except Exception as error:  # whatever broke it, the next row can still be played
        told = str(error) if isinstance(error, NotSettled) else traceback.format_exc()
        return {"name": name, "ok": False, "events": 0, "kills": 0, "error": told}
    caught = any(claim.wrong and claim.name.startswith(one.breaks) for claim in verdict.claims)
    return describe(name, f"a {one.role} that is {one.name}: {one.breaks} must fail", verdict, ok=caught)


def describe(name: str, what: str, verdict: Verdict, *, ok: bool) -> dict[str, Any]:
    document = asdict(verdict)
    document["claims"] = [
        {"claim": c.name, "figure": c.figure, "wrong": len(c.wrong), "first": c.wrong[:5]} for c in verdict.claims
    ]
    return {"name": name, "what": what, "ok": ok, **document}


def report(document: dict[str, Any]) -> None:
    """Print one verdict."""
    print(f"{'ok' if document['ok'] else 'FAILED':7} {document['name']}: {document.get('what', '')}")
    if "error" in document:
        print(f"        {document['error']}", flush=True)
        return
    print(
        f"        {document['events']:,} events, {document['kills']} kills, {document['retried']} retried,"
        f" slowest answer {document['slowest']:.1f} s, {document['seconds']:.0f} s"
    )
    for part, seconds in document["recovered"].items():
        middle, most = statistics.median(seconds), max(seconds)
        print(f"        {part}: caught up after {middle:.1f} s (most {most:.1f}, n={len(seconds)})")
    for name, note in document["notes"].items():
        print(f"        {name}: {note}")
    for claim in document["claims"]:
        if claim["wrong"]:
            print(f"        {claim['claim']}: {claim['wrong']} wrong, such as {claim['first'][:2]}")
    sys.stdout.flush()


def commit() -> str:
    """The commit that is played, with a mark when the work tree differs from it."""
    here = Path(__file__).parent
    head = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True, check=False
    )
    dirty = subprocess.run(["git", "status", "--porcelain"], cwd=here, capture_output=True, text=True, check=False)
    return (head.stdout.strip() or "unknown") + ("-dirty" if dirty.stdout.strip() else "")


if __name__ == "__main__":
    sys.exit(main())
