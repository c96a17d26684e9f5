"""A history page as FastAPI's documentation shows it: a prepared SELECT in a thread, and a list of pydantic models.

`python -m tests.bench.peers.plain_pages PORT`. Cassandra is where `HUBBUB_CASSANDRA_*` says.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from infra.contracts.tables import NEWEST
from infra.runtime.cassandra import connect
from infra.runtime.settings import Cassandra
from tests.bench.chat import TENANT


class Message(BaseModel):
    """One message as it is shown."""

    id: str
    time: str
    user_id: str
    channel_id: str
    text: str


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """A session as long as the application."""
    app.state.database = connect(Cassandra())
    yield
    app.state.database.close()


app = FastAPI(lifespan=lifespan)


@app.get("/v1/channels/{channel}/messages", response_model=list[Message])
def page(channel: str, bucket: int, limit: int = 50) -> list[Message]:
    """The newest messages of a channel."""
    database = app.state.database
    rows = database.session.execute(database.prepared(NEWEST), (TENANT, channel, bucket, limit))
    return [Message(**msgspec.json.decode(row[2])) for row in rows]


def main() -> None:
    """Serve until killed."""
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", loop="uvloop", http="httptools")


if __name__ == "__main__":
    main()
