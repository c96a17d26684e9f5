"""The rule book: every published set, compiled, and which one judges a record, told from the record alone.

A set is in force for records appended at its effective time or later. A router that has read the control topic up to
a moment less than `RuleSet.lead_ms` ago therefore knows every set that may judge what it reads now, and so do all
others: whoever reads a record again, and whenever, judges it by the same rules.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache, reduce
from importlib import resources
from operator import or_
from typing import Final

import msgspec
import structlog

from infra.contracts.rules import EVERYONE, Rules
from infra.runtime.rules import Published, RuleLog
from streams.router.steps.judging import Judge
from streams.router.steps.memory import NOTHING, Reach

log = structlog.get_logger("hubbub.router")

_FOREVER: Final = 1 << 62


@cache
def built_in() -> Rules:
    """The rules that hold while none are published."""
    file = resources.files("streams.router") / "rules" / "default.json"
    return msgspec.json.decode(file.read_bytes(), type=Rules)


@dataclass(frozen=True, slots=True)
class Ruling:
    """A compiled set: whose it is, and its version; 0 is the built-in one."""

    tenant: str
    version: int
    judge: Judge


@dataclass(slots=True)
class _Timeline:
    """A tenant's sets by the moment they come into force; None gives way to everyone's."""

    times: list[int] = field(default_factory=list)
    rulings: list[Ruling | None] = field(default_factory=list)

    def at(self, ms: int) -> Ruling | None:
        place = bisect_right(self.times, ms)
        return self.rulings[place - 1] if place else None


class _Snapshot:
    """The book as of one moment. Never changed once made, so that a reader needs no lock."""

    def __init__(self, timelines: dict[str, _Timeline], default: Ruling) -> None:
        self._timelines = timelines
        self._default = default
        self._changes = sorted({time for line in timelines.values() for time in line.times})
        #: From when to when a reach holds.
        self._reach: tuple[int, int, Reach] = (0, 0, NOTHING)

    def at(self, tenant: str, ms: int) -> Ruling:
        own = self._timelines.get(tenant)
        if own is not None and (ruling := own.at(ms)) is not None:
            return ruling
        everyones = self._timelines.get(EVERYONE)
        return (everyones.at(ms) if everyones is not None else None) or self._default

    def reach(self, ms: int) -> Reach:
        since, until, reach = self._reach
        if not since <= ms < until:
            place = bisect_right(self._changes, ms)
            since = self._changes[place - 1] if place else 0
            until = self._changes[place] if place < len(self._changes) else _FOREVER
            whose = {EVERYONE, *self._timelines}
            reach = reduce(or_, (self.at(tenant, ms).judge.reach for tenant in whose), NOTHING)
            self._reach = (since, until, reach)
        return reach


class RuleBook:
    """A view of `ControlFollower`: written by its thread, read by the router's."""

    def __init__(self, default: Rules | None = None) -> None:
        self._log = RuleLog()
        self._compiled: dict[bytes, Ruling | None] = {}
        self._default = Ruling(EVERYONE, 0, Judge((default or built_in()).rules))
        self._snapshot = _Snapshot({}, self._default)
        #: Sets that cannot be used, and why. A set that `hubbub rules apply` lets through compiles everywhere.
        self.refused: dict[bytes, str] = {}

    def apply(self, key: bytes, value: bytes | None, appended_ms: int) -> None:
        """Note one record of the topic, and compile the set it holds."""
        try:
            self._log.apply(key, value, appended_ms)
            self._compile(key)
        except (msgspec.MsgspecError, ValueError) as error:
            self.refused[key] = str(error)
            log.error("rules.refused", key=key.decode(errors="replace"), error=str(error)[:200])
            self._log.apply(key, None, appended_ms)
        self._snapshot = _Snapshot(
            {tenant: self._timeline(self._log.history(tenant)) for tenant in self._log.tenants()}, self._default
        )

    def at(self, tenant: str, ms: int) -> Ruling:
        """What judges this tenant's records that were appended at this moment."""
        return self._snapshot.at(tenant, ms)

    def reach(self, ms: int) -> Reach:
        """How far back any set in force at this moment looks."""
        return self._snapshot.reach(ms)

    def _compile(self, key: bytes) -> None:
        found = self._log.get(key)
        if found is None:
            self._compiled.pop(key, None)
            self.refused.pop(key, None)
        elif found.rules.rules is None:
            self._compiled[key] = None
        else:
            self._compiled[key] = Ruling(found.rules.tenant, found.rules.version, Judge(found.rules.rules))
            log.info("rules.known", tenant=found.rules.tenant, version=found.rules.version)

    def _timeline(self, sets: Iterable[Published]) -> _Timeline:
        line = _Timeline()
        for found in sets:
            line.times.append(found.effective_ms)
            line.rulings.append(self._compiled[found.key])
        return line
