"""Gives an event that came past ingest what ingest would have given it, so that no sender can move event time."""

import re
from datetime import datetime, timedelta
from typing import Final

import msgspec

from infra.contracts.clock_rule import stamp_time
from infra.contracts.events import Event, Invalid

#: How far a clock of ours may run ahead of the broker's before the broker's is believed.
MAX_AHEAD: Final = timedelta(seconds=10)


class _Named(msgspec.Struct):
    """What an element that breaks the contract may still tell: whose it is."""

    tenant: str | None = None


_named = msgspec.json.Decoder(_Named)
_TENANT: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def check_tenant(tenant: str | None) -> str:
    """The tenant. Raises `Invalid` when there is none or its name could not be one."""
    if not tenant:
        raise Invalid("missing_field", "tenant", "a record that did not come through ingest needs a tenant")
    if not _TENANT.fullmatch(tenant):
        raise Invalid("invalid_field", "tenant", "this is not the name of a tenant")
    return tenant


def tenant_of(element: bytes | msgspec.Raw) -> str:
    """Whose element of a frame this is, whatever else is wrong with it; empty when that cannot be read."""
    try:
        return check_tenant(_named.decode(element).tenant)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, Invalid):
        return ""


def stamp(event: Event, appended_at: datetime, historical: bool) -> bool:
    """Complete the event by the record's own append time. Whether it differs now from the bytes it was read from.

    What ingest stamped stays as it is: it has a `request_id`, and its times are in order. Raises `Invalid` for a time
    too far ahead.
    """
    received_at = event.received_at
    if (
        received_at is not None
        and event.request_id is not None
        and bool(event.historical) is historical
        and event.late is None
        and event.time <= received_at
        and received_at <= appended_at + MAX_AHEAD
    ):
        return False
    event.historical = historical or None
    event.late = None
    if received_at is None or received_at > appended_at + MAX_AHEAD:
        received_at = appended_at
    event.received_at = received_at
    claimed = event.client_time if event.request_id is not None else None
    stamp_time(event, received_at=received_at, sent_at=None, historical=historical)
    # A message stays where its client's own time placed it.
    event.client_time = claimed or event.client_time
    return True
