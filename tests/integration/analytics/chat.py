"""Chat that people wrote: the events of IRC logs, as they are imported."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from infra.contracts.events import Event
from ingest.importers.irc import open_logs
from ingest.importers.passages import BEGINNING


def irc(folder: Path) -> Iterator[Event]:
    """Every event of the logs `*.raw.txt`, as if it had been received when it happened."""
    for log in open_logs(sorted(folder.glob("*.raw.txt")), channel="#ubuntu"):
        for passage in log.read(BEGINNING):
            for record in passage.records:
                event = msgspec.json.decode(record.raw, type=Event)
                # A lane of their own is for what the stream must not count.
                yield msgspec.structs.replace(event, tenant="acme", received_at=event.time, historical=None)
