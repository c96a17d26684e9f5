"""Where an event belongs: its Kafka partition, its history bucket, its place in a channel and its write times.

Each is a function of the event alone, so two copies of one event always meet in the same cell.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from infra.contracts.events import Event, from_ms, to_ms

_CROCKFORD: Final = {c: i for i, c in enumerate("0123456789ABCDEFGHJKMNPQRSTVWXYZ")}
_UUID7: Final = re.compile(
    "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-7[0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}"  # re.I takes twice as long
)
#: 9999-12-31: the latest moment that datetime and CQL both hold.
_LAST_MS: Final = 253_402_214_400_000


def key(tenant: str, event: Event) -> bytes:
    """The Kafka key: tenant:channel, or tenant:user for an event without a channel or a signal's topic."""
    return f"{tenant}:{event.channel_id or event.author}".encode()


@lru_cache(maxsize=65_536)
def partition(record_key: bytes, partitions: int) -> int:
    """The partition librdkafka's `murmur2_random`, Java's and aiokafka's default partitioners choose for this key."""
    return (murmur2(record_key) & 0x7FFFFFFF) % partitions


def murmur2(data: bytes) -> int:
    """MurmurHash2, 32 bits, seed 0x9747b28c, as in org.apache.kafka.common.utils.Utils."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    length = len(data)
    h = 0x9747B28C ^ length
    tail = length & ~3
    for i in range(0, tail, 4):
        k = int.from_bytes(data[i : i + 4], "little") * m & mask
        k = (k ^ (k >> 24)) * m & mask
        h = (h * m & mask) ^ k
    if length & 3:
        h ^= int.from_bytes(data[tail:], "little")
        h = h * m & mask
    h = (h ^ (h >> 13)) * m & mask
    return h ^ (h >> 15)


def time_of_id(identifier: str) -> datetime | None:
    """The moment inside a UUIDv7 or an upper-case ULID; None for any other id.

    RFC 9562 section 5.7 (48 bits of Unix milliseconds first); github.com/ulid/spec (10 base-32 digits of them).
    """
    ms = ms_of_id(identifier)
    return None if ms is None else from_ms(ms)


def ms_of_id(identifier: str) -> int | None:
    """`time_of_id` in milliseconds since the epoch."""
    ms = None
    if len(identifier) == 36:
        if _UUID7.fullmatch(identifier):
            ms = int(identifier[:8] + identifier[9:13], 16)
    elif len(identifier) == 26 and identifier[0] in "01234567" and all(c in _CROCKFORD for c in identifier):
        ms = 0
        for c in identifier[:10]:
            ms = ms << 5 | _CROCKFORD[c]
    return ms if ms is not None and ms < _LAST_MS else None


def sent_at(event: Event) -> datetime:
    """The place of a message in time: inside its id where the id carries one, else as the client wrote it."""
    return time_of_id(event.target) or event.placed_time


@dataclass(frozen=True, slots=True)
class BucketEpoch:
    """From `effective_from` on, a channel's history is cut into buckets of `width`."""

    effective_from: datetime
    width: timedelta


DEFAULT_PLAN: Final = (BucketEpoch(datetime(1970, 1, 1, tzinfo=UTC), timedelta(days=10)),)


def plan_of(rows: Iterable[tuple[datetime, int]]) -> tuple[BucketEpoch, ...]:
    """The plan of `bucket_plan` rows (effective_from, width in ms): the default one first, unless they replace it."""
    epochs = {epoch.effective_from: epoch for epoch in DEFAULT_PLAN}
    for effective_from, width_ms in rows:
        moment = effective_from.replace(tzinfo=effective_from.tzinfo or UTC)  # the driver's datetimes are naive UTC
        epochs[moment] = BucketEpoch(moment, timedelta(milliseconds=width_ms))
    return tuple(epochs[moment] for moment in sorted(epochs))


def bucket(moment: datetime, plan: Sequence[BucketEpoch] = DEFAULT_PLAN) -> int:
    """The bucket of a place in time: its start, in milliseconds since the epoch.

    The plan is ordered by `effective_from` and only ever grows at its end, at least an hour ahead, so a replay lands
    where the first copy did. Moments before the first entry follow it backwards.
    """
    return bucket_of_ms(to_ms(moment), plan)


def bucket_of_ms(ms: int, plan: Sequence[BucketEpoch] = DEFAULT_PLAN) -> int:
    """`bucket` of a place given in milliseconds since the epoch."""
    start, width = _cuts(plan[0])
    for later in plan[1:]:
        cut = _cuts(later)
        if cut[0] > ms:
            break
        start, width = cut
    return start + (ms - start) // width * width


@lru_cache(maxsize=1024)
def _cuts(epoch: BucketEpoch) -> tuple[int, int]:
    return to_ms(epoch.effective_from), epoch.width // timedelta(milliseconds=1)


def micros(moment: datetime) -> int:
    """A Cassandra write time: microseconds since the epoch."""
    return to_ms(moment) * 1000


def create_write_time(received_at: datetime) -> int:
    """Write time of a created message: negative, so the first copy received wins and any later change shadows it."""
    return -micros(received_at)


def day(moment: datetime) -> str:
    """The UTC calendar day, ISO 8601."""
    return moment.astimezone(UTC).date().isoformat()
