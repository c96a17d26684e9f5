"""Cursors: a place in one channel's history, opaque to clients and signed for that channel alone."""

from dataclasses import dataclass
from datetime import datetime

from api.errors import Refused
from api.signing import Forged, Signer
from infra.contracts.events import from_ms, to_ms

_MS_BYTES = 8


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a message stands. Pages take it as an exclusive bound."""

    sent_at: datetime
    message_id: str


def encode(signer: Signer, tenant: str, channel_id: str, place: Place) -> str:
    """The cursor of this place."""
    payload = to_ms(place.sent_at).to_bytes(_MS_BYTES, "big", signed=True) + place.message_id.encode()
    return signer.sign(_purpose(tenant, channel_id), payload)


def decode(signer: Signer, tenant: str, channel_id: str, cursor: str) -> Place:
    """The place of a cursor made for this channel. Raises `Refused` 400 for any other text."""
    try:
        payload = signer.open(_purpose(tenant, channel_id), cursor)
    except Forged:
        raise Refused(400, "The cursor is not one of this channel's.") from None
    return Place(from_ms(int.from_bytes(payload[:_MS_BYTES], "big", signed=True)), payload[_MS_BYTES:].decode())


def _purpose(tenant: str, channel_id: str) -> str:
    # A tenant id holds no slash, so no two channels share a purpose.
    return f"cursor/{tenant}/{channel_id}"
