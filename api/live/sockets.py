"""Events over a WebSocket: a client authenticates, subscribes to channels, and is told where to resume when it ends.

One connection has one queue and one position. A resume begins a connection's subscription; channels added later
begin now.
"""

import asyncio
from typing import Annotated, Any

import msgspec
import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect

from api.auth import COOKIE, Principal, same_origin
from api.errors import Refused, reply
from api.live.admission import Full
from api.live.feed import Feed
from api.live.frames import Frame, message
from api.live.hub import Opening, Unready
from api.live.subscribers import GOODBYE_SECONDS, WRITE_BYTES, Subscriber, wanted
from infra.runtime.telemetry import LIVE_DROPPED, LIVE_SUBSCRIBERS

log = structlog.get_logger("hubbub.live")

#: Messages a client may send per second, and at once.
_OPS_PER_SECOND = 20
_OPS_BURST = 200

STOPPING, POLICY, TOO_SLOW = 1001, 1008, 1013  # 1009, too big, is sent by the server beneath us
_CODES = {"stopping": STOPPING, "revoked": POLICY, "slow": TOO_SLOW, "reset": TOO_SLOW}

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class Auth(msgspec.Struct, tag_field="op", tag="auth"):
    """Must come first unless the session cookie came with the handshake."""

    key: str | None = None
    token: str | None = None


class Subscribe(msgspec.Struct, tag_field="op", tag="subscribe"):
    """No channels, or `*`, means every channel of the tenant."""

    channels: list[_Name] = []
    resume: str | None = None


class Unsubscribe(msgspec.Struct, tag_field="op", tag="unsubscribe"):
    """No more of these channels; none means all."""

    channels: list[_Name] = []


class Ping(msgspec.Struct, tag_field="op", tag="ping"):
    """Answered with `pong` and the token of now."""


_decoder = msgspec.json.Decoder(Auth | Subscribe | Unsubscribe | Ping)


class _Closed(Exception):
    """Close the connection with this code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


async def serve(websocket: WebSocket, feed: Feed) -> None:
    """One connection from handshake to close."""
    try:
        feed.admission.knock()
    except Full as full:
        headers = {"Retry-After": str(full.retry_after)}
        await websocket.send_denial_response(reply(503, f"Not now: {full.detail}.", headers))
        return
    if not same_origin(websocket.headers):
        await websocket.send_denial_response(reply(403, "A browser may connect from our own pages only."))
        return
    await websocket.accept()
    try:
        principal = await _authenticate(websocket, feed)
        feed.admission.enter(principal.tenant)
    except _Closed as closed:
        LIVE_DROPPED.labels("auth").inc()
        await websocket.close(closed.code, closed.reason)
        return
    except Full as full:
        await websocket.send_text(message("error", code="full", retry_after=full.retry_after))
        await websocket.close(TOO_SLOW, full.detail)
        return
    except WebSocketDisconnect:
        return
    try:
        await _Connection(websocket, feed, principal).run()
    finally:
        feed.admission.leave(principal.tenant)


async def _authenticate(websocket: WebSocket, feed: Feed) -> Principal:
    cookie = websocket.cookies.get(COOKIE)
    principal = feed.authenticator.by_cookie(cookie) if cookie else None
    if principal is not None:
        return principal
    try:
        async with asyncio.timeout(feed.settings.auth_seconds):
            operation = _decode(await websocket.receive())
    except TimeoutError:
        raise _Closed(POLICY, "no auth in time") from None
    if not isinstance(operation, Auth):
        raise _Closed(POLICY, "auth must come first")
    try:
        principal = feed.authenticator.by_secret(operation.key or operation.token or "")
    except Refused as refused:
        raise _Closed(POLICY, refused.detail) from None
    if principal is None:
        raise _Closed(POLICY, "no valid key")
    return principal


def _decode(received: Any) -> Any:
    """The operation in an ASGI message. Raises `_Closed`, `WebSocketDisconnect`."""
    if received["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(received.get("code", 1005))
    try:
        return _decoder.decode(received.get("text") or received.get("bytes") or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise _Closed(POLICY, "not a message of this protocol") from None


class _Reply:
    """A message in its turn between the events."""

    __slots__ = ("_text", "size")

    def __init__(self, text: str) -> None:
        self._text = text
        self.size = len(text)

    def text(self) -> str:
        return self._text


class _Connection:
    """An authenticated connection: one task listens, one writes what the queue holds, replies included, in order."""

    def __init__(self, websocket: WebSocket, feed: Feed, principal: Principal) -> None:
        self._websocket = websocket
        self._feed = feed
        self._hub = feed.hub
        self._principal = principal
        self._subscriber: Subscriber[Any] = feed.subscriber(principal)
        self._subscribed = False
        self._sent_token: str | None = None
        self._allowance = float(_OPS_BURST)
        self._counted = feed.clock.monotonic()

    async def run(self) -> None:
        """Until the client leaves, breaks a rule or falls behind, or the server stops."""
        subscriber = self._subscriber
        LIVE_SUBSCRIBERS.labels("ws").inc()
        self._hub.watch(subscriber)
        write = asyncio.create_task(self._write())
        listen = asyncio.create_task(self._listen())
        ends: list[asyncio.Future[Any]] = [write, listen, subscriber.closed]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if subscriber.closed.done():
                await asyncio.wait({write, listen}, timeout=GOODBYE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            subscriber.close("gone")
            for task in (write, listen):
                task.cancel()
            _, heard = await asyncio.gather(write, listen, return_exceptions=True)
            self._hub.leave(subscriber)
            ending = subscriber.closed.result()
            LIVE_SUBSCRIBERS.labels("ws").dec()
            LIVE_DROPPED.labels(ending).inc()
            if isinstance(heard, _Closed):
                await self._close(heard.code, heard.reason)
            elif ending in _CODES:
                await self._close(_CODES[ending], ending)

    async def _close(self, code: int, reason: str) -> None:
        try:
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self._websocket.close(code, reason)
        except (TimeoutError, RuntimeError, WebSocketDisconnect):
            log.debug("live.client_did_not_hear", reason=reason)

    async def _write(self) -> None:
        subscriber, send = self._subscriber, self._websocket.send_text
        while True:
            for item in await subscriber.take(WRITE_BYTES, self._feed.settings.ping_seconds):
                if isinstance(item, Opening):
                    for frame in self._hub.replay(item):
                        await send(frame.text())
                        self._sent_token = frame.token
                    continue
                await send(item.text())
                if isinstance(item, Frame):
                    self._sent_token = item.token
            if subscriber.closed.done() and not subscriber.waiting:
                break
        match subscriber.closed.result():
            case "slow":
                await send(message("gap", **{"from": self._sent_token, "to": self._hub.token()}))
            case "stopping" | "reset" | "revoked" as ending:
                await send(message("error", code=ending, token=self._sent_token))

    async def _listen(self) -> None:
        while True:
            operation = _decode(await self._websocket.receive())
            self._count()
            try:
                match operation:
                    case Subscribe():
                        await self._subscribe(operation)
                    case Unsubscribe():
                        self._unsubscribe(operation)
                    case Ping():
                        # In its turn: when it arrives, everything before this token has arrived.
                        self._reply("pong", token=self._hub.token() if self._hub.ready else None)
                    case _:
                        self._reply("error", code="already_authenticated")
            except Refused as refused:
                code = "not_found" if refused.status == 404 else "invalid"
                self._reply("error", code=code, detail=refused.detail)
            except Unready:
                self._reply("error", code="not_ready")

    async def _subscribe(self, operation: Subscribe) -> None:
        names = wanted(self._principal, operation.channels, self._feed.settings.channels)
        subscriber, hub = self._subscriber, self._hub
        if not self._subscribed:
            subscriber.everything, subscriber.channels = names is None, names or set()
            opening = await hub.open(subscriber, operation.resume)
            # Nothing is awaited between the attachment inside and these lines: no event can come before them.
            self._subscribed = True
            self._sent_token = opening.token
            self._reply("subscribed", recovered=opening.recovered, token=opening.token)
            if opening.recovered is False:
                self._reply("gap", **{"from": operation.resume, "to": opening.token})
            subscriber.push(opening)
        elif operation.resume is not None:
            self._reply("error", code="resume_first", detail="Only the first subscribe may resume.")
        elif names is None or subscriber.everything or len(subscriber.channels | names) > self._feed.settings.channels:
            self._reply("error", code="invalid", detail="Too many channels, or all of them already.")
        else:
            hub.add(subscriber, names)
            self._reply("subscribed", recovered=None, token=hub.token())

    def _unsubscribe(self, operation: Unsubscribe) -> None:
        subscriber = self._subscriber
        if operation.channels and not subscriber.everything:
            self._hub.remove(subscriber, set(operation.channels) & subscriber.channels)
        else:
            self._hub.leave(subscriber)
            self._hub.watch(subscriber)
        self._subscribed = bool(subscriber.channels)

    def _reply(self, op: str, **fields: Any) -> None:
        self._subscriber.push(_Reply(message(op, **fields)))

    def _count(self) -> None:
        now = self._feed.clock.monotonic()
        self._allowance = min(_OPS_BURST, self._allowance + (now - self._counted) * _OPS_PER_SECOND) - 1
        self._counted = now
        if self._allowance < 0:
            raise _Closed(POLICY, "too many messages")
