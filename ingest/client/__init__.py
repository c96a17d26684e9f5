"""The Python client of ingest: give it events; it batches, retries, spools to disk and says what became of each.

with Client("http://127.0.0.1:8080", key, spool_dir=Path("spool")) as client:
    client.send({"type": "message.sent", "channel_id": "general", "user_id": "ada", "text": "hello"})
"""

from ingest.client.backoff import Backoff
from ingest.client.client import Client
from ingest.client.outcomes import Drop, Outcome, Stats
from ingest.client.spool import SpoolBusyError

__all__ = ["Backoff", "Client", "Drop", "Outcome", "SpoolBusyError", "Stats"]
