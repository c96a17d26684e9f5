"""The ASGI app of the read API: routes, problem documents, security headers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI

from api import channels, errors, held, metrics, operations, sessions, top, trace, unread
from api.edge import Edge
from api.state import State
from infra.runtime.health import version


def create_app(state: State) -> FastAPI:
    """An app over this state. Whoever built the state closes it."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        watching = asyncio.create_task(state.watch.run())
        yield
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
    for part in (sessions, channels, unread, metrics, top, held, trace, operations):
        app.include_router(part.router)
    return app
