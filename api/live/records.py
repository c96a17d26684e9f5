"""One record of `events` as the live stream sees it: what decides who gets it is decoded, the envelope is passed on."""

from typing import Any, Final

import msgspec

from infra.contracts import headers
from infra.contracts.events import HEARTBEAT, OWN_TYPES
from infra.contracts.topics import INGEST

#: What a record costs beside its bytes.
OVERHEAD: Final = 400

#: Which input partition a record came from: its number for `ingest`, `topic/partition` for any other topic.
Source = int | str


class Record(msgspec.Struct, frozen=True, gc=False):
    """An event at its place in the log. `source` None: it carries no `src`, so it is nobody's replay."""

    partition: int
    offset: int
    source: Source | None
    src: tuple[int, int]
    tenant: str
    channel_id: str | None
    type: str
    id: str
    message_id: str
    value: bytes
    #: Released by a moderator.
    late: bool = False

    @property
    def copy_of(self) -> tuple[str, str]:
        """What two copies of one event have in common, wherever they stand in the log.

        A client that takes the id of one of Hubbub's own events makes no copy of it.
        """
        return self.tenant, f"/{self.id}" if self.type in OWN_TYPES else self.id

    @property
    def size(self) -> int:
        """Bytes it is counted with."""
        return len(self.value) + OVERHEAD


class _Head(msgspec.Struct):
    id: str
    type: str
    tenant: str | None = None
    channel_id: str | None = None
    message_id: str | None = None
    late: bool | None = None


_head = msgspec.json.Decoder(_Head)


class Decoder:
    """Records from Kafka messages. Heartbeats, and what is no event, are None: they only move the position."""

    def __init__(self, topic_prefix: str) -> None:
        self._ingest = {INGEST.name, topic_prefix + INGEST.name}
        self._sources: dict[bytes, Source] = {}

    def decode(self, message: Any) -> Record | None:
        value = message.value()
        if not value:
            return None
        try:
            head = _head.decode(value)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None
        if head.tenant is None or head.type == HEARTBEAT:
            return None
        source, src = self._origin(message.headers())
        return Record(
            message.partition(),
            message.offset(),
            source,
            src,
            head.tenant,
            head.channel_id,
            head.type,
            head.id,
            head.message_id or head.id,
            # A line break inside valid JSON is white space; in an SSE data line it would end the data.
            value if b"\n" not in value and b"\r" not in value else value.replace(b"\n", b" ").replace(b"\r", b" "),
            bool(head.late),
        )

    def _origin(self, pairs: list[tuple[str, bytes | None]] | None) -> tuple[Source | None, tuple[int, int]]:
        for name, raw in pairs or ():
            if name == headers.SRC and raw is not None:
                try:
                    origin, offset, index = raw.rsplit(b"/", 2)
                    return self._source(origin), (int(offset), int(index))
                except ValueError:
                    return None, (0, 0)
        return None, (0, 0)

    def _source(self, origin: bytes) -> Source:
        found = self._sources.get(origin)
        if found is None:
            topic, _, partition = origin.decode().rpartition("/")
            found = int(partition) if topic in self._ingest else f"{topic}/{int(partition)}"
            self._sources[origin] = found
        return found
