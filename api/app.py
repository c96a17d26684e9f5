"""The ASGI app of the read API: routes, problem documents, security headers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI

from api import dashboard, errors, ledger, operations, reports, sessions, trace
from api.edge import Edge
from api.history import channels, decisions, held, unread
from api.live import endpoints as live
from api.live.feed import Feed
from api.numbers import metrics, top, trending, waiting
from api.state import State
from infra.runtime.health import version


def create_app(state: State, feed: Feed | None = None) -> FastAPI:
    """An app over this state. Whoever built the state closes it. Without a feed there are no live endpoints."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        watching = asyncio.create_task(state.watch.run())
        if feed is not None:
            await feed.start(state.health)
        yield
        if feed is not None:
            await feed.stop()
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching

    app = FastAPI(
        title="Hubbub read API",
        version=version()["version"],
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.state.hubbub = state
    errors.install(app)
    app.add_middleware(Edge)
    parts = (
        sessions,
        channels,
        unread,
        metrics,
        top,
        trending,
        waiting,
        held,
        decisions,
        ledger,
        reports,
        trace,
        operations,
        dashboard,
    )
    for part in parts:
        app.include_router(part.router)
    app.mount("/static", dashboard.Assets())
    if feed is not None:
        app.state.feed = feed
        app.include_router(live.router)
    return app
