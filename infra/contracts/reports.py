"""A finished report: what was counted, for whom and when, from how much of the archive, and how sure it is.

It is stored as JSON, CSV and an HTML page, all made of one `Document`, which explains itself: whoever reads it needs no
registry.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal

import msgspec

Format = Literal["json", "csv", "html"]
Kind = Literal["series", "ranking", "table", "heatmap"]
FORMATS: Final[dict[Format, str]] = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "html": "text/html; charset=utf-8",
}

#: Of a heat map: the key of the row that sums up the others, and the cell that names a column.
MEAN: Final = "mean"
OPEN: Final = "open"

#: The unit of a column whose rows are of metrics with different units: whole numbers where they count.
OWN: Final = "its own"

#: A number, a name or a moment; None where there is nothing to say.
Cell = int | float | str | None


class State(StrEnum):
    """How far a run is. What is not finished is done again."""

    RUNNING = "running"
    FINISHED = "finished"


class Column(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One number of a report: what people see it called, what it means and what it is counted in.

    An `optional` one is None where there is nothing to say, as the peak of a day without messages; others are 0 there.
    """

    name: str
    label: str
    meaning: str
    unit: str
    optional: bool = False


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A list within a report. Each row has a cell named `key`, what the row is about, and one for each of `columns`.

    A `series` has a row for each hour or day of the period, or for each of some periods, whose key is its start; a
    `ranking` is ordered and cut; a `table` has everything, up to a bound. `omitted` is how many rows that cut off.

    A `heatmap` has a row for each of some periods, whose key is its first day, and then their `MEAN`. Its cells of unit
    percent say how things are so many periods later. A row's cell `OPEN` names the first of them whose period is not
    over: it and what follows it can still grow, and are in no mean.
    """

    name: str
    title: str
    kind: Kind
    key: str
    columns: tuple[str, ...]
    rows: tuple[dict[str, Cell], ...]
    omitted: int = 0


class Extent(msgspec.Struct, frozen=True, kw_only=True):
    """How much of the archive a report is made from: kept with its run, and in no document, as rows are every tenant's.

    `versions` by table; `rows` by table, in the UTC days that the period touches: while they are the same nothing was
    added to them, however often files were put together. `timezone` says whose days those were; runs of before it was
    kept have none.
    """

    versions: Mapping[str, int]
    rows: Mapping[str, int]
    timezone: str = ""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """What a report was counted from: the versions of the archive's tables."""

    versions: Mapping[str, int]


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """One report of one tenant and period. `start` and `end`, exclusive, are the period as moments.

    Everything accepted before `as_of` is counted. It is `complete` when nothing is missing but what was accepted in the
    two minutes before it was made, and `final` when `as_of` lies so far behind the period's end that what comes after
    is a correction. `revision` grows when the numbers of a period change.
    """

    report: str
    title: str
    meaning: str
    tenant: str
    period: str
    start: datetime
    end: datetime
    timezone: str
    as_of: datetime | None
    complete: bool
    final: bool
    revision: int
    archive: Source
    columns: tuple[Column, ...]
    headline: tuple[str, ...]
    """The figures to show first."""
    figures: Mapping[str, Cell]
    sections: tuple[Section, ...]


def columns_of(documents: Iterable[Document]) -> dict[str, Column]:
    """Every column of these by its name. They are of one report, which may have had fewer when some were made."""
    return {column.name: column for document in documents for column in document.columns}
