"""Who sends: the key of a request, what its scopes allow, and the origins a browser may send from."""

import base64
import binascii
from typing import Final

from infra.contracts.control import ApiKey, Scope, Tenant
from infra.runtime.control import Directory
from ingest.errors import Refused

CHALLENGE: Final = 'Bearer realm="hubbub", Basic realm="hubbub"'
_SENDING: Final = frozenset({Scope.WRITE, Scope.SERVER})
#: What may use a door for events, and what may decide.
SENDING: Final = _SENDING | {Scope.BACKFILL}
MODERATING: Final = frozenset({Scope.MODERATE})
_PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": "POST",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Content-Encoding",
    "Access-Control-Max-Age": "600",
}
_EXPOSED: Final = "Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, X-Request-Id"


def authenticate(directory: Directory, authorization: bytes | None, scopes: frozenset[Scope]) -> tuple[ApiKey, Tenant]:
    """The key of the `Authorization` header and its tenant. Raises `Refused` 401 without a valid one, 403 if it has
    none of these scopes.
    """
    secret = _secret(authorization)
    key = directory.find_key(secret) if secret else None
    tenant = directory.tenants.get(key.tenant) if key else None
    if key is None or tenant is None:
        raise Refused(401, "send a valid key as `Authorization: Bearer KEY`", {"WWW-Authenticate": CHALLENGE})
    if scopes.isdisjoint(key.scopes):
        raise Refused(403, f"this needs a key with scope {' or '.join(scope for scope in Scope if scope in scopes)}")
    return key, tenant


def authorize(key: ApiKey, *, historical: bool) -> None:
    """Raise `Refused` unless the key may send this kind of batch."""
    if historical and Scope.BACKFILL not in key.scopes:
        raise Refused(403, "historical events need a key with scope backfill")
    if not historical and _SENDING.isdisjoint(key.scopes):
        raise Refused(403, "a key with scope backfill alone may send historical events only")


def may_change_others(key: ApiKey, *, historical: bool) -> bool:
    """Whether the key may send edits and deletes, which touch what somebody else wrote."""
    return historical or Scope.SERVER in key.scopes


def preflight(directory: Directory, origin: str | None) -> dict[str, str]:
    """Headers of the answer to an `OPTIONS` request. It carries no key, so any tenant's origins count."""
    headers = {"Allow": "OPTIONS, POST", "Vary": "Origin"}
    if origin and _anybody_lists(directory, origin):
        headers |= {"Access-Control-Allow-Origin": origin, **_PREFLIGHT}
    return headers


def cors(directory: Directory, tenant: Tenant | None, origin: str) -> dict[str, str]:
    """Headers that let a page of this origin read the answer, if the tenant lists it.

    Where no tenant is known the answer is a refusal of the key, and any tenant's origins may read that.
    """
    if not (_anybody_lists(directory, origin) if tenant is None else _lists(tenant, origin)):
        return {"Vary": "Origin"}
    return {"Vary": "Origin", "Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": _EXPOSED}


def _anybody_lists(directory: Directory, origin: str) -> bool:
    return any(_lists(tenant, origin) for tenant in list(directory.tenants.values()))


def _lists(tenant: Tenant, origin: str) -> bool:
    return origin in tenant.cors_origins or "*" in tenant.cors_origins


def _secret(authorization: bytes | None) -> str | None:
    scheme, _, rest = (authorization or b"").strip().partition(b" ")
    try:
        if scheme.lower() == b"bearer":
            return rest.strip().decode("ascii")
        if scheme.lower() == b"basic":
            return base64.b64decode(rest.strip(), validate=True).partition(b":")[0].decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return None
