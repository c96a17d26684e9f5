"""Metric windows and reports: the streamed windows of a day to compare with, and a day's exact ones to publish."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Final

from cassandra.query import UNSET_VALUE

from analytics.reports.runs import Runs
from analytics.reports.spans import Span
from infra.contracts import tables
from infra.contracts.metrics import MEASURES, TENANT_SCOPE, channel_scope
from infra.contracts.reports import Document
from infra.contracts.tables import MEASURE_COLUMNS
from infra.contracts.windows import DAY

STREAM: Final = "stream"
BATCH: Final = "batch"
_NAMES: Final = tuple(measure.name for measure in MEASURES)
_REVISION: Final = 1 + len(MEASURE_COLUMNS)

#: Tenant, channel or an empty string, and a number for each of the registry's measures.
Window = tuple[str, str, *tuple[int, ...]]


def is_window(span: Span) -> bool:
    """Whether the day is one that windows are counted by: a UTC day."""
    return DAY.start(span.start) == span.start and DAY.end(span.start) == span.end


def streamed(runs: Runs, tenants: Iterable[str], span: Span) -> Iterator[Window]:
    """The day's streamed windows of tenants and their channels."""
    for tenant in tenants:
        members = runs.execute(tables.MEMBERS, (tenant, "channel", DAY.name, span.start))
        channels = ["", *(row[0] for row in members)]
        found = runs.execute_many(tables.WINDOWS, (_bounds(tenant, channel, STREAM, span) for channel in channels))
        for channel, rows in zip(channels, found, strict=True):
            for row in rows:
                values = dict(zip(MEASURE_COLUMNS, row[1:_REVISION], strict=True))
                yield (tenant, channel, *(values[name] or 0 for name in _NAMES))


def publish(runs: Runs, document: Document, span: Span, now: datetime) -> int:
    """Store a UTC day's exact numbers as its windows, where they are not there yet. Returns how many were written.

    Readers prefer them to the streamed ones, so their revision goes on from those.
    """
    channels = next(section for section in document.sections if section.name == "channels")
    numbers = {"": dict(document.figures), **{str(row["channel"]): row for row in channels.rows}}
    places = [(document.tenant, channel) for channel in numbers]
    stored = {
        source: runs.execute_many(tables.WINDOWS, (_bounds(*place, source, span) for place in places))
        for source in (STREAM, BATCH)
    }
    puts = []
    for place, of_stream, of_batch in zip(places, stored[STREAM], stored[BATCH], strict=True):
        values = {name: numbers[place[1]][name] for name in _NAMES}
        before = dict(zip(MEASURE_COLUMNS, of_batch[0][1:_REVISION], strict=True)) if of_batch else {}
        if before and all((before[name] or 0) == number for name, number in values.items()):
            continue
        revision = 1 + max((row[0][_REVISION] or 0 for row in (of_stream, of_batch) if row), default=0)
        # Exact numbers need no sketch, and have none to be merged with.
        columns = (values.get(name, UNSET_VALUE) for name in MEASURE_COLUMNS)
        puts.append((*columns, revision, now, *_key(*place, BATCH, span), span.start))
    runs.execute_many(tables.PUT_WINDOW, puts)
    return len(puts)


def _key(tenant: str, channel: str, source: str, span: Span) -> tuple[Any, ...]:
    scope = channel_scope(channel) if channel else TENANT_SCOPE
    return (tenant, scope, DAY.name, DAY.period_of(span.start), source)


def _bounds(tenant: str, channel: str, source: str, span: Span) -> tuple[Any, ...]:
    return (*_key(tenant, channel, source, span), span.start, span.end)
