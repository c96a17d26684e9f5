"""Numbers as they change: metric points from the log and the hub's own gauges, to the streams of their tenant."""

from collections.abc import Callable
from datetime import datetime

import msgspec

from api.auth import Principal
from api.live.frames import Notice
from api.live.hub import Hub
from api.live.subscribers import Subscriber
from infra.contracts.metrics import channel_scope


class _Point(msgspec.Struct):
    tenant: str
    scope: str


class Gauge(msgspec.Struct, frozen=True, kw_only=True):
    """A number the hub knows by itself, not one of the metric registry."""

    metric: str
    value: float
    as_of: datetime
    source: str = "hub"


_point = msgspec.json.Decoder(_Point)


class Points:
    """The streams of `/v1/live/metrics` that take what the log says. `changed` is told whose numbers changed."""

    def __init__(self, hub: Hub, changed: Callable[[str], None]) -> None:
        self._hub = hub
        self._changed = changed
        self._streams: dict[str, dict[Subscriber[Notice], None]] = {}

    def open(self, subscriber: Subscriber[Notice]) -> None:
        """Add a stream."""
        self._streams.setdefault(subscriber.tenant, {})[subscriber] = None

    def leave(self, subscriber: Subscriber[Notice]) -> None:
        """Forget a stream; harmless when it was never open."""
        streams = self._streams.get(subscriber.tenant, {})
        streams.pop(subscriber, None)
        if not streams:
            self._streams.pop(subscriber.tenant, None)

    def take(self, _key: bytes, value: bytes) -> None:
        """Pass on one record of `metrics`."""
        try:
            point = _point.decode(value)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return
        self._changed(point.tenant)
        streams = self._streams.get(point.tenant)
        if not streams:
            return
        notice = Notice("point", value.replace(b"\n", b" ").replace(b"\r", b" "))
        for subscriber in streams:
            if _may_see(subscriber.principal, point.scope):
                subscriber.push(notice)

    def tick(self, now: datetime) -> None:
        """Send every tenant its gauges."""
        for tenant, streams in self._streams.items():
            gauges = (
                Gauge(metric="live_rate", value=self._hub.rates.per_second(tenant), as_of=now),
                Gauge(metric="live_subscribers", value=self._hub.subscribers(tenant), as_of=now),
            )
            notices = [Notice("gauge", msgspec.json.encode(gauge)) for gauge in gauges]
            for subscriber in streams:
                if subscriber.principal.channels is None:
                    for notice in notices:
                        subscriber.push(notice)

    def sweep(self, still_valid: Callable[[Principal], bool]) -> None:
        """End the streams whose key was revoked or whose token ran out."""
        for streams in self._streams.values():
            for subscriber in streams:
                if not still_valid(subscriber.principal):
                    subscriber.close("revoked")

    def close(self) -> None:
        """End every stream because the server stops."""
        for streams in self._streams.values():
            for subscriber in streams:
                subscriber.close("stopping")


def _may_see(principal: Principal, scope: str) -> bool:
    return principal.channels is None or any(scope == channel_scope(c) for c in principal.channels)
