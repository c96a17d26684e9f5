"""Token buckets of a tenant, its users and its channels. Per process, made when first needed, bounded in number."""

import math
from typing import Final

from infra.contracts.control import Limits, Tenant

#: Seconds' worth of tokens a full bucket holds.
BURST_SECONDS: Final = 10


class Bucket:
    """Tokens that grow with time up to ten seconds' worth."""

    __slots__ = ("at", "capacity", "rate", "tokens")

    def __init__(self, rate: int, now: float) -> None:
        self.rate = rate
        self.capacity = self.tokens = float(rate * BURST_SECONDS)
        self.at = now

    def refill(self, now: float) -> None:
        """Add what has grown since the last time."""
        tokens = self.tokens + (now - self.at) * self.rate
        self.tokens = tokens if tokens < self.capacity else self.capacity
        self.at = now

    def wait(self) -> int:
        """Whole seconds until a token is there, at least one."""
        return max(1, math.ceil((1 - self.tokens) / self.rate))


class TenantBuckets:
    """The buckets of one tenant under one set of limits."""

    __slots__ = ("channels", "limits", "swept", "tenant", "users")

    def __init__(self, limits: Limits, now: float) -> None:
        self.limits = limits
        self.tenant = Bucket(limits.tenant_rate, now)
        self.users: dict[str, Bucket] = {}
        self.channels: dict[str, Bucket] = {}
        self.swept = now

    def take(self, user: str, channel: str | None, now: float) -> Bucket | None:
        """Take one event's token from each bucket, or from none: then the answer is the bucket that is empty.

        `now` is the same for all events of one request, so a bucket is refilled once a request.
        """
        tenant = self.tenant
        if tenant.at != now:
            tenant.refill(now)
        of_user = self.users.get(user)
        if of_user is None:
            of_user = self.users[user] = Bucket(self.limits.user_rate, now)
        elif of_user.at != now:
            of_user.refill(now)
        if tenant.tokens < 1:
            return tenant
        if of_user.tokens < 1:
            return of_user
        if channel is not None:
            of_channel = self.channels.get(channel)
            if of_channel is None:
                of_channel = self.channels[channel] = Bucket(self.limits.channel_rate, now)
            elif of_channel.at != now:
                of_channel.refill(now)
            if of_channel.tokens < 1:
                return of_channel
            of_channel.tokens -= 1
        of_user.tokens -= 1
        tenant.tokens -= 1
        return None


class Limiter:
    """Buckets by tenant. New limits start with full buckets."""

    def __init__(self, bucket_count: int) -> None:
        self._bucket_count = bucket_count
        self._tenants: dict[str, TenantBuckets] = {}

    def of(self, tenant: Tenant, now: float) -> TenantBuckets:
        """The buckets of a tenant, idle ones dropped when there are too many."""
        buckets = self._tenants.get(tenant.id)
        if buckets is None or buckets.limits != tenant.limits:
            buckets = self._tenants[tenant.id] = TenantBuckets(tenant.limits, now)
        if now - buckets.swept >= 1:
            buckets.swept = now
            for kind in (buckets.users, buckets.channels):
                if len(kind) > self._bucket_count:
                    _shrink(kind, self._bucket_count, now)
        return buckets


def _shrink(buckets: dict[str, Bucket], limit: int, now: float) -> None:
    idle = [name for name, bucket in buckets.items() if now - bucket.at >= BURST_SECONDS]  # full again: nothing is lost
    for name in idle:
        del buckets[name]
    for name in list(buckets)[: max(0, len(buckets) - limit)]:
        del buckets[name]
