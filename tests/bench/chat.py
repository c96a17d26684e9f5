"""The events that every contender gets: chat of about 300 bytes, a tenth of it not ASCII, in channels of Zipf's law."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import accumulate
from typing import Final

import msgspec
import uuid_utils

from infra.contracts.events import MESSAGE_SENT, Event, truncate_ms

TENANT: Final = "bench"
CHANNELS: Final = 1_000
_EXPONENT: Final = 1.1
_BYTES: Final = 300
_FOREIGN: Final = 0.1
_SPOKEN: Final = (
    "the a build is green again who broke it lunch at noon merge that branch please reading logs now works here not "
    "there same error with java seventeen try the other port thanks that helped good morning see you tomorrow"
)
_SPOKEN_ELSEWHERE: Final = "größer straße naïve café señor дома привет ありがとう 你好 مرحبا 👍 🎉"


def events(count: int, *, seed: int, channels: int = CHANNELS) -> list[bytes]:
    """So many events as a client sends them, JSON; ids are new each time, all else follows from the seed."""
    draw = random.Random(seed)
    weights = list(accumulate((n + 1) ** -_EXPONENT for n in range(channels)))
    places = draw.choices(range(channels), cum_weights=weights, k=count)
    now = datetime.now(UTC).isoformat()
    return [
        msgspec.json.encode(
            {
                "id": str(uuid_utils.uuid7()),
                "type": MESSAGE_SENT,
                "time": now,
                "channel_id": f"channel-{place}",
                "user_id": f"user-{draw.randrange(10_000)}",
                "text": _text(draw),
            }
        )
        for place in places
    ]


def stamped(total: int, *, seed: int, channels: int = CHANNELS) -> list[Event]:
    """The same as ingest stamps them."""
    now = truncate_ms(datetime.now(UTC))
    prepared = events(total, seed=seed, channels=channels)
    made = msgspec.json.decode(b"[" + b",".join(prepared) + b"]", type=list[Event])
    for event in made:
        event.tenant, event.source, event.request_id, event.received_at = TENANT, "bench", "bench", now
    return made


def bodies(prepared: list[bytes], size: int) -> Iterator[bytes]:
    """Request bodies of so many events each: a bare event alone, else an array."""
    for start in range(0, len(prepared), size):
        batch = prepared[start : start + size]
        yield batch[0] if size == 1 else b"[" + b",".join(batch) + b"]"


def _text(draw: random.Random) -> str:
    words = (_SPOKEN_ELSEWHERE if draw.random() < _FOREIGN else _SPOKEN).split()
    text = ""
    while len(text.encode()) < _BYTES - 190:  # what the other fields take
        text += f"{draw.choice(words)} "
    return text.rstrip()
