"""Reports as CSV: one row for the total of each and one for each row of each list, all columns side by side."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

from infra.contracts.reports import Cell, Document

#: What a report says of itself, in every row: as of when, how complete, whether final.
_ABOUT: Final = ("report", "tenant", "period", "timezone", "as_of", "complete", "final", "revision")
#: A spreadsheet takes a cell that begins so for a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def sheet(documents: Sequence[Document]) -> str:
    """The documents as one CSV text with a header. They are of one report."""
    names = [column.name for column in documents[0].columns] if documents else []
    out = io.StringIO()
    writer = csv.DictWriter(out, [*_ABOUT, "section", "key", *names], restval="", lineterminator="\n")
    writer.writeheader()
    for document in documents:
        about = {name: _text(getattr(document, name)) for name in _ABOUT}
        for section, key, cells in _rows(document):
            writer.writerow({**about, "section": section, "key": _text(key), **cells})
    return out.getvalue()


def _rows(document: Document) -> Iterable[tuple[str, Cell, dict[str, object]]]:
    yield "total", "", {name: _text(value) for name, value in document.figures.items()}
    for section in document.sections:
        for row in section.rows:
            yield section.name, row[section.key], {name: _text(row[name]) for name in section.columns}


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
