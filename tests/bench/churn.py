"""How well the churn report knows who leaves, on a simulated community in which leavers were planted.

`python -m tests.bench.churn --people 10000` simulates 120 days, makes the report of the last one with Spark, and prints
what it says of itself on held-out weeks beside what happens in the two weeks after, which the archive does not have. It
does the same where it must not predict: of a tenant without anything, one with too few people, one whose people come by
throwing a coin, and the same community before there is enough of its past. Exit code 1 if it abstains, or does not,
where it should not.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from analytics.reports import outcomes
from analytics.reports.churn import CHURN
from infra.cli.output import note, print_table
from infra.cli.report import spark_session
from infra.contracts.reports import Document
from ingest.progress import bar
from tests.integration.analytics.leavers import LAST, START, Known, auc, planted
from tests.integration.analytics.places import documents, sections_of, whole

#: Who has a past to learn from, and who has not.
KNOWN: Final = "acme"
TENANTS: Final = (KNOWN, "coin", "small", "silent")
#: The last day on which there is too little history.
EARLY: Final = (START + timedelta(days=outcomes.HISTORY - 2)).date()
_SAID: Final = ("people", "left", "stayed", "training_weeks", "held_out_weeks", "outcomes", "predicted", "observed")
_JUDGED: Final = ("auc", "brier", "calibration_error", "expected", "at_risk", "abstained")


def row_of(name: str, document: Document) -> dict[str, Any]:
    """What a report says of itself."""
    return {"of": name, **{figure: document.figures[figure] for figure in (*_SAID, *_JUDGED)}}


def came_true(document: Document, known: Known) -> dict[str, Any]:
    """What became of the people whom the report is about."""
    risks = {str(row["user"]): float(row["risk"]) for row in sections_of(document)["people"]}
    gone = known.left(LAST)
    return {
        "people": len(risks),
        "left": len(gone),
        "expected": round(sum(risks.values()) / 100),
        "auc": round(auc(risks, gone), 3),
    }


def main() -> int:
    """Simulate, report and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=10_000, help="default 10,000")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, bar("simulated, reported twice") as progress:
        told = progress or (lambda done, total: None)
        told(0, 3)
        community = planted(Path(place), options.people)
        told(1, 3)
        spark = spark_session(os.environ)
        try:
            began = time.perf_counter()
            last = documents(spark, Path(place), whole(CHURN), LAST, TENANTS)
            seconds = time.perf_counter() - began
            told(2, 3)
            early = documents(spark, Path(place), CHURN, EARLY, (KNOWN,))
            told(3, 3)
        finally:
            spark.stop()
    rows = [
        *(row_of(tenant, document) for tenant, document in last.items()),
        row_of(f"{KNOWN}, day {outcomes.HISTORY - 1}", early[KNOWN]),
    ]
    future = came_true(last[KNOWN], Known(community.whole)) if last[KNOWN].figures["abstained"] is None else None
    events = sum(event.time.date() <= LAST for event, _ in community.whole)
    calibration = sections_of(last[KNOWN])["calibration"]
    told_all = {
        **{"simulated": options.people, "events": events, "seconds": round(seconds, 1), "reports": rows},
        **{"calibration": calibration, "future": future},
    }
    if options.json:
        print(json.dumps(told_all, indent=2))
    else:
        shown = [name for name in rows[0] if name != "abstained"]
        print_table([name.upper().replace("_", " ") for name in shown], [[row[name] for name in shown] for row in rows])
        for row in rows:
            print(f"{row['of']}: {row['abstained'] or 'predicts'}")
        print_table([name.upper() for name in calibration[0]], [list(row.values()) for row in calibration])
        print(f"In the {outcomes.HORIZON} days after: {json.dumps(future)}")
        note(f"{options.people:,} people, {events:,} events of theirs; {seconds:.1f} s for the report of all tenants")
    return int([row["abstained"] is None for row in rows] != [True, False, False, False, False])


if __name__ == "__main__":
    sys.exit(main())
