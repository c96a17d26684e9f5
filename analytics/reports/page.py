"""Reports as one HTML page that needs nothing else: no script, no file from elsewhere, light and dark, narrow and wide.

Whatever users wrote is text in it, and its own policy lets a browser run nothing and load nothing.
"""

import base64
import hashlib
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import cache
from importlib import resources
from typing import Any, Final
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from analytics.reports.charts import Chart, chart
from analytics.reports.heatmap import tiles
from infra.contracts.reports import MEAN, OPEN, Cell, Column, Document, Section

#: A label below every so many bars.
_HOURS: Final = 3
_DAYS: Final = 7


def page(documents: Sequence[Document]) -> str:
    """One page of these documents, which are of one report; with several, an overview of the days comes first."""
    css = resources.files("analytics.reports").joinpath("page.css").read_text()
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    return _template().render(
        documents=documents,
        overviews=_overviews(documents) if len(documents) > 1 else [],
        css=Markup(css),  # noqa: S704 - our own file
        policy=f"default-src 'none'; style-src 'sha256-{digest}'",
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("analytics.reports", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"moment": _moment, "number": _number, "period": _period}
    environment.globals |= {
        "anchor": _anchor,
        "columns_of": _columns_of,
        "series": _series,
        "share": _share,
        "tiles": tiles,
        "MEAN": MEAN,
        "OPEN": OPEN,
        "state": state_of,
        "shown": shown,
        "key": key_of,
    }
    return environment.get_template("page.html")


def _overviews(documents: Sequence[Document]) -> list[tuple[str, Sequence[Document], Chart]]:
    """Of each tenant its days, and a chart of the first headline figure."""
    found: list[tuple[str, Sequence[Document], Chart]] = []
    for tenant in dict.fromkeys(document.tenant for document in documents):
        of_tenant = [document for document in documents if document.tenant == tenant]
        name = of_tenant[0].headline[0]
        values = [_amount(document.figures[name]) for document in of_tenant]
        labels = [f"{_period(document, short=True)}: {_number(document.figures[name])}" for document in of_tenant]
        bars = chart(values, labels, every=1 if len(values) <= _DAYS else _every(len(values)))
        found.append((tenant, of_tenant, bars))
    return found


def _every(count: int) -> int:
    """How many bars a label stands for, where not each can have one."""
    return -(-count // _DAYS)


def _series(document: Document, section: Section, name: str) -> Chart:
    """The chart of one column of a series."""
    starts = [key_of(section, row) for row in section.rows]
    values = [_amount(row[name]) for row in section.rows]
    every = _HOURS if section.key == "start" else 1 if len(values) <= _DAYS else _every(len(values))
    return chart(values, [f"{start}: {_number(value)}" for start, value in zip(starts, values, strict=True)], every)


def _share(section: Section, row: dict[str, Cell]) -> float:
    """How long a ranking's bar is: percent of the first."""
    name = section.columns[0]
    most = max((_amount(other[name]) for other in section.rows), default=0)
    return round(100 * _amount(row[name]) / most, 2) if most else 0


def key_of(section: Section, row: dict[str, Cell]) -> str:
    """What a row is about, as it is read: a step of a series by the clock or the calendar."""
    key = str(row[section.key])
    return _step(key, section.key) if section.kind == "series" else key


def _step(start: str, key: str) -> str:
    moment = datetime.fromisoformat(start)
    match key:
        case "day":
            return f"{moment:%a} {moment.day} {moment:%b}"
        case "week":
            return f"{moment.day} {moment:%b}"
        case "month":
            return f"{moment:%b %Y}"
        case _:
            return f"{moment:%H:%M}"


def _columns_of(document: Document, names: Sequence[str]) -> list[Column]:
    known = {column.name: column for column in document.columns}
    return [known[name] for name in names]


def shown(column: Column, value: Cell) -> str:
    """A cell as it is read."""
    if column.unit in ("start", "day") and isinstance(value, str):
        return _step(value, column.unit)
    if column.unit == "seconds" and value is not None:
        return _duration(_amount(value))
    return _number(value)


def state_of(document: Document) -> tuple[str, str]:
    """How sure the numbers are: a word, and a sentence."""
    if document.as_of is None:
        return "incomplete", "It is not known up to when everything accepted is counted."
    as_of = _moment(document.as_of, document.timezone)
    if document.final:
        return "final", f"Everything accepted before {as_of} is counted. Later corrections raise the revision."
    if document.complete:
        return "open", f"Everything accepted before {as_of} is counted. It can still grow."
    return "incomplete", f"Everything accepted before {as_of} is counted; the archive was behind."


def _anchor(document: Document) -> str:
    return f"{document.tenant}-{document.period}"


def _period(document: Document, *, short: bool = False) -> str:
    """The days of a report as they are read: one, or the first and the last."""
    day = date.fromisoformat(document.period)
    last = (document.end.astimezone(ZoneInfo(document.timezone)) - timedelta(hours=1)).date()
    if short:
        return f"{day.day} {day:%b}"
    if day == last:
        return f"{day:%A}, {day.day} {day:%B} {day.year}"
    return f"{day.day} {day:%B} to {last.day} {last:%B} {last.year}"


def _moment(moment: datetime, zone: str) -> str:
    local = moment.astimezone(ZoneInfo(zone))
    return f"{local.day} {local:%b %Y, %H:%M:%S} {local:%Z}"


def _duration(seconds: float) -> str:
    """Its two largest units: 42 s, 3 min 7 s, 2 h 5 min."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _number(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _amount(value: Cell) -> float:
    return value if isinstance(value, int | float) else 0
