"""The dashboard: static files of our own, the same for everybody. What they show is read through the API."""

from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from api.edge import content_security_policy
from api.state import Shared

FOLDER = Path(__file__).parent / "static"

router = APIRouter()
#: Asked again each time and answered 304 while unchanged, so that an update is seen at once.
_CACHE = {"Cache-Control": "no-cache"}


@router.get("/", include_in_schema=False)
async def dashboard(state: Shared) -> Response:
    """The page. It talks to this server, and to ingest when a moderator decides something."""
    policy = content_security_policy(connect=(state.settings.ingest_url,) if state.settings.ingest_url else ())
    return FileResponse(FOLDER / "index.html", headers={**_CACHE, "Content-Security-Policy": policy})


class Assets(StaticFiles):
    """The page's scripts, styles and icon."""

    def __init__(self) -> None:
        super().__init__(directory=FOLDER)

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(_CACHE)
        return response
