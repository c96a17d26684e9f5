"""How far an import of a file has come: written at most once a second, replaced as a whole, believed only while the
file still begins as it did.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

_PROBE: Final = 64 * 1024


class Position(msgspec.Struct, frozen=True):
    """Everything before byte `offset`, the end of line `line`, is stored or reported as bad."""

    offset: int = 0
    line: int = 0


class _Saved(msgspec.Struct, frozen=True, kw_only=True):
    position: Position
    probe: str


@dataclass(slots=True)
class Checkpoint:
    """The position of one file for one ingest and key. Not thread safe."""

    source: Path
    path: Path
    position: Position = field(default_factory=Position)

    @classmethod
    def load(cls, state_dir: Path, source: Path, target: str) -> "Checkpoint":
        """The position last saved, or the beginning when there is none or the file is another one now."""
        name = hashlib.blake2b(f"{target}\n{source.resolve()}".encode(), digest_size=16).hexdigest()
        checkpoint = cls(source, state_dir / f"{name}.json")
        try:
            saved = msgspec.json.decode(checkpoint.path.read_bytes(), type=_Saved)
        except (FileNotFoundError, msgspec.MsgspecError):
            return checkpoint
        if saved.probe == _probe(source, saved.position.offset):
            checkpoint.position = saved.position
        return checkpoint

    @property
    def finished(self) -> bool:
        """Whether nothing is left to read."""
        return 0 < self.position.offset == self.source.stat().st_size

    def save(self, position: Position) -> None:
        """Move on to this position."""
        if position == self.position:
            return
        self.position = position
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(_Saved(position=position, probe=_probe(self.source, position.offset))))
        fresh.replace(self.path)


def _probe(source: Path, offset: int) -> str:
    """A hash of what stands at the beginning and just before the offset; of nothing when the file is shorter."""
    digest = hashlib.blake2b(digest_size=16)
    with source.open("rb") as file:
        if source.stat().st_size >= offset:
            digest.update(file.read(min(_PROBE, offset)))
            file.seek(max(0, offset - _PROBE))
            digest.update(file.read(min(_PROBE, offset)))
    return digest.hexdigest()
