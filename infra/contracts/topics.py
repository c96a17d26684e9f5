"""Every Kafka topic: what a record is, how it is keyed and how long it is kept. Nothing else creates or names one."""

from dataclasses import dataclass
from typing import Final, Literal

_HOUR = 3_600_000
_DAY = 24 * _HOUR
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One topic. `retention_ms` is ignored by a compacted topic."""

    name: str
    record: str
    key: str
    retention_ms: int
    max_message_bytes: int = _MIB
    partitions: int = 8
    compacted: bool = False
    timestamp_type: Literal["CreateTime", "LogAppendTime"] = "LogAppendTime"

    def config(self) -> dict[str, str]:
        """Topic configuration as Kafka spells it."""
        config = {
            "cleanup.policy": "compact" if self.compacted else "delete",
            "max.message.bytes": str(self.max_message_bytes),
            "message.timestamp.type": self.timestamp_type,
        }
        if not self.compacted:
            config["retention.ms"] = str(self.retention_ms)
        return config


INGEST: Final = Topic(
    name="ingest",
    record="a frame: a JSON array of envelopes of one partition, or one envelope; or a moderator's decision",
    key="none; the partition is explicit, from tenant:channel",
    retention_ms=7 * _DAY,
    max_message_bytes=4 * _MIB,
)
BACKFILL: Final = Topic(
    name="backfill",
    record="a frame of historical envelopes",
    key="none; the partition is explicit, from tenant:channel",
    retention_ms=7 * _DAY,
    max_message_bytes=4 * _MIB,
)
EVENTS: Final = Topic(
    name="events", record="one accepted envelope", key="tenant:channel, else tenant:user", retention_ms=14 * _DAY
)
EVENTS_BACKFILL: Final = Topic(
    name="events.backfill",
    record="one accepted historical envelope",
    key="tenant:channel, else tenant:user",
    retention_ms=7 * _DAY,
)
SIGNALS: Final = Topic(name="signals", record="a typing or presence envelope", key="tenant:user", retention_ms=_HOUR)
HELD: Final = Topic(
    name="held",
    record="what a rule held or blocked: envelope and verdict; or a decision that was carried out",
    key="tenant:channel",
    retention_ms=30 * _DAY,
)
VERDICTS: Final = Topic(
    name="verdicts", record="one verdict and the id it is about", key="tenant:channel", retention_ms=30 * _DAY
)
ACCOUNTING: Final = Topic(
    name="accounting",
    record="what became of each element of one input record, counted by tenant",
    key="input topic/partition/offset",
    retention_ms=14 * _DAY,
)
DLQ: Final = Topic(
    name="dlq",
    record="the original bytes; why and where in headers",
    key="input topic/partition/offset/index of its first burial",
    retention_ms=30 * _DAY,
    max_message_bytes=5 * _MIB,
)
METRICS: Final = Topic(name="metrics", record="published metric points", key="tenant:scope", retention_ms=_DAY)
CONTROL: Final = Topic(
    name="control",
    record="tenants, hashed keys and rule sets",
    key="kind/id",
    retention_ms=-1,
    partitions=1,
    compacted=True,
)

TOPICS: Final = (
    INGEST,
    BACKFILL,
    EVENTS,
    EVENTS_BACKFILL,
    SIGNALS,
    HELD,
    VERDICTS,
    ACCOUNTING,
    DLQ,
    METRICS,
    CONTROL,
)

#: Where the router sends what it read from each input.
LANES: Final = {INGEST.name: EVENTS, BACKFILL.name: EVENTS_BACKFILL}
