"""The forms an event may be written in: how an item becomes an event, and what is kept of one that cannot."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import msgspec

from infra.contracts import codec
from infra.contracts.events import Event, Invalid

Raw = bytes | msgspec.Raw


class Decode(Protocol):
    """Reads one item of at most `limit` bytes."""

    def __call__(self, raw: Raw, /, *, limit: int) -> Event: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One way to write events. `source` is the event's own field of that name."""

    source: str
    #: The event of one item, held to every rule of the contract. Raises `Invalid`, with the event's names of fields.
    decode: Decode
    #: What the sender calls a field of the event.
    names: Mapping[str, str] = field(default_factory=dict)
    #: As much of an envelope as an item gives that breaks the contract. Where it is given, such an item is buried and
    #: its sender content; elsewhere the sender is told.
    salvage: Callable[[Raw], dict[str, Any]] | None = None

    def explain(self, invalid: Invalid) -> Invalid:
        """The same in the sender's own names."""
        named = self.names.get(invalid.field or "")
        return Invalid(invalid.code, named, invalid.message) if named else invalid


#: The envelope of the contract.
NATIVE: Final = Form(source="http", decode=codec.decode)
