"""An archive in a folder, and reports over it on real Spark: what tests of reports stand on."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from pyspark.sql import DataFrame, SparkSession

from analytics.reports import counting
from analytics.reports.coverage import Coverage
from analytics.reports.registry import REPORTS
from analytics.reports.report import Report
from analytics.reports.snapshot import Snapshot
from analytics.reports.spans import Span
from infra.contracts.reports import Document
from infra.runtime.archive import ArchiveReader
from infra.runtime.settings import Archive, Runtime

_EVERY = 10_000_000


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


def documents(
    spark: SparkSession, root: Path, report: Report, day: date, tenants: Sequence[str], zone: str = "UTC"
) -> dict[str, Document]:
    """The report of the period of this day, of each of these tenants, as of an hour after all is known."""
    reader = ArchiveReader(Archive(location=str(root)), Runtime())
    (span,) = report.spans(day, day, ZoneInfo(zone))
    versions = Snapshot(reader, report.tables).versions
    tables = {t.name: counting.read(spark, reader.root, t, versions[t.name], tenants) for t in report.tables}
    as_of = span.until + timedelta(hours=1)
    rows = counting.shown(report.query(tables, span, as_of), report.shapes).collect()
    found = counting.documents(
        report, (row.asDict() for row in rows), tenants, span, Coverage(as_of=as_of, at=as_of), versions
    )
    return {document.tenant: document for document in found}


def whole(report: Report) -> Report:
    """The report with everybody in its lists, whom it could not praise as well."""
    shapes = (
        replace(shape, most=_EVERY, kind="table" if shape.kind == "ranking" else shape.kind) for shape in report.shapes
    )
    return replace(report, shapes=tuple(shapes))


def sections_of(document: Document) -> dict[str, list[dict[str, Any]]]:
    """The rows of each of its lists, by name."""
    return {section.name: list(section.rows) for section in document.sections}
