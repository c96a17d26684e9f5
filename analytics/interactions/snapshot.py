"""The snapshot on disk: the whole state and the offsets it reaches, replaced at once or not at all."""

import os
from pathlib import Path
from typing import Final

import msgspec
import structlog

from analytics.interactions.books import Snapshot
from infra.contracts.interactions import INTERACTIONS_QUERY

log = structlog.get_logger("hubbub.interactions")


class _File(msgspec.Struct, frozen=True, kw_only=True):
    """What the snapshot is of, and the snapshot as bytes, which are read only if that is right."""

    query: str
    topic: str
    state: msgspec.Raw


_encoder: Final = msgspec.msgpack.Encoder()


class SnapshotFile:
    """One file. `topic` is the name on the cluster: a snapshot of another is of no use."""

    def __init__(self, folder: Path, topic: str) -> None:
        self._path = folder / "snapshot.msgpack"
        self._topic = topic

    def load(self) -> Snapshot | None:
        """The last snapshot; None where there is none that can be gone on from, which is logged."""
        try:
            raw = self._path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            file = msgspec.msgpack.decode(raw, type=_File)
            if (file.query, file.topic) != (INTERACTIONS_QUERY, self._topic):
                log.warning("snapshot.of_another", path=str(self._path), query=file.query, topic=file.topic)
                return None
            return msgspec.msgpack.decode(file.state, type=Snapshot)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.error("snapshot.damaged", path=str(self._path), error=str(error))
            return None

    def save(self, snapshot: Snapshot) -> int:
        """Replace the last snapshot. Returns its bytes. Raises OSError where the disk does not take it."""
        state = msgspec.Raw(_encoder.encode(snapshot))
        raw = _encoder.encode(_File(query=INTERACTIONS_QUERY, topic=self._topic, state=state))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        part = self._path.with_suffix(".part")
        with part.open("wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._path)
        return len(raw)
