"""`hubbub keys`: API keys. A secret is shown once, when it is made; only its hash is stored."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from infra.cli.output import AsJson, note, print_json, print_table
from infra.contracts.control import ApiKey, Scope, Tenant, hash_secret, new_secret
from infra.runtime import control
from infra.runtime.errors import PreconditionError
from infra.runtime.settings import Kafka, Runtime

app = typer.Typer(name="keys", help="API keys.", no_args_is_help=True)

DEMO = Tenant(id="demo", name="Demo community")


@app.command("create")
def create(
    tenant: Annotated[str, typer.Option(help="Tenant the key belongs to.")],
    scope: Annotated[list[Scope], typer.Option(help="What the key may do; repeat for several.")],
    name: Annotated[str, typer.Option(help="What the key is for.")] = "unnamed",
    new_tenant: Annotated[bool, typer.Option("--new-tenant", help="Create the tenant as well.")] = False,
) -> None:
    """Make a key and print its secret, once."""
    settings = Kafka()
    directory = read_directory(settings)
    made: list[Tenant | ApiKey] = []
    if tenant not in directory.tenants:
        if not new_tenant:
            raise PreconditionError(f"there is no tenant {tenant}. Add --new-tenant to create it.")
        try:
            made.append(msgspec.convert({"kind": "tenant", "id": tenant}, Tenant))
        except msgspec.ValidationError:
            raise typer.BadParameter(
                "a tenant is named by up to 63 lower-case letters, digits and hyphens, a hyphen not first",
                param_hint="--tenant",
            ) from None
    secret = new_secret(scope[0])
    made.append(_key(secret, tenant, tuple(scope), name))
    control.publish(settings, made)
    typer.echo(secret)
    note("Keep it: it is not stored and cannot be shown again.")


@app.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """Show every key by the start of its hash."""
    keys = sorted(read_directory(Kafka()).keys.values(), key=lambda k: (k.tenant, k.created_at))
    if as_json:
        print_json(keys)
        return
    print_table(
        ("KEY", "TENANT", "SCOPES", "NAME", "CREATED"),
        [(k.hash[:12], k.tenant, ",".join(k.scopes), k.name, f"{k.created_at:%Y-%m-%d %H:%M}") for k in keys],
    )


@app.command("revoke")
def revoke(
    key: Annotated[str, typer.Argument(help="Start of the key's hash, as `hubbub keys list` shows it.")],
) -> None:
    """Stop a key from working, everywhere, within about a second."""
    settings = Kafka()
    found = [k for k in read_directory(settings).keys.values() if k.hash.startswith(key)]
    if len(found) != 1:
        raise PreconditionError(f"{len(found)} keys begin with {key}. See `hubbub keys list`.")
    control.publish(settings, [], removed=[found[0].record_key])
    note(f"revoked {found[0].hash[:12]} ({found[0].name})")


def keys_file(runtime: Runtime) -> Path:
    """Where the demo tenant's secrets lie on this machine."""
    return runtime.data_dir / "keys.json"


def demo_keys(runtime: Runtime) -> dict[str, str]:
    """The demo tenant's secrets by scope; empty before the first `hubbub up`."""
    path = keys_file(runtime)
    return msgspec.json.decode(path.read_bytes(), type=dict[str, str]) if path.exists() else {}


def publish_demo(kafka: Kafka, runtime: Runtime, origins: tuple[str, ...] = ()) -> None:
    """Make the demo tenant's keys once, and put them into this Kafka, which may be new.

    The tenant lists these origins beside its own: pages that may send to ingest, as the dashboard does for moderators.
    """
    secrets = demo_keys(runtime)
    if not secrets:
        secrets = {scope.value: new_secret(scope) for scope in Scope}
        path = keys_file(runtime)
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(msgspec.json.encode(secrets))
    directory = read_directory(kafka)
    tenant = directory.tenants.get(DEMO.id, DEMO)
    listed = tuple(dict.fromkeys((*tenant.cors_origins, *origins)))
    missing = [(scope, secret) for scope, secret in secrets.items() if hash_secret(secret) not in directory.keys]
    scopes = {Scope.MODERATE.value: (Scope.MODERATE, Scope.READ)}
    if missing or listed != tenant.cors_origins:
        keys = [_key(s, DEMO.id, scopes.get(scope, (Scope(scope),)), f"demo {scope}") for scope, s in missing]
        control.publish(kafka, [msgspec.structs.replace(tenant, cors_origins=listed), *keys])


def _key(secret: str, tenant: str, scopes: tuple[Scope, ...], name: str) -> ApiKey:
    return ApiKey(hash=hash_secret(secret), tenant=tenant, scopes=scopes, name=name, created_at=datetime.now(UTC))


def read_directory(settings: Kafka) -> control.Directory:
    """Every tenant and key as of now. Raises `PreconditionError`."""
    follower = control.ControlFollower(settings, "hubbub-cli")
    try:
        return follower.start()
    finally:
        follower.stop()
