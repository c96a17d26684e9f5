"""What every request passes first: path segments kept apart, a bound on bodies, security headers on every reply."""

from typing import Annotated
from urllib.parse import unquote

from fastapi import HTTPException, Path
from pydantic import AfterValidator
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 64 * 1024


def content_security_policy(connect: tuple[str, ...] = ()) -> str:
    """Scripts and styles from our own files alone; nothing may frame us, and nothing we show can send data elsewhere
    than to us and to `connect`.
    """
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            "font-src 'self'",
            " ".join(("connect-src 'self'", *connect)),
            "manifest-src 'self'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )


_HEADERS = {
    "Content-Security-Policy": content_security_policy(),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

#: An id in a path, as its owner wrote it. Read with `Edge`, which keeps an encoded slash inside its segment.
PathId = Annotated[str, Path(min_length=1, max_length=1_800), AfterValidator(unquote)]


class Edge:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        scope["path"] = kept_segments(scope)
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
            return
        received = 0

        async def bounded() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > MAX_BODY_BYTES:
                # FastAPI makes any other exception of a read a 400.
                raise HTTPException(413, f"The body is longer than {MAX_BODY_BYTES} bytes.")
            return message

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                # What is behind a key is not for shared caches.
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, bounded, guarded)


def kept_segments(scope: Scope) -> str:
    """The path to route by: each segment decoded once, but for a slash or percent sign inside one.

    Servers decode the whole path before routing, which would split the channel id `a/b` in two.
    """
    raw = scope.get("raw_path")
    if not raw or b"%" not in raw:
        return str(scope["path"]).replace("%", "%25")
    segments = raw.partition(b"?")[0].decode("latin-1").split("/")
    return "/".join(unquote(segment).replace("%", "%25").replace("/", "%2F") for segment in segments)
