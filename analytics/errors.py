"""Errors of the analytics role."""

from pathlib import Path

from infra.runtime.errors import PreconditionError


class CheckpointError(PreconditionError):
    """The checkpoint cannot be continued. Nothing is lost by starting a new one: the topics are read again."""

    def __init__(self, folder: Path, why: str) -> None:
        super().__init__(
            f"The checkpoint {folder} cannot be continued: {why}. To rebuild, delete that folder and start again: "
            "the topics are read again from their first record and every window comes out as before."
        )
        self.folder = folder
        self.why = why
