"""Ingest as FastAPI's and aiokafka's documentation show it: a pydantic model, and an await for each event.

`python -m tests.bench.peers.plain_ingest PORT BOOTSTRAP TOPIC [--forget]`. With `--forget` it does not wait for Kafka.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import uvicorn
from aiokafka import AIOKafkaProducer
from fastapi import FastAPI
from pydantic import BaseModel, Field


class Message(BaseModel):
    """One chat event."""

    id: str = Field(max_length=100)
    type: str
    time: datetime
    channel_id: str
    user_id: str
    text: str = Field(max_length=10_000)


def build(bootstrap: str, topic: str, *, forget: bool) -> FastAPI:
    """The application."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AIOKafkaProducer(
            bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, compression_type="lz4", linger_ms=2
        ) as producer:
            app.state.producer = producer
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/v1/events")
    async def take(body: Message | list[Message]) -> dict[str, int]:
        messages = body if isinstance(body, list) else [body]
        for message in messages:
            value, key = message.model_dump_json().encode(), message.channel_id.encode()
            if forget:
                await app.state.producer.send(topic, value, key=key)
            else:
                await app.state.producer.send_and_wait(topic, value, key=key)
        return {"accepted": len(messages)}

    return app


def main() -> None:
    """Serve until killed."""
    port, bootstrap, topic, *rest = sys.argv[1:]
    app = build(bootstrap, topic, forget="--forget" in rest)
    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning", loop="uvloop", http="httptools")


if __name__ == "__main__":
    main()
