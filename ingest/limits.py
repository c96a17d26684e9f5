"""The limits of a tenant, its users and its channels. Per process, made when first needed, bounded in number."""

from typing import Protocol, TypeVar

import structlog

from infra.contracts.control import Tenant
from infra.runtime.telemetry import SLOWED
from ingest.buckets import Bucket, Refusal
from ingest.slow_mode import Pace

log = structlog.get_logger("hubbub.ingest")


class TenantLimits:
    """The buckets of one tenant under one set of limits, and its channels in slow mode."""

    __slots__ = ("_id", "_mode", "channels", "limits", "paces", "slowed", "swept", "tenant", "users")

    def __init__(self, tenant: Tenant, now: float, *, historical: bool) -> None:
        self.limits = tenant.limits
        self.tenant = Bucket("tenant", tenant.limits.tenant_rate, now)
        self.users: dict[str, Bucket] = {}
        self.channels: dict[str, Bucket] = {}
        self.paces: dict[str, Pace] = {}
        self.slowed: dict[str, Pace] = {}
        self.swept = now
        self._id = tenant.id
        self._mode = None if historical else tenant.limits.slow_mode

    def take(self, user: str, channel: str | None, now: float, *, message: str | None = None) -> Refusal | None:
        """Take one event's token from each bucket, or from none: then the answer is what keeps it out.

        `message` is the id of a message that slow mode is to hold back. `now` is the same for all events of one
        request, so a bucket is refilled once a request.
        """
        tenant = self.tenant
        if tenant.at != now:
            tenant.refill(now)
        of_user = self.users.get(user)
        if of_user is None:
            of_user = self.users[user] = Bucket("user", self.limits.user_rate, now)
        elif of_user.at != now:
            of_user.refill(now)
        if tenant.tokens < 1:
            return tenant
        if of_user.tokens < 1:
            return of_user
        if channel is not None:
            pace = None if self._mode is None else self._pace(channel, now)
            if pace is not None and (message is None or not pace.slow):
                pace = None
            if pace is not None and message is not None and (pause := pace.pause(user, message, now)) is not None:
                return pause
            of_channel = self.channels.get(channel)
            if of_channel is None:
                of_channel = self.channels[channel] = Bucket("channel", self.limits.channel_rate, now)
            elif of_channel.at != now:
                of_channel.refill(now)
            if of_channel.tokens < 1:
                return of_channel
            of_channel.tokens -= 1
            if pace is not None and message is not None:
                pace.spoke(user, message, now)
        of_user.tokens -= 1
        tenant.tokens -= 1
        return None

    def end_calm(self, now: float) -> None:
        """End slow mode where it has been calm."""
        for channel in [name for name, pace in self.slowed.items() if pace.end_if_calm(now)]:
            del self.slowed[channel]
            log.info("channel.calm", tenant=self._id, channel=channel)

    def sweep(self, limit: int, now: float) -> None:
        """Keep the number of buckets bounded, once a second."""
        if now - self.swept < 1:
            return
        self.swept = now
        self.end_calm(now)
        _shrink(self.users, limit, now)
        _shrink(self.channels, limit, now)
        _shrink(self.paces, limit, now)

    def _pace(self, channel: str, now: float) -> Pace:
        pace = self.paces.get(channel)
        if pace is None:
            assert self._mode is not None
            pace = self.slowed.get(channel) or Pace(self._mode, self.limits.channel_rate, now)
            self.paces[channel] = pace
        if pace.ask(now):
            self.slowed[channel] = pace
            SLOWED.inc()
            log.warning("channel.slowed", tenant=self._id, channel=channel)
        return pace


class Limiter:
    """Limits by tenant. What is changed starts with full buckets, and no channel slow.

    History has buckets of its own: an import takes nothing from what is live, and slows no channel down.
    """

    def __init__(self, bucket_count: int) -> None:
        self._bucket_count = bucket_count
        self._live: dict[str, TenantLimits] = {}
        self._history: dict[str, TenantLimits] = {}

    def of(self, tenant: Tenant, now: float, *, historical: bool = False) -> TenantLimits:
        """The limits of a tenant, idle buckets dropped when there are too many."""
        known = self._history if historical else self._live
        found = known.get(tenant.id)
        if found is None or found.limits != tenant.limits:
            found = known[tenant.id] = TenantLimits(tenant, now, historical=historical)
        found.sweep(self._bucket_count, now)
        return found

    def slow_channels(self, now: float) -> int:
        """How many channels are in slow mode."""
        for limits in list(self._live.values()):
            limits.end_calm(now)
        return sum(len(limits.slowed) for limits in self._live.values())


class _Idle(Protocol):
    def is_idle(self, now: float) -> bool: ...


_I = TypeVar("_I", bound=_Idle)


def _shrink(kept: dict[str, _I], limit: int, now: float) -> None:
    if len(kept) <= limit:
        return
    for name in [name for name, one in kept.items() if one.is_idle(now)]:
        del kept[name]
    for name in list(kept)[: max(0, len(kept) - limit)]:
        del kept[name]
