"""Accounting and control records."""

from datetime import UTC, datetime

import pytest

from infra.contracts.control import ApiKey, Scope, Tenant, hash_secret, new_secret
from infra.contracts.records import Accounting
from infra.runtime.control import Directory

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(("accepted", "balanced"), [(4, True), (5, False)])
def test_accounting_balances_only_when_every_element_is_counted(accepted, balanced):
    counted = Accounting(
        appended_at=NOW, accepted=accepted, tenants={"a": {"events": 2, "duplicates": 1}, "": {"dlq": 1}}
    )
    assert counted.balanced is balanced


def test_secrets_are_long_and_never_alike():
    one, two = new_secret(Scope.READ), new_secret(Scope.READ)
    assert one != two
    assert one.startswith("hub_read_")
    assert len(one) >= 43


def test_a_directory_finds_a_key_by_its_secret_until_it_is_revoked():
    import msgspec

    secret = new_secret(Scope.WRITE)
    key = ApiKey(hash=hash_secret(secret), tenant="demo", scopes=(Scope.WRITE,), name="app", created_at=NOW)
    tenant = Tenant(id="demo")
    directory = Directory()
    directory.apply(key.record_key, msgspec.json.encode(key))
    assert directory.find_key(secret) is None, "its tenant is not there yet"
    directory.apply(tenant.record_key, msgspec.json.encode(tenant))
    assert directory.find_key(secret) == key
    assert directory.find_key(secret + "x") is None
    directory.apply(b"rules/*/1/abc", b"not looked at")
    directory.apply(key.record_key, None)
    assert directory.find_key(secret) is None
