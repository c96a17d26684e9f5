"""Routing as Faust's documentation shows it: an agent that looks at each event and sends it on.

`python -m tests.bench.peers.plain_router BOOTSTRAP SOURCE TARGET GROUP FOLDER [--take]`. With `--take` the agent is
given up to 500 events at a time and sends them on together.
"""

import asyncio
import sys
from typing import Any

import faust

_BATCH = 500


def build(bootstrap: str, source: str, target: str, group: str, folder: str, *, take: bool) -> faust.App:
    """The application."""
    app = faust.App(
        group,
        broker=f"kafka://{bootstrap}",
        store="memory://",
        value_serializer="json",
        topic_partitions=8,
        producer_acks=-1,
        web_enabled=False,
        datadir=folder,
    )
    arriving = app.topic(source, value_type=None)
    leaving = app.topic(target, value_type=None)

    def is_wanted(event: Any) -> bool:
        return isinstance(event, dict) and event.get("type") == "message.sent" and "viagra" not in event["text"].lower()

    async def one_by_one(stream: Any) -> None:
        async for event in stream:
            if is_wanted(event):
                await leaving.send(key=event["channel_id"], value=event)

    async def together(stream: Any) -> None:
        async for events in stream.take(_BATCH, within=0.05):
            await asyncio.gather(
                *[leaving.send(key=event["channel_id"], value=event) for event in events if is_wanted(event)]
            )

    app.agent(arriving)(together if take else one_by_one)
    return app


def main() -> None:
    """Run until killed."""
    bootstrap, source, target, group, folder, *rest = sys.argv[1:]
    app = build(bootstrap, source, target, group, folder, take="--take" in rest)
    faust.Worker(app, loglevel="WARNING").execute_from_commandline()


if __name__ == "__main__":
    main()
