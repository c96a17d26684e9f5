"""Rule sets as the `control` topic has them, and which of them is in force at a moment of the broker's clock."""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from infra.contracts.rules import EVERYONE, RuleSet

_decoder = msgspec.json.Decoder(RuleSet)
_PREFIX = b"rules/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One set as published: the topic's own append time decides from when on it is in force."""

    rules: RuleSet
    key: bytes
    appended_ms: int

    @property
    def effective_ms(self) -> int:
        return self.appended_ms + self.rules.lead_ms


class RuleLog:
    """Every set that was published and not pruned. A view of `ControlFollower`."""

    def __init__(self) -> None:
        self._sets: dict[bytes, Published] = {}

    def apply(self, key: bytes, value: bytes | None, appended_ms: int) -> None:
        """Note one record of the topic; what is no rule set is not looked at. Raises `msgspec.MsgspecError`."""
        if not key.startswith(_PREFIX):
            return
        if value is None:
            self._sets.pop(key, None)
            return
        self._sets[key] = Published(rules=_decoder.decode(value), key=key, appended_ms=appended_ms)

    def get(self, key: bytes) -> Published | None:
        """The set under this key."""
        return self._sets.get(key)

    def history(self, tenant: str) -> list[Published]:
        """This tenant's sets in the order in which they came into force."""
        return in_order(found for found in self._sets.values() if found.rules.tenant == tenant)

    def tenants(self) -> set[str]:
        """Those with sets of their own."""
        return {found.rules.tenant for found in self._sets.values()}

    def in_force(self, tenant: str, at_ms: int) -> Published | None:
        """What judges this tenant's records that were appended at this moment; None: the built-in rules."""
        for whose in dict.fromkeys((tenant, EVERYONE)):
            past = [found for found in self.history(whose) if found.effective_ms <= at_ms]
            if past and past[-1].rules.rules is not None:
                return past[-1]
        return None


def in_order(sets: Iterable[Published]) -> list[Published]:
    """By the moment they come into force; of two with the same, the one published last is in force."""
    return sorted(sets, key=lambda found: (found.effective_ms, found.appended_ms))
