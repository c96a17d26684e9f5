"""The HTTP application of ingest: doors for events and moderators, and what operators and documentation need."""

import ipaddress
from collections.abc import Callable
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.routing import Route

from infra.runtime.clock import Clock
from infra.runtime.control import Directory
from infra.runtime.health import Health, version
from ingest import answers, openapi
from ingest.door import Door
from ingest.doors import DOORS
from ingest.errors import Refused
from ingest.intake import Intake
from ingest.review import PATHS, Decisions, ReviewDoor
from ingest.settings import Ingest


def create_app(
    intake: Intake,
    decisions: Decisions,
    directory: Directory,
    settings: Ingest,
    health: Health,
    *,
    clock: Clock,
    new_id: Callable[[], str],
) -> FastAPI:
    """The application over a running intake."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    for path, parsers in DOORS.items():
        door = Door(intake, directory, settings, parsers=parsers, clock=clock, new_id=new_id)
        app.router.routes.append(Route(path, door))
    for path, verb in PATHS.items():
        app.router.routes.append(Route(path, ReviewDoor(verb, decisions, directory, settings, new_id=new_id)))
    _add_operations(app, health, settings)
    app.add_exception_handler(HTTPException, _refuse)
    return app


def _add_operations(app: FastAPI, health: Health, settings: Ingest) -> None:
    document = openapi.document()

    @app.get("/healthz")
    async def alive() -> Response:
        return _json({"alive": True})

    @app.get("/readyz")
    async def ready() -> Response:
        report = health.report()
        return _json(report, status=200 if report.ready else 503)

    @app.get("/version")
    async def which() -> Response:
        return _json(version())

    @app.get("/openapi.json")
    async def described() -> Response:
        return _json(document)

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        _guard(request, settings)
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/docs")
    async def docs(request: Request) -> Response:
        _guard(request, settings)
        return Response(openapi.page(document), media_type="text/html")


def _guard(request: Request, settings: Ingest) -> None:
    """Only this machine may ask, unless the settings open it."""
    host = request.client.host if request.client else ""
    if settings.open_docs or _is_loopback(host):
        return
    raise HTTPException(403, "answered on this machine only")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    answer = answers.refusal(Refused(error.status_code, error.detail, error.headers))
    return Response(answer.body, answer.status, dict(answer.headers))


def _json(body: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")
