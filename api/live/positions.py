"""Where a reader stands in `events`: the next offset of every partition, and what the router's replays may not repeat.

Within one output partition the first occurrences of one input partition come in `src` order, so a record whose `src`
is not above the highest seen is a replay. A position carries that highest `src` too: a reader that comes back after
the API and the router both restarted still sees nothing twice.
"""

import msgspec

from api.live.records import Record, Source
from api.signing import Forged, Signer

_PURPOSE = "resume"
_Wire = tuple[int, list[int], list[dict[Source, tuple[int, int]]]]
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Wire)


class Position:
    """A position, moved forward by the records read. `epoch` tells one creation of the topic from another."""

    __slots__ = ("epoch", "offsets", "seen")

    def __init__(self, epoch: int, offsets: list[int], seen: list[dict[Source, tuple[int, int]]] | None = None) -> None:
        self.epoch = epoch
        self.offsets = offsets
        self.seen = seen if seen is not None else [{} for _ in offsets]

    def advance(self, record: Record) -> bool:
        """Move past the record. False for one that was passed before, or a router's replay of one that was."""
        partition = record.partition
        if record.offset < self.offsets[partition]:
            return False
        self.offsets[partition] = record.offset + 1
        if record.source is None:
            return True
        seen = self.seen[partition]
        highest = seen.get(record.source)
        if highest is not None and record.src <= highest:
            return False
        seen[record.source] = record.src
        return True

    def learn(self, other: "Position") -> None:
        """Take over what another position of this epoch, not ahead of this one, knows about replays."""
        for mine, theirs in zip(self.seen, other.seen, strict=False):
            for source, src in theirs.items():
                mine[source] = max(src, mine.get(source, src))

    def behind(self, other: "Position") -> bool:
        """Whether another position is ahead of this one anywhere."""
        return any(mine < theirs for mine, theirs in zip(self.offsets, other.offsets, strict=False))

    def grow(self, partitions: int) -> None:
        """New partitions begin at 0: there was nothing in them before."""
        while len(self.offsets) < partitions:
            self.offsets.append(0)
            self.seen.append({})

    def copy(self) -> "Position":
        return Position(self.epoch, list(self.offsets), [dict(seen) for seen in self.seen])


class Tokens:
    """Positions as opaque, signed resume tokens. The signature lets the hub believe what a token knows of replays."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def encode(self, position: Position) -> str:
        """The token of this position."""
        payload = _encoder.encode((position.epoch, position.offsets, position.seen))
        return self._signer.sign(_PURPOSE, payload)

    def decode(self, token: str, epoch: int, partitions: int) -> Position | None:
        """The position of a token of ours for this topic; None for any other text."""
        try:
            found, offsets, seen = _decoder.decode(self._signer.open(_PURPOSE, token))
        except (Forged, msgspec.MsgspecError):
            return None
        if found != epoch or len(offsets) > partitions or len(seen) != len(offsets):
            return None
        position = Position(found, offsets, seen)
        position.grow(partitions)
        return position
