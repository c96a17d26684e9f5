"""Records of the compacted `control` topic: tenants, API keys and rule sets.

Every role reads it whole at start and follows it.
"""

import hashlib
import secrets
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from infra.contracts.rules import RuleSet


class Scope(StrEnum):
    """What a key may do."""

    WRITE = "write"
    SERVER = "server"
    BACKFILL = "backfill"
    MODERATE = "moderate"
    READ = "read"
    ADMIN = "admin"


class SlowMode(msgspec.Struct, frozen=True, kw_only=True):
    """When a channel slows down by itself, in seconds.

    A channel that has been asked for more than its rate for `after` lets each user send one message in `interval`,
    until it has been calm for `calm`.
    """

    after: Annotated[int, Meta(ge=1, le=3_600)] = 10
    interval: Annotated[int, Meta(ge=1, le=21_600)] = 30
    calm: Annotated[int, Meta(ge=1, le=21_600)] = 60


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Token buckets of a tenant, in events per second; a burst of ten seconds' worth is let through."""

    tenant_rate: Annotated[int, Meta(ge=1)] = 50_000
    user_rate: Annotated[int, Meta(ge=1)] = 1_000
    channel_rate: Annotated[int, Meta(ge=1)] = 10_000
    slow_mode: SlowMode | None = None


class Tenant(msgspec.Struct, frozen=True, kw_only=True, tag="tenant", tag_field="kind"):
    """A customer of this installation: the scope of ids, keys, limits and numbers."""

    id: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    name: str = ""
    timezone: str = "UTC"
    cors_origins: tuple[str, ...] = ()
    limits: Limits = Limits()

    @property
    def record_key(self) -> bytes:
        return f"tenant/{self.id}".encode()


class ApiKey(msgspec.Struct, frozen=True, kw_only=True, tag="key", tag_field="kind"):
    """A key by its hash; the secret itself is stored nowhere. Revoking one deletes its record."""

    hash: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    tenant: str
    scopes: tuple[Scope, ...]
    name: str
    created_at: datetime

    @property
    def record_key(self) -> bytes:
        return f"key/{self.hash}".encode()


#: The canary's tenant: nobody's numbers.
CANARY: Final = Tenant(id="hubbub-canary", name="Hubbub's own canary")

Control = Tenant | ApiKey | RuleSet


def new_secret(scope: Scope) -> str:
    """A fresh key: 256 random bits, named for its scope so that people can tell keys apart."""
    return f"hub_{scope}_{secrets.token_urlsafe(32)}"


def hash_secret(secret: str) -> str:
    """SHA-256 in hex. The secret has 256 random bits, so no salt or stretching is needed."""
    return hashlib.sha256(secret.encode()).hexdigest()
