"""The audit trail as reports read it: who decided what about which message, and when.

The archive has the events that decisions become, and so what became of a message; who decided, and when something was
released, stands in the trail alone.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final

import msgspec
from pyspark.sql.types import StringType, StructField, StructType, TimestampType

from analytics.reports.runs import Runs
from analytics.reports.spans import Span, days
from infra.contracts import tables
from infra.contracts.review import Entry
from infra.contracts.topics import HELD

#: The table of decisions, beside those of the archive.
DECISIONS: Final = "decisions"
#: `about` is the event that was released or rejected, or the message that was blocked.
SCHEMA: Final = StructType(
    [
        StructField("tenant", StringType(), nullable=False),
        StructField("about", StringType(), nullable=False),
        StructField("verb", StringType(), nullable=False),
        StructField("decided_at", TimestampType(), nullable=False),
        StructField("moderator", StringType(), nullable=False),
    ]
)
#: All of a day: Cassandra hands it out by the page.
_ALL: Final = 2**31 - 1

Decided = tuple[str, str, str, datetime, str]

_entry: Final = msgspec.json.Decoder(Entry)


def decisions(runs: Runs, tenants: Iterable[str], span: Span, now: datetime) -> Iterator[Decided]:
    """What was decided of these tenants' messages of this period, and of others; the rows of `SCHEMA`.

    What a rule stopped can be decided about while its topic keeps it, and not longer; what was shown, later too.
    """
    last = min(span.end + timedelta(milliseconds=HELD.retention_ms), now).date()
    for tenant in tenants:
        places = [(tenant, day.isoformat(), _ALL) for day in days(span.start.date(), last)]
        for rows in runs.execute_many(tables.DECISIONS_OF_DAY, places):
            for (line,) in rows:
                entry = _entry.decode(line)
                about = entry.held_event_id or entry.message_id
                who = entry.moderator or entry.decided_by
                yield (tenant, about, entry.verb.value, entry.decided_at, who)
