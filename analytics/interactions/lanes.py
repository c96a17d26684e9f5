"""The order events are taken in: each partition says what is late or a copy, all together how far time has come.

What is late is a matter of its own partition, by the newest time before it there, and time has come as far as it has
in the partition that is furthest behind. So what is counted follows from the log alone, however its partitions are
read against one another: by a reader that follows, or by one that catches up. Heartbeats keep silent partitions going.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum

import msgspec

from analytics.interactions.acts import Read
from infra.contracts.windows import MINUTE, WATERMARK_DELAY


class Admission(StrEnum):
    """What becomes of an act as it is read."""

    TAKEN = "taken"
    LATE = "late"
    COPY = "copy"
    NONE = "none"
    """The record has none that matters."""


class Lane(msgspec.Struct, kw_only=True):
    """One partition: where it is read on, its newest time, and the ids seen within the delay before that."""

    offset: int
    newest: datetime | None = None
    seen: dict[str, dict[str, datetime]] = {}

    def admit(self, read: Read) -> Admission:
        """Take in the next record of the partition. The first of several copies of an event counts."""
        if self.newest is None or read.time > self.newest:
            self.newest = read.time
        since = self.newest - WATERMARK_DELAY
        act = read.act
        if act is None:
            return Admission.NONE
        if act.time < since:
            return Admission.LATE
        ids = self.seen.setdefault(act.tenant, {})
        first = ids.get(act.id)
        if first is not None and first >= since:
            return Admission.COPY
        ids[act.id] = act.time
        return Admission.TAKEN

    def forget(self) -> None:
        """Free the memory of ids that are too old to be asked for."""
        if self.newest is None:
            return
        since = self.newest - WATERMARK_DELAY
        for tenant, ids in list(self.seen.items()):
            kept = {id_: time for id_, time in ids.items() if time >= since}
            if kept:
                self.seen[tenant] = kept
            else:
                del self.seen[tenant]


def watermark(lanes: Iterable[Lane]) -> datetime | None:
    """The whole minute before which nothing more is taken; None until every partition has spoken."""
    newest = [lane.newest for lane in lanes]
    known = [moment for moment in newest if moment is not None]
    return MINUTE.start(min(known) - WATERMARK_DELAY) if known and len(known) == len(newest) else None


def ahead(lanes: Mapping[int, Lane]) -> set[int]:
    """The partitions that need not be read on for time to go on."""
    known = {partition: lane.newest for partition, lane in lanes.items() if lane.newest is not None}
    if len(known) < len(lanes):
        return set(known)
    least = min(known.values()) + WATERMARK_DELAY
    return {partition for partition, newest in known.items() if newest > least}
