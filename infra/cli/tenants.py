"""`hubbub tenants`: who there is, and what each may ask for. Every role takes a change within about a second."""

from typing import Annotated

import msgspec
import typer

from infra.cli.access import read_directory
from infra.cli.output import AsJson, note, print_json, print_table
from infra.contracts.control import SlowMode, Tenant
from infra.runtime import control
from infra.runtime.errors import PreconditionError
from infra.runtime.settings import Kafka

app = typer.Typer(name="tenants", help="Tenants and their limits.", no_args_is_help=True)

Rate = Annotated[int | None, typer.Option(min=1, help="Events a second; a burst of ten seconds' worth is let through.")]


@app.command("list")
def list_tenants(as_json: AsJson = False) -> None:
    """Show every tenant and its limits."""
    tenants = sorted(read_directory(Kafka()).tenants.values(), key=lambda tenant: tenant.id)
    if as_json:
        print_json(tenants)
        return
    print_table(
        ("TENANT", "NAME", "TENANT/S", "USER/S", "CHANNEL/S", "SLOW MODE"),
        [
            (t.id, t.name, t.limits.tenant_rate, t.limits.user_rate, t.limits.channel_rate, _told(t.limits.slow_mode))
            for t in tenants
        ],
    )


@app.command("set")
def set_limits(
    tenant: Annotated[str, typer.Argument(help="The tenant, as `hubbub tenants list` shows it.")],
    tenant_rate: Rate = None,
    user_rate: Rate = None,
    channel_rate: Rate = None,
    slow_mode: Annotated[
        bool | None,
        typer.Option("--slow-mode/--no-slow-mode", help="Whether a channel over its rate slows down by itself."),
    ] = None,
    slow_after: Annotated[
        int | None, typer.Option(min=1, max=3_600, help="Seconds over its rate before a channel goes slow.")
    ] = None,
    slow_interval: Annotated[
        int | None, typer.Option(min=1, max=21_600, help="Seconds between two messages of a user while it is slow.")
    ] = None,
    slow_calm: Annotated[
        int | None, typer.Option(min=1, max=21_600, help="Seconds within its rate before it is as always again.")
    ] = None,
) -> None:
    """Change limits; what is not named stays as it is. Buckets of the tenant start full, and no channel slow."""
    seconds = {"after": slow_after, "interval": slow_interval, "calm": slow_calm}
    given = {name: value for name, value in seconds.items() if value is not None}
    if slow_mode is False and given:
        raise typer.BadParameter("--no-slow-mode goes with no other option of slow mode")
    rates = {"tenant_rate": tenant_rate, "user_rate": user_rate, "channel_rate": channel_rate}
    changes: dict[str, object] = {name: value for name, value in rates.items() if value is not None}
    settings = Kafka()
    known = read_directory(settings).tenants.get(tenant)
    if known is None:
        raise PreconditionError(f"there is no tenant {tenant}. See `hubbub tenants list`.")
    if slow_mode is False:
        changes["slow_mode"] = None
    elif slow_mode or given:
        changes["slow_mode"] = msgspec.structs.replace(known.limits.slow_mode or SlowMode(), **given)
    if not changes:
        raise typer.BadParameter("name at least one limit to change")
    changed = _with_limits(known, changes)
    control.publish(settings, [changed])
    limits = changed.limits
    note(
        f"{tenant}: {limits.tenant_rate} events/s, a user {limits.user_rate}, a channel {limits.channel_rate}; "
        f"slow mode {_told(limits.slow_mode)}"
    )


def _with_limits(tenant: Tenant, changes: dict[str, object]) -> Tenant:
    return msgspec.structs.replace(tenant, limits=msgspec.structs.replace(tenant.limits, **changes))


def _told(mode: SlowMode | None) -> str:
    return f"after {mode.after} s, a message in {mode.interval} s, calm {mode.calm} s" if mode else "off"
