"""How far an import of a source has come: written at most once a second, replaced as a whole, believed only while the
source still begins as it did.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ingest.importers.passages import BEGINNING, Position, Source


class _Saved(msgspec.Struct, frozen=True, kw_only=True):
    position: Position
    probe: str


@dataclass(slots=True)
class Checkpoint:
    """The position of one source for one ingest and key. Not thread safe."""

    source: Source
    path: Path
    position: Position = BEGINNING

    @classmethod
    def load(cls, state_dir: Path, source: Source, target: str) -> "Checkpoint":
        """The position last saved, or the beginning when there is none or the source is another one now."""
        name = hashlib.blake2b(f"{target}\n{source.path.resolve()}".encode(), digest_size=16).hexdigest()
        checkpoint = cls(source, state_dir / f"{name}.json")
        try:
            saved = msgspec.json.decode(checkpoint.path.read_bytes(), type=_Saved)
        except (FileNotFoundError, msgspec.MsgspecError):
            return checkpoint
        if saved.probe == source.probe(saved.position.offset):
            checkpoint.position = saved.position
        return checkpoint

    @property
    def finished(self) -> bool:
        """Whether nothing is left to read."""
        return 0 < self.position.offset == self.source.size

    def save(self, position: Position) -> None:
        """Move on to this position."""
        if position == self.position:
            return
        self.position = position
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".new")
        saved = _Saved(position=position, probe=self.source.probe(position.offset))
        fresh.write_bytes(msgspec.json.encode(saved))
        fresh.replace(self.path)
