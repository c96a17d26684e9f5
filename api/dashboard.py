"""The dashboard: static files of our own, the same for everybody. What they show is read through the API."""

from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).parent / "static"

router = APIRouter()
#: Asked again each time and answered 304 while unchanged, so that an update is seen at once.
_CACHE = {"Cache-Control": "no-cache"}


@router.get("/", include_in_schema=False)
async def dashboard() -> Response:
    """The page."""
    return FileResponse(FOLDER / "index.html", headers=_CACHE)


class Assets(StaticFiles):
    """The page's scripts, styles and icon."""

    def __init__(self) -> None:
        super().__init__(directory=FOLDER)

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(_CACHE)
        return response
