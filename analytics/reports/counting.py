"""Counts a report of a day: the archive at fixed versions, through the report's query, into one document a tenant."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as fn

from analytics.reports import facts
from analytics.reports.coverage import Coverage
from analytics.reports.report import Report, Shape
from analytics.reports.spans import Span
from infra.contracts.archive import ArchiveTable
from infra.contracts.reports import MEAN, OWN, Cell, Column, Document, Section, Source

#: A row of a query as Python has it.
Row = Mapping[str, Any]


def read(spark: SparkSession, root: str, table: ArchiveTable, version: int, tenants: Sequence[str]) -> DataFrame:
    """The rows of some tenants in one version of a table."""
    rows = spark.read.format("delta").option("versionAsOf", version).load(f"{root}/{table.name}")
    return rows.where(fn.col("tenant").isin(list(tenants)))


def shown(rows: DataFrame, shapes: Iterable[Shape]) -> DataFrame:
    """The rows that one of the shapes has room for, and in `of` how many there are of their tenant and section."""
    section = Window.partitionBy("tenant", "section")
    kept = fn.col("section").isin(facts.TOTAL, facts.STEP)
    for shape in shapes:
        order = section.orderBy(*(fn.col(name).desc_nulls_last() for name in shape.order), "key")
        kept |= (fn.col("section") == shape.section) & (fn.row_number().over(order) <= shape.most)
    return rows.withColumns({"of": fn.count("*").over(section), "kept": kept}).where("kept").drop("kept")


def documents(
    report: Report,
    rows: Iterable[Row],
    tenants: Iterable[str],
    span: Span,
    coverage: Coverage,
    versions: Mapping[str, int],
) -> list[Document]:
    """A document for each tenant, without revision; of one the rows say nothing about, everything is 0 or `silent`."""
    of_tenant: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        of_tenant[row["tenant"]][row["section"]].append(row)
    columns = {column.name: column for column in report.columns}
    return [
        Document(
            report=report.name,
            title=report.title,
            meaning=report.meaning,
            tenant=tenant,
            period=span.day.isoformat(),
            start=span.start,
            end=span.end,
            timezone=span.zone.key,
            as_of=coverage.as_of,
            complete=coverage.is_complete(span.until),
            final=coverage.is_final(span.until),
            revision=0,
            archive=Source(versions=versions),
            columns=report.columns,
            headline=report.headline,
            figures=_cells(
                next(iter(of_tenant[tenant][facts.TOTAL]), report.silent),
                [columns[name] for name in report.figures],
                span,
            ),
            sections=tuple(_section(shape, of_tenant[tenant][shape.section], columns, span) for shape in report.shapes),
        )
        for tenant in tenants
    ]


def _section(shape: Shape, rows: Sequence[Row], columns: Mapping[str, Column], span: Span) -> Section:
    wanted = [columns[name] for name in shape.columns]
    if shape.kind in ("series", "heatmap"):
        by_key = {row["key"]: row for row in rows}
        starts = span.periods(shape.periods) if shape.periods else span.steps()
        keys = [start.isoformat() for start in starts]
        if shape.kind == "heatmap":
            keys = [start.date().isoformat() for start in starts]
        keyed = [(key, by_key.get(str(n), {})) for n, key in enumerate(keys)]
        if shape.kind == "heatmap":
            keyed.append((MEAN, by_key.get(MEAN, {})))
        omitted = 0
    else:
        ordered = sorted(rows, key=lambda row: (*(-(row[name] or 0) for name in shape.order), row["key"]))[: shape.most]
        # A ranking names whom it can praise.
        if shape.kind == "ranking":
            ordered = [row for row in ordered if any(row[name] for name in shape.order)]
        keyed = [(row["key"], row) for row in ordered]
        omitted = max((row["of"] for row in rows), default=0) - len(keyed)
    return Section(
        name=shape.name,
        title=shape.title,
        kind=shape.kind,
        key=shape.key,
        columns=shape.columns,
        rows=tuple({shape.key: key, **_cells(row, wanted, span)} for key, row in keyed),
        omitted=omitted,
    )


def _cells(row: Row, columns: Sequence[Column], span: Span) -> dict[str, Cell]:
    return {column.name: _cell(row.get(column.name), column, span) for column in columns}


def _cell(value: Any, column: Column, span: Span) -> Cell:
    if value is None:
        return None if column.optional else 0
    if column.unit in ("start", "day"):
        return span.steps()[int(value)].isoformat()
    cell: Cell = int(value) if column.unit == OWN and value == int(value) else value
    return cell
