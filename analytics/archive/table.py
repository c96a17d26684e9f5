"""One Delta table: rows and the offsets they reach are committed together, and only where the table still stands there.

The table keeps, as application transactions, the next offset of every partition. delta-rs refuses a commit when
another one has moved the same transaction since the table was read, but never compares versions with those it has read:
that is done here, on the very version the commit is based on. So of two writers with the same records one is refused,
whatever their consumer group believes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from arro3.core import RecordBatch, RecordBatchReader
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from deltalake import Field as DeltaField
from deltalake import Schema as DeltaSchema
from deltalake.exceptions import CommitFailedError, DeltaError

from analytics.archive.rows import arrow_schema
from infra.contracts.archive import ArchiveTable
from infra.runtime.archive import Partition, storage_options, transaction_id
from infra.runtime.errors import PreconditionError, Unreachable
from infra.runtime.settings import Archive, Runtime

log = structlog.get_logger("hubbub.archive")

#: One commit a minute: a checkpoint about every hour, and a week of log. When a file was replaced is known as long.
_CONFIGURATION: Final[dict[str, str | None]] = {
    "delta.checkpointInterval": "50",
    "delta.logRetentionDuration": "interval 7 days",
    "delta.deletedFileRetentionDuration": "interval 7 days",
}
PARQUET: Final = WriterProperties(compression="ZSTD", compression_level=3)


@dataclass(frozen=True, slots=True)
class Move:
    """From where to where a commit takes one partition: next offsets. `base` is None for one never archived."""

    base: int | None
    next: int


class Outrun(Exception):
    """The table stands elsewhere than the rows begin: somebody else has written there. Nothing was committed."""

    def __init__(self, found: Mapping[Partition, int | None]) -> None:
        super().__init__(", ".join(f"{topic}/{number} at {offset}" for (topic, number), offset in found.items()))
        self.found = found


class Unwritable(Exception):
    """The commit failed, or its outcome is not known. Doing it again is safe."""


class Table:
    """One table of the archive, as of its last commit or `refresh`. Not thread safe."""

    def __init__(self, contract: ArchiveTable, delta: DeltaTable) -> None:
        self.contract = contract
        self.delta = delta
        self._schema = arrow_schema(contract)

    def refresh(self) -> None:
        """Take in what others have committed. Raises `Unwritable`."""
        try:
            self.delta.update_incremental()
        except (DeltaError, OSError) as error:
            raise Unwritable(str(error)) from error

    def position(self, partition: Partition) -> int | None:
        """The offset after the last record of this partition that the table holds; None when it holds none.

        Reads the table's log. Raises `Unwritable` when that cannot be done.
        """
        try:
            return self.delta.transaction_version(transaction_id(partition))
        except (DeltaError, OSError) as error:
            raise Unwritable(str(error)) from error

    def append(
        self, batches: Sequence[RecordBatch], moves: Mapping[Partition, Move], note: dict[str, Any] | None = None
    ) -> None:
        """Commit these rows and moves, all or nothing. A `note` stands in the table's history.

        Raises `Outrun` when the table does not stand where they begin, `Unwritable` when it should be tried again.
        """
        self.refresh()
        self._compare(moves)
        transactions = [Transaction(transaction_id(p), move.next) for p, move in moves.items()]
        try:
            write_deltalake(
                self.delta,
                RecordBatchReader.from_batches(self._schema, batches),
                mode="append",
                writer_properties=PARQUET,
                commit_properties=CommitProperties(app_transactions=transactions, custom_metadata=note),
            )
        except CommitFailedError as error:
            self.refresh()
            self._compare(moves)
            raise Unwritable(str(error)) from error
        except (DeltaError, OSError) as error:
            # It may have been committed all the same: then the next attempt finds the table moved.
            raise Unwritable(str(error)) from error

    def _compare(self, moves: Mapping[Partition, Move]) -> None:
        found = {partition: self.position(partition) for partition in moves}
        if outrun := {p: offset for p, offset in found.items() if offset != moves[p].base}:
            raise Outrun(outrun)


def open_table(contract: ArchiveTable, archive: Archive, runtime: Runtime) -> Table:
    """The table, made if it is not there, given the columns it lacks.

    Raises `PreconditionError` when it has a column of another type, `Unreachable` when the place does not answer.
    """
    where = f"{archive.root(runtime)}/{contract.name}"
    try:
        delta = DeltaTable.create(
            where,
            schema=arrow_schema(contract),
            mode="ignore",
            partition_by=["day"],
            name=f"hubbub {contract.name}",
            configuration=_CONFIGURATION,
            storage_options=storage_options(archive),
        )
        _complete(delta, contract, where)
    except (DeltaError, OSError) as error:
        raise Unreachable("the archive", where, f"{error} See HUBBUB_ARCHIVE_LOCATION.") from error
    return Table(contract, delta)


def _complete(delta: DeltaTable, contract: ArchiveTable, where: str) -> None:
    wanted = {field.name: field for field in DeltaSchema.from_arrow(arrow_schema(contract)).fields}
    present = {field.name: field for field in delta.schema().fields}
    for name, field in wanted.items():
        if name in present and present[name].type != field.type:
            raise PreconditionError(f"column {name} of {where} is {present[name].type}, should be {field.type}")
    # Rows that are there have nothing in a new column.
    missing = [DeltaField(name, field.type, nullable=True) for name, field in wanted.items() if name not in present]
    if missing:
        delta.alter.add_columns(missing)
        log.info("archive.columns_added", table=contract.name, columns=[field.name for field in missing])
