"""From minutes up to days: what a batch of minute rows changes in every longer window, whatever was written before.

Every window a batch touches is computed anew from the windows it is merged from, so a batch that is repeated after a
crash also mends what the crash left half written.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from analytics.recent import Recent
from analytics.rollups import ABSENT, Stored, Values, merge, revise
from infra.contracts.windows import DAY, GRAINS, MERGED_FROM, MINUTE, Grain

#: The grain each is merged into.
MERGED_INTO: Final = {child: parent for parent, child in MERGED_FROM.items()}


@dataclass(frozen=True, slots=True)
class Family:
    """The windows of one scope and grain that are merged into one longer window; a day stands alone."""

    tenant: str
    scope: str
    grain: Grain
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Change:
    """A window with values that are not stored yet."""

    tenant: str
    scope: str
    grain: Grain
    start: datetime
    stored: Stored


#: Tenant, scope and start of a minute.
Minute = tuple[str, str, datetime]
#: Reads the stored windows of families, in their order.
ReadFamilies = Callable[[list[Family]], Iterable[dict[datetime, Stored]]]


def family(tenant: str, scope: str, grain: Grain, start: datetime) -> Family:
    """The family of the window with this start."""
    longer = MERGED_INTO.get(grain, DAY)
    first = longer.start(start)
    return Family(tenant, scope, grain, first, longer.end(first))


class Ladder:
    """The windows of tenants and channels, as stored; read when first needed and then kept."""

    def __init__(self, read: ReadFamilies, limit: int) -> None:
        self._read = read
        self._families: Recent[Family, datetime, Stored] = Recent(limit)

    def climb(self, minutes: Mapping[Minute, Values]) -> list[Change]:
        """Every window these minutes change, shortest first; they must be stored before the next call."""
        touched: dict[Grain, dict[Minute, Family]] = {}
        for grain in GRAINS:
            keys = {(tenant, scope, grain.start(start)) for tenant, scope, start in minutes}
            touched[grain] = {key: family(key[0], key[1], grain, key[2]) for key in keys}
        self._load(one for families in touched.values() for one in families.values())
        changes = []
        for grain in GRAINS:
            for key, own in touched[grain].items():
                tenant, scope, start = key
                if grain is MINUTE:
                    counted = minutes[key]
                else:
                    children = family(tenant, scope, MERGED_FROM[grain], start)
                    counted = merge(child.values for child in self._families[children].values())
                windows = self._families[own]
                stored = windows.get(start, ABSENT)
                revised = revise(stored, counted)
                if revised is not stored:
                    windows[start] = revised
                    changes.append(Change(tenant, scope, grain, start, revised))
        self._families.shrink()
        return changes

    def forget(self) -> None:
        """Read everything anew: the last changes may not be stored."""
        self._families.clear()

    def _load(self, families: Iterable[Family]) -> None:
        absent = self._families.missing(families)
        self._families.put(dict(zip(absent, self._read(absent), strict=True)))
