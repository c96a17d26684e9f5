"""Record headers: where a record came from, and what was decided about it."""

from dataclasses import dataclass
from typing import Final

#: As a Kafka client takes them.
Headers = list[tuple[str, str | bytes | None]]

#: Origin of a record the router wrote: `topic/partition/offset/index`.
SRC: Final = "src"
#: Id of a rule that touched the event, `id@version`.
RULE: Final = "rule"
#: What a record of ours is that carries no event: a heartbeat.
KIND: Final = "kind"
HEARTBEAT: Final = b"heartbeat"
#: A `review.Decision`, in `ingest` and, once the router has carried it out, in `held`.
DECISION: Final = b"decision"
#: Dead letter headers.
STAGE: Final = "stage"
CODE: Final = "code"
ERROR: Final = "error"
ATTEMPTS: Final = "attempts"
FIRST_SEEN: Final = "first_seen"
#: On a replayed dead letter: the key of the dead letter it was.
REPLAY_OF: Final = "replay_of"

#: The index of a dead letter that is a whole record.
WHOLE: Final = -1
#: The offset of a dead letter that never was in the log: ingest wrote it.
NOWHERE: Final = -1
#: The stage of a dead letter that ingest wrote.
INGEST_STAGE: Final = "ingest"


@dataclass(frozen=True, slots=True, order=True)
class Src:
    """One element of one input record. Ordered within an input partition."""

    topic: str
    partition: int
    offset: int
    index: int

    def encode(self) -> bytes:
        """As it stands in the `src` header and in a dead letter's key."""
        return b"%s/%d/%d/%d" % (self.topic.encode(), self.partition, self.offset, self.index)

    @classmethod
    def decode(cls, raw: bytes | str) -> "Src":
        """Raises ValueError for anything `encode` did not write."""
        text = raw.decode() if isinstance(raw, bytes) else raw
        topic, partition, offset, index = text.rsplit("/", 3)
        return cls(topic, int(partition), int(offset), int(index))
