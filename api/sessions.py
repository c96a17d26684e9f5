"""Sessions for browsers and channel tokens for end users, both made from a read key."""

from datetime import timedelta

from fastapi import APIRouter, Request, Response

from api.auth import COOKIE, Reader, same_origin
from api.errors import Refused
from api.models.access import KeyBody, SessionBody, TokenBody, TokenRequest
from api.models.base import refusals
from api.replies import json
from api.state import Shared

router = APIRouter(tags=["access"])


@router.post(
    "/v1/session",
    response_model=SessionBody,
    responses=refusals(400, 401, 403, 413, 422),
    openapi_extra={"security": []},
)
async def open_session(request: Request, body: KeyBody, state: Shared) -> Response:
    """Exchange a read key for an HttpOnly cookie that reads on the same origin."""
    if not same_origin(request.headers):
        raise Refused(403, "A session is opened from our own pages only.")
    principal = state.authenticator.by_secret(body.key)
    # A channel token is not turned into a cookie: it would outlive its own expiry.
    if principal is None or principal.channels is not None:
        raise Refused(401, "This is not a valid read key.")
    seconds = state.settings.session_seconds
    response = json(
        SessionBody(
            tenant=principal.tenant,
            scopes=sorted(principal.scopes),
            expires_at=state.clock.now() + timedelta(seconds=seconds),
        ).model_dump()
    )
    response.set_cookie(
        COOKIE,
        state.authenticator.open_session(principal, seconds),
        max_age=seconds,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
        path="/",
    )
    return response


@router.delete(
    "/v1/session",
    status_code=204,
    response_class=Response,
    responses=refusals(403),
    openapi_extra={"security": []},
)
async def close_session(request: Request) -> Response:
    """Forget the cookie."""
    if not same_origin(request.headers):
        raise Refused(403, "A session is closed from our own pages only.")
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return response


@router.post(
    "/v1/tokens",
    response_model=TokenBody,
    responses=refusals(400, 401, 403, 413, 422),
    openapi_extra={"security": [{"key": []}]},
)
async def issue_token(body: TokenRequest, state: Shared, principal: Reader) -> Response:
    """A signed token for one user that reads these channels and nothing else. For your servers: it needs a read key."""
    if principal.channels is not None:
        raise Refused(403, "A token cannot issue tokens.")
    seconds = min(body.ttl, state.settings.token_max_seconds)
    channels = tuple(dict.fromkeys(body.channels))
    token, expires_at = state.authenticator.issue_token(principal, seconds, channels, body.user_id)
    return json(TokenBody(token=token, expires_at=expires_at).model_dump())
