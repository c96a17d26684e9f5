"""An archive in a folder, and reports over it on real Spark: what tests of reports stand on."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from analytics.reports import counting
from analytics.reports.coverage import Coverage
from analytics.reports.registry import REPORTS
from analytics.reports.snapshot import Snapshot
from analytics.reports.spans import Span
from infra.contracts.reports import Document
from infra.runtime.archive import ArchiveReader
from infra.runtime.settings import Archive, Runtime


class Place:
    """An archive in a folder of its own, and reports over it. Unless told otherwise they are made when all is known."""

    def __init__(self, root: Path, spark: SparkSession) -> None:
        self.root = root
        self.spark = spark
        self.reader = ArchiveReader(Archive(location=str(root)), Runtime())

    def rows(
        self, name: str, span: Span, more: Mapping[str, DataFrame] | None = None, as_of: datetime | None = None
    ) -> list[dict[str, Any]]:
        report = REPORTS[name]
        versions = Snapshot(self.reader, report.tables).versions
        tables = {
            t.name: counting.read(self.spark, self.reader.root, t, versions[t.name], ["acme", "other"])
            for t in report.tables
        }
        as_of = as_of or span.until + timedelta(hours=1)
        counted = counting.shown(report.query({**tables, **(more or {})}, span, as_of), report.shapes)
        return [row.asDict() for row in counted.collect()]

    def document(
        self,
        name: str,
        span: Span,
        tenant: str = "acme",
        more: Mapping[str, DataFrame] | None = None,
        as_of: datetime | None = None,
    ) -> Document:
        versions = Snapshot(self.reader, REPORTS[name].tables).versions
        as_of = as_of or span.until + timedelta(hours=1)
        rows = self.rows(name, span, more, as_of)
        coverage = Coverage(as_of=as_of, at=as_of)
        (document,) = counting.documents(REPORTS[name], rows, [tenant], span, coverage, versions)
        return document


def sections_of(document: Document) -> dict[str, list[dict[str, Any]]]:
    """The rows of each of its lists, by name."""
    return {section.name: list(section.rows) for section in document.sections}
