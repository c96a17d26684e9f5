"""The ASGI app of the read API: routes, problem documents, security headers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from api import errors
from api.state import State
from infra.runtime.health import version


def create_app(state: State) -> FastAPI:
    """An app over this state. Whoever built the state closes it."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield

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
    return app
