"""What operators and documentation need: health, metrics, version, the OpenAPI document and its page."""

import ipaddress

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from api import docs
from api.errors import Refused
from api.replies import json
from api.state import Shared
from infra.runtime.health import version

router = APIRouter(include_in_schema=False)


@router.get("/healthz")
async def alive() -> Response:
    """The process is alive."""
    return json({"alive": True})


@router.get("/readyz")
async def ready(state: Shared) -> Response:
    """The engines answer and the live stream follows."""
    report = state.health.report()
    return json(report, status=200 if report.ready else 503)


@router.get("/version")
async def which() -> Response:
    """Name and version."""
    return json(version())


@router.get("/metrics")
async def metrics(request: Request, state: Shared) -> Response:
    """Prometheus metrics of this process."""
    _check_local(request, opened=state.settings.open_operations)
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


@router.get("/openapi.json")
async def described(request: Request) -> Response:
    """The OpenAPI document."""
    return json(docs.describe(request.app))


@router.get("/docs")
async def documentation(request: Request, state: Shared) -> Response:
    """The OpenAPI document for people."""
    _check_local(request, opened=state.settings.open_operations)
    return Response(docs.page(docs.describe(request.app)), media_type="text/html")


def _check_local(request: Request, *, opened: bool) -> None:
    """Only this machine may ask, unless the settings open it."""
    if opened:
        return
    try:
        local = request.client is not None and ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        local = False
    if not local:
        raise Refused(403, "Answered on this machine only.")
