import base64

import pytest

from infra.contracts.control import ApiKey, Scope, Tenant, hash_secret
from infra.runtime.control import Directory
from ingest import access
from ingest.errors import Refused
from tests.unit.ingest.deliveries import NOW, TENANT


def key(*scopes: Scope, tenant: str = "acme", secret: str = "s3cret") -> ApiKey:
    return ApiKey(hash=hash_secret(secret), tenant=tenant, scopes=scopes, name="k", created_at=NOW)


@pytest.fixture
def directory() -> Directory:
    found = Directory()
    found.tenants["acme"] = TENANT
    for scope in Scope:
        made = key(scope, secret=scope)
        found.keys[made.hash] = made
    gone = key(Scope.WRITE, tenant="gone", secret="orphan")
    found.keys[gone.hash] = gone
    return found


def basic(text: str) -> bytes:
    return b"Basic " + base64.b64encode(text.encode())


@pytest.mark.parametrize(
    "header", [b"Bearer write", b"bearer   write ", basic("write:"), basic("write:password"), basic("write")]
)
def test_a_key_is_found(directory, header):
    found, tenant = access.authenticate(directory, header, access.SENDING)
    assert found.scopes == (Scope.WRITE,)
    assert tenant is TENANT


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"Bearer",
        b"Bearer nope",
        b"Token write",
        b"Basic !!!",
        b"Bearer \xff\xfe",
        basic(":write"),
        b"Bearer orphan",
    ],
)
def test_no_valid_key_is_401_with_a_challenge(directory, header):
    with pytest.raises(Refused) as refused:
        access.authenticate(directory, header, access.SENDING)
    assert refused.value.status == 401
    assert "WWW-Authenticate" in refused.value.headers


@pytest.mark.parametrize("scope", [Scope.READ, Scope.MODERATE, Scope.ADMIN])
def test_a_key_that_may_not_send_is_403(directory, scope):
    with pytest.raises(Refused) as refused:
        access.authenticate(directory, f"Bearer {scope}".encode(), access.SENDING)
    assert refused.value.status == 403


@pytest.mark.parametrize("scope", list(Scope))
def test_only_a_moderator_may_decide(directory, scope):
    header = f"Bearer {scope}".encode()
    if scope is Scope.MODERATE:
        assert access.authenticate(directory, header, access.MODERATING)[1] is TENANT
        return
    with pytest.raises(Refused) as refused:
        access.authenticate(directory, header, access.MODERATING)
    assert (refused.value.status, refused.value.detail) == (403, "this needs a key with scope moderate")


@pytest.mark.parametrize(
    ("scopes", "historical", "allowed"),
    [
        ((Scope.WRITE,), False, True),
        ((Scope.SERVER,), False, True),
        ((Scope.BACKFILL,), False, False),
        ((Scope.WRITE,), True, False),
        ((Scope.SERVER,), True, False),
        ((Scope.BACKFILL,), True, True),
        ((Scope.WRITE, Scope.BACKFILL), True, True),
    ],
)
def test_history_needs_its_own_scope(scopes, historical, allowed):
    if allowed:
        access.authorize(key(*scopes), historical=historical)
        return
    with pytest.raises(Refused) as refused:
        access.authorize(key(*scopes), historical=historical)
    assert refused.value.status == 403


def test_only_a_server_or_a_backfill_changes_what_others_wrote():
    assert access.may_change_others(key(Scope.SERVER), historical=False)
    assert access.may_change_others(key(Scope.BACKFILL), historical=True)
    assert not access.may_change_others(key(Scope.WRITE), historical=False)


def test_origins_are_those_of_the_tenant(directory):
    name = "Access-Control-Allow-Origin"
    assert access.preflight(directory, "https://chat.example")[name] == "https://chat.example"
    assert name not in access.preflight(directory, "https://evil.example")
    assert name not in access.preflight(directory, None)
    assert access.cors(directory, TENANT, "https://chat.example")[name] == "https://chat.example"
    assert access.cors(directory, TENANT, "https://evil.example") == {"Vary": "Origin"}
    anybody = Tenant(id="open", cors_origins=("*",))
    assert access.cors(directory, anybody, "https://any.example")[name] == "https://any.example"
    assert access.cors(directory, None, "https://chat.example")[name] == "https://chat.example"
    assert access.cors(directory, None, "https://evil.example") == {"Vary": "Origin"}
