"""The live endpoints: events by SSE and WebSocket, and metric points by SSE.

What is wrong before a stream begins is an HTTP problem; afterwards it is an event, and the stream ends.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Header, Query, Request, WebSocket
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.auth import Principal, Reader
from api.errors import Refused, not_found
from api.live import sockets
from api.live.admission import Full
from api.live.feed import Feed
from api.live.frames import Frame, Notice, ping, sse
from api.live.hub import Opening, Unready
from api.live.series import Place
from api.live.subscribers import GOODBYE_SECONDS, WRITE_BYTES, Ending, Subscriber, wanted
from api.numbers.metrics import GrainName, ScopeName, check_scope
from infra.contracts.metrics import METRICS, TENANT_SCOPE, Metric
from infra.contracts.problems import encode
from infra.contracts.windows import BY_NAME, MINUTE
from infra.runtime.telemetry import LIVE_DROPPED, LIVE_SUBSCRIBERS

log = structlog.get_logger("hubbub.live")
router = APIRouter()

_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"description": "Server-sent events", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
}
_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)


def feed_of(request: Request | WebSocket) -> Feed:
    """The feed of the app that serves this request."""
    feed: Feed = request.app.state.feed
    return feed


@router.get(
    "/v1/live/events", response_class=Response, responses=_STREAM, tags=["live"], summary="Events as they happen"
)
async def live_events(
    request: Request,
    principal: Reader,
    channels: Annotated[list[str] | None, Query(description="Comma separated; none or `*` means all")] = None,
    channel: Annotated[list[str] | None, Query(description="One channel, not split at commas; repeatable")] = None,
    resume: Annotated[str | None, Query(description="A resume token, where Last-Event-ID cannot be sent")] = None,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """Server-sent events. The first is `ready` {recovered, token}; each `event` has a resume token as its id."""
    feed = feed_of(request)
    asked = [name for part in channels or () for name in part.split(",")] + (channel or [])
    names = wanted(principal, asked, feed.settings.channels)
    subscriber: Subscriber[Frame] = feed.subscriber(principal)
    subscriber.everything, subscriber.channels = names is None, names or set()
    _enter(feed, principal.tenant)
    try:
        opening = await feed.hub.open(subscriber, last_event_id or resume or None)
    except Unready:
        feed.admission.leave(principal.tenant)
        raise _later(feed, "The live stream is not ready yet.") from None
    except BaseException:
        feed.hub.leave(subscriber)
        feed.admission.leave(principal.tenant)
        raise
    return _Stream(feed, subscriber, _EventLines(feed, subscriber, opening))


@router.get(
    "/v1/live/metrics", response_class=Response, responses=_STREAM, tags=["live"], summary="Numbers as they change"
)
async def live_metrics(
    request: Request,
    principal: Reader,
    metric: Annotated[list[str] | None, Query(description="Comma separated names to follow", max_length=50)] = None,
    scope: ScopeName = TENANT_SCOPE,
    grain: GrainName = None,
    resume: Annotated[str | None, Query(description="A resume token, where Last-Event-ID cannot be sent")] = None,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """Server-sent events. With `metric`: `ready` {recovered}, then a `point` for each window, again when it changes.

    `progress` says how far the numbers are: what ends before its watermark is final. Each `point` has a resume token as
    its id. Without `metric`: `ready`, then the tenant's minutes as they are stored and `gauge` from the hub itself.
    """
    feed = feed_of(request)
    followed = tuple(_metric(name, principal, scope) for part in metric or () for name in part.split(",") if name)
    _enter(feed, principal.tenant)
    subscriber: Subscriber[Notice] = feed.subscriber(principal)
    if not followed:
        feed.points.open(subscriber)
        return _Stream(feed, subscriber, _PointLines(feed, subscriber))
    place = Place(principal.tenant, scope, BY_NAME[grain or MINUTE.name])
    try:
        told, recovered = await feed.followed.open(subscriber, place, followed, last_event_id or resume or None)
    except BaseException:
        feed.admission.leave(principal.tenant)
        raise
    return _Stream(feed, subscriber, _SeriesLines(feed, subscriber, told, recovered))


def _metric(name: str, principal: Principal, scope: str) -> Metric:
    metric = METRICS.get(name)
    if metric is None:
        raise not_found(f"metric as {name[:100]}")
    check_scope(principal, metric, scope)
    return metric


@router.websocket("/v1/live/ws")
async def live_socket(websocket: WebSocket) -> None:
    """The same events over a WebSocket, for clients that change their channels as they go."""
    await sockets.serve(websocket, feed_of(websocket))


class _EventLines:
    """What the stream of events says at its beginning, in silence and at its end."""

    protocol = "sse"

    def __init__(self, feed: Feed, subscriber: Subscriber[Frame], opening: Opening) -> None:
        self._feed = feed
        self._subscriber = subscriber
        self._opening = opening
        self._token = opening.token

    async def begin(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        retry = 1000 + int(self._feed.jitter() * 2000)
        opening = self._opening
        ready = encode({"recovered": opening.recovered, "token": opening.token})
        await write(sse("ready", ready, opening.token, retry))
        chunk: list[bytes] = []
        size = 0
        for frame in self._feed.hub.replay(opening):
            chunk.append(frame.sse())
            self._token = frame.token
            size += frame.size
            if size >= WRITE_BYTES:
                await write(b"".join(chunk))
                chunk, size = [], 0
        if chunk:
            await write(b"".join(chunk))

    def lines(self, frames: list[Frame]) -> bytes:
        self._token = frames[-1].token
        return b"".join([frame.sse() for frame in frames])

    def silence(self) -> bytes:
        # Nothing waits, so this reader has everything up to where the hub stands.
        self._token = self._feed.hub.token()
        return ping(self._token)

    def end(self, ending: Ending) -> bytes:
        if ending == "slow":
            return sse("gap", encode({"from": self._token, "to": self._feed.hub.token()}), self._token)
        return sse("end", encode({"code": ending, "token": self._token}), self._token)

    def leave(self) -> None:
        self._feed.hub.leave(self._subscriber)


class _PointLines:
    """The same for metric points, which have no position: a client reads the numbers again when it comes back."""

    protocol = "sse-metrics"

    def __init__(self, feed: Feed, subscriber: Subscriber[Notice]) -> None:
        self._feed = feed
        self._subscriber = subscriber

    async def begin(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        # Gauges have no history in the log, so the hub gives what it remembers of its own.
        whole = self._subscriber.principal.channels is None
        rates = self._feed.hub.rates.history(self._subscriber.tenant) if whole else []
        ready = encode({"live_rate": rates, "source": "hub"})
        await write(sse("ready", ready, None, 1000 + int(self._feed.jitter() * 2000)))

    def lines(self, frames: list[Notice]) -> bytes:
        return b"".join([frame.sse() for frame in frames])

    def silence(self) -> bytes:
        return ping(None)

    def end(self, ending: Ending) -> bytes:
        return sse("end", encode({"code": ending}))

    def leave(self) -> None:
        self._feed.points.leave(self._subscriber)


class _SeriesLines:
    """The same for metrics that a stream follows."""

    protocol = "sse-series"

    def __init__(self, feed: Feed, subscriber: Subscriber[Notice], told: list[Notice], recovered: bool) -> None:
        self._feed = feed
        self._subscriber = subscriber
        self._told = told
        self._recovered = recovered
        self._token: str | None = None

    async def begin(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        retry = 1000 + int(self._feed.jitter() * 2000)
        told, self._told = self._told, []
        await write(sse("ready", encode({"recovered": self._recovered}), None, retry) + self.lines(told))

    def lines(self, frames: list[Notice]) -> bytes:
        self._token = next((frame.token for frame in reversed(frames) if frame.token), self._token)
        return b"".join([frame.sse() for frame in frames])

    def silence(self) -> bytes:
        return ping(None)

    def end(self, ending: Ending) -> bytes:
        return sse("end", encode({"code": ending, "token": self._token}), self._token)

    def leave(self) -> None:
        self._feed.followed.leave(self._subscriber)


class _Stream(Response):
    """Writes one subscriber's queue to one client until either is gone. A client that does not read is cut off."""

    def __init__(self, feed: Feed, subscriber: Subscriber[Any], lines: Any) -> None:
        self.status_code = 200
        self.background = None
        self._feed = feed
        self._subscriber = subscriber
        self._lines = lines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        subscriber, loop = self._subscriber, asyncio.get_running_loop()
        open_streams = LIVE_SUBSCRIBERS.labels(self._lines.protocol)
        open_streams.inc()
        gone = asyncio.create_task(_watch(receive, subscriber))
        limit = asyncio.timeout(None)

        def bound(closed: "asyncio.Future[Ending]") -> None:
            limit.reschedule(loop.time() + (0 if closed.result() == "gone" else GOODBYE_SECONDS))

        subscriber.closed.add_done_callback(bound)
        try:
            # Bounded once the stream is over: a client that reads nothing would keep the last write waiting.
            with suppress(TimeoutError):
                async with limit:
                    await self._pump(send)
        finally:
            subscriber.closed.remove_done_callback(bound)
            subscriber.close("gone")
            LIVE_DROPPED.labels(subscriber.closed.result()).inc()
            gone.cancel()
            open_streams.dec()
            self._lines.leave()
            self._feed.admission.leave(subscriber.tenant)

    async def _pump(self, send: Send) -> None:
        async def write(body: bytes) -> None:
            await send({"type": "http.response.body", "body": body, "more_body": True})

        subscriber, lines = self._subscriber, self._lines
        await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
        await lines.begin(write)
        while True:
            frames = await subscriber.take(WRITE_BYTES, self._feed.settings.ping_seconds)
            if frames:
                await write(lines.lines(frames))
            elif subscriber.closed.done():
                break
            else:
                await write(lines.silence())
        await write(lines.end(subscriber.closed.result()))
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _watch(receive: Receive, subscriber: Subscriber[Any]) -> None:
    """End the stream when its client goes away."""
    while (await receive())["type"] != "http.disconnect":
        pass
    subscriber.close("gone")


def _enter(feed: Feed, tenant: str) -> None:
    try:
        feed.admission.knock()
        feed.admission.enter(tenant)
    except Full as full:
        raise Refused(503, f"Not now: {full.detail}.", {"Retry-After": str(full.retry_after)}) from None


def _later(feed: Feed, detail: str) -> Refused:
    return Refused(503, detail, {"Retry-After": str(1 + int(feed.jitter() * 4))})
