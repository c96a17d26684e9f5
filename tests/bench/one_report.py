"""Makes one report over an archive in a folder as a run of reports does, and prints as JSON how long it took.

`python -m tests.bench.one_report NAME ROOT DAY TENANT`. What reports read from Cassandra beside the archive is empty
here, and `backfill` counts its windows without storing them.
"""

import argparse
import json
import os
import time
from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from analytics.reports import counting, parity, trail
from analytics.reports.coverage import Coverage
from analytics.reports.job import rendered
from analytics.reports.registry import REPORTS
from analytics.reports.snapshot import Snapshot
from infra.cli.report import spark_session
from infra.runtime.archive import ArchiveReader
from infra.runtime.settings import Archive, Runtime


def make(name: str, root: str, day: date, tenant: str) -> dict[str, Any]:
    """Seconds until Spark had started, and from then until the document was there in every format."""
    began = time.perf_counter()
    spark = spark_session(os.environ)
    started = time.perf_counter()
    report = REPORTS[name]
    (span,) = report.spans(day, day, ZoneInfo("UTC"))
    snapshot = Snapshot(ArchiveReader(Archive(location=root), Runtime()), report.tables)
    tables = {t.name: counting.read(spark, root, t, snapshot.versions[t.name], [tenant]) for t in report.tables}
    if report.streamed:
        tables[parity.STREAMED] = spark.createDataFrame([], parity.STREAMED_SCHEMA)
    if report.reviewed:
        tables[trail.DECISIONS] = spark.createDataFrame([], trail.SCHEMA)
    as_of = span.until + timedelta(hours=1)
    rows = report.query(tables, span, as_of)
    found: Iterable[counting.Row] = ()
    if report.corrects:
        counted = sum(1 for _ in rows.toLocalIterator(prefetchPartitions=False))
    else:
        found = [row.asDict() for row in counting.shown(rows, report.shapes).collect()]
        counted = len(list(found))
    coverage = Coverage(as_of=as_of, at=as_of)
    for document in counting.documents(report, found, [tenant], span, coverage, snapshot.versions):
        rendered(document)
    done = time.perf_counter()
    spark.stop()
    return {"started": round(started - began, 1), "seconds": round(done - started, 1), "rows": counted}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=REPORTS)
    parser.add_argument("root")
    parser.add_argument("day", type=date.fromisoformat)
    parser.add_argument("tenant")
    options = parser.parse_args()
    print(json.dumps(make(options.name, options.root, options.day, options.tenant)))


if __name__ == "__main__":
    main()
