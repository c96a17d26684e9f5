"""Reports as a sheet: one row for the total of each and one for each row of each list, all columns side by side.

As CSV for people and their spreadsheets, as Parquet for programs.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from pyarrow import parquet

from infra.contracts.reports import Cell, Document, columns_of

#: What a report says of itself, in every row: as of when, how complete, whether final.
_ABOUT: Final = ("report", "tenant", "period", "timezone", "as_of", "complete", "final", "revision")
#: A spreadsheet takes a cell that begins so for a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def sheet(documents: Sequence[Document]) -> str:
    """The documents as one CSV text with a header. They are of one report."""
    names = list(columns_of(documents))
    out = io.StringIO()
    writer = csv.DictWriter(out, [*_ABOUT, "section", "key", *names], restval="", lineterminator="\n")
    writer.writeheader()
    for document in documents:
        about = {name: _text(getattr(document, name)) for name in _ABOUT}
        for section, key, cells in _rows(document):
            texts = {name: _text(value) for name, value in cells.items()}
            writer.writerow({**about, "section": section, "key": _text(key), **texts})
    return out.getvalue()


def write_parquet(documents: Sequence[Document], path: Path) -> None:
    """The documents as one Parquet file with the columns of the CSV. They are of one report.

    Moments are timestamps in UTC, numbers 64 bits wide; what says nothing is null. Raises OSError.
    """
    rows = [
        {**{name: getattr(document, name) for name in _ABOUT}, "section": section, "key": str(key), **cells}
        for document in documents
        for section, key, cells in _rows(document)
    ]
    moment = pa.timestamp("us", tz="UTC")
    columns = {
        **dict.fromkeys(_ABOUT, pa.string()),
        **{"as_of": moment, "complete": pa.bool_(), "final": pa.bool_(), "revision": pa.int64()},
        **{"section": pa.string(), "key": pa.string()},
    }
    for column in columns_of(documents).values():
        found = [row.get(column.name) for row in rows]
        if column.unit in ("start", "day"):
            columns[column.name] = moment
            for row in rows:
                if isinstance(text := row.get(column.name), str):
                    row[column.name] = datetime.fromisoformat(text)
        else:
            columns[column.name] = _type(found)
    parquet.write_table(pa.Table.from_pylist(rows, pa.schema(list(columns.items()))), path)


def _type(values: Iterable[Any]) -> pa.DataType:
    kinds = {type(value) for value in values if value is not None}
    if str in kinds:
        return pa.string()
    return pa.int64() if kinds == {int} else pa.float64()


def _rows(document: Document) -> Iterable[tuple[str, Cell, dict[str, Cell]]]:
    yield "total", "", dict(document.figures)
    for section in document.sections:
        for row in section.rows:
            yield section.name, row[section.key], {name: row[name] for name in section.columns}


def _text(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return ""
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value
