"""What the API refuses, mapped once to `application/problem+json`."""

from http import HTTPStatus

import msgspec
import structlog
from cassandra import CoordinationFailure, OperationTimedOut, Timeout, Unavailable
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionException
from cassandra.protocol import IsBootstrappingErrorMessage, OverloadedErrorMessage, ServerError
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from infra.contracts.problems import MEDIA_TYPE, REPLIES, Problem
from infra.runtime.telemetry import UNEXPECTED

log = structlog.get_logger("hubbub.api")

#: What the driver raises when Cassandra cannot answer now. Nothing is wrong with the request.
UNAVAILABLE = (
    NoHostAvailable,
    ConnectionException,
    OperationTimedOut,
    Timeout,
    Unavailable,
    CoordinationFailure,
    OverloadedErrorMessage,
    IsBootstrappingErrorMessage,
    ServerError,
)


class Refused(Exception):
    """A request that gets no data: the status and what the client is told."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or {}


def not_found(what: str) -> Refused:
    """The same words whether it never was, is another tenant's, or is out of a token's reach."""
    return Refused(404, f"There is no such {what}.")


def reply(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    """A problem as a response, with the headers its status always carries."""
    title = REPLIES[status].title if status in REPLIES else HTTPStatus(status).phrase
    always = {401: {"WWW-Authenticate": "Bearer"}, 429: {"Retry-After": "1"}, 503: {"Retry-After": "1"}}
    body = msgspec.json.encode(Problem(title=title, status=status, detail=detail))
    return Response(body, status, {**always.get(status, {}), **(headers or {})}, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Make every refusal and failure of this app a problem document."""

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> Response:
        return reply(error.status, error.detail, error.headers)

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> Response:
        return reply(error.status_code, str(error.detail), dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        # The location and the rule, never the value: it may be somebody's words.
        faults = [f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors()]
        return reply(422, "; ".join(faults))

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        UNEXPECTED.labels("api").inc()
        log.error("request.failed", path=request.scope.get("route_path", ""), error=type(error).__name__)
        return reply(500, "Something failed that should not have. It was counted.")

    async def unavailable(_: Request, error: Exception) -> Response:
        log.warning("cassandra.unavailable", error=type(error).__name__)
        return reply(503, "Cassandra does not answer now; try again.")

    for kind in UNAVAILABLE:
        app.add_exception_handler(kind, unavailable)
