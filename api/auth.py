"""Who is asking: a `Principal` from a read key, a channel token or a session cookie; nothing is readable without one.

Sessions and tokens name the key they came from and die with it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

import msgspec
from fastapi import Depends
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from api.errors import Refused, not_found
from api.signing import Forged, Signer
from infra.contracts.control import ApiKey, Scope
from infra.contracts.events import from_ms, to_ms
from infra.runtime.clock import Clock
from infra.runtime.control import Directory

COOKIE = "hubbub_session"
TOKEN_PREFIX = "hubt_"  # noqa: S105 - marks a token as ours, opens nothing
_SAFE_METHODS = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who reads, and what they may see. `channels` None means every channel of the tenant."""

    tenant: str
    key_hash: str
    scopes: frozenset[Scope]
    channels: frozenset[str] | None = None
    user_id: str | None = None
    expires_at: datetime | None = None

    def may_read(self, channel_id: str) -> bool:
        """Whether this channel is within reach."""
        return self.channels is None or channel_id in self.channels


class Grant(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, array_like=True):
    """What a session or token says under its signature."""

    key_hash: str
    expires_ms: int
    channels: tuple[str, ...] | None = None
    user_id: str | None = None


class Authenticator:
    """Turns secrets into principals, as the directory of keys stands now."""

    def __init__(self, directory: Directory, signer: Signer, clock: Clock) -> None:
        self._directory = directory
        self._signer = signer
        self._clock = clock

    def by_secret(self, secret: str) -> Principal | None:
        """The principal of a read key or channel token. Raises `Refused` 403 for a key without the scope `read`."""
        if secret.startswith(TOKEN_PREFIX):
            return self._granted("token", secret.removeprefix(TOKEN_PREFIX))
        key = self._directory.find_key(secret)
        if key is None:
            return None
        if Scope.READ not in key.scopes:
            raise Refused(403, "This key has no scope `read`.")
        return _principal(key)

    def by_cookie(self, cookie: str) -> Principal | None:
        """The principal of a session cookie."""
        return self._granted("session", cookie)

    def still_valid(self, principal: Principal) -> bool:
        """Whether a principal seen earlier may go on reading: not expired, its key neither revoked nor narrowed."""
        if principal.expires_at is not None and principal.expires_at <= self._clock.now():
            return False
        key = self._find(principal.key_hash)
        return key is not None and principal.scopes <= set(key.scopes)

    def open_session(self, principal: Principal, seconds: int) -> str:
        """The value of a session cookie."""
        return self._signer.sign("session", self._grant(principal.key_hash, seconds))

    def issue_token(
        self, principal: Principal, seconds: int, channels: tuple[str, ...], user_id: str
    ) -> tuple[str, datetime]:
        """A token limited to these channels, and when it expires."""
        payload = self._grant(principal.key_hash, seconds, channels, user_id)
        expires_ms = msgspec.msgpack.decode(payload, type=Grant).expires_ms
        return TOKEN_PREFIX + self._signer.sign("token", payload), from_ms(expires_ms)

    def _grant(
        self, key_hash: str, seconds: int, channels: tuple[str, ...] | None = None, user_id: str | None = None
    ) -> bytes:
        expires = to_ms(self._clock.now() + timedelta(seconds=seconds))
        return msgspec.msgpack.encode(Grant(key_hash=key_hash, expires_ms=expires, channels=channels, user_id=user_id))

    def _granted(self, purpose: str, value: str) -> Principal | None:
        try:
            grant = msgspec.msgpack.decode(self._signer.open(purpose, value), type=Grant)
        except (Forged, msgspec.MsgspecError):
            return None
        key = self._find(grant.key_hash)
        expires_at = from_ms(grant.expires_ms)
        if key is None or Scope.READ not in key.scopes or expires_at <= self._clock.now():
            return None
        channels = None if grant.channels is None else frozenset(grant.channels)
        return _principal(key, channels=channels, user_id=grant.user_id, expires_at=expires_at)

    def _find(self, key_hash: str) -> ApiKey | None:
        key = self._directory.keys.get(key_hash)
        return key if key is not None and key.tenant in self._directory.tenants else None


def bearer(headers: Headers) -> str | None:
    """The secret of the Authorization header, if it has one."""
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" and secret.strip() else None


def same_origin(headers: Headers) -> bool:
    """Whether a browser says the request comes from our own pages, or it is no browser's request.

    Sec-Fetch-Site covers current browsers; Origin, which a WebSocket handshake always carries, the others.
    """
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2] == headers.get("host")


async def reader(connection: HTTPConnection) -> Principal:
    """The principal of this request. A cookie counts only for reads from our own pages."""
    authenticator: Authenticator = connection.app.state.hubbub.authenticator
    secret = bearer(connection.headers)
    if secret is not None:
        found = authenticator.by_secret(secret)
    elif connection.scope.get("method", "GET") in _SAFE_METHODS and same_origin(connection.headers):
        found = authenticator.by_cookie(connection.cookies.get(COOKIE, ""))
    else:
        found = None
    if found is None:
        raise Refused(401, "Give a read key as `Authorization: Bearer KEY`.")
    return found


Reader = Annotated[Principal, Depends(reader)]


async def tenant_reader(principal: Reader) -> Principal:
    """A principal that may see the whole tenant."""
    if principal.channels is not None:
        raise Refused(403, "This token is limited to its channels.")
    return principal


TenantReader = Annotated[Principal, Depends(tenant_reader)]


async def moderator(principal: TenantReader) -> Principal:
    """A principal that may see what moderators see."""
    if Scope.MODERATE not in principal.scopes:
        raise Refused(403, "This needs a key with scope `moderate`.")
    return principal


Moderator = Annotated[Principal, Depends(moderator)]


def check_channel(principal: Principal, channel_id: str) -> None:
    """Raise 404 unless the channel is within reach: the same answer as for one that does not exist."""
    if not principal.may_read(channel_id):
        raise not_found("channel")


def _principal(
    key: ApiKey,
    channels: frozenset[str] | None = None,
    user_id: str | None = None,
    expires_at: datetime | None = None,
) -> Principal:
    # A channel token is for an end user: it reads and does nothing else its key could.
    scopes = frozenset(key.scopes) if channels is None else frozenset({Scope.READ})
    return Principal(
        tenant=key.tenant,
        key_hash=key.hash,
        scopes=scopes,
        channels=channels,
        user_id=user_id,
        expires_at=expires_at,
    )
