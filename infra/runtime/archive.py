"""The archive as its readers see it: open a table, read rows of a tenant and some days, each event once.

Importing this loads delta-rs, about 25 MB: who needs the archive only now and then imports it then.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from arro3.core import DataType, RecordBatch, RecordBatchReader, Schema
from deltalake import DeltaTable, QueryBuilder
from deltalake.exceptions import DeltaError, TableNotFoundError

from infra.contracts.archive import FIRST, ArchiveTable
from infra.runtime.errors import PreconditionError, Unreachable
from infra.runtime.settings import Archive, Kafka, Runtime

#: Copies of one event may carry different corrected times, and so stand in different days: as a rule beside each other.
#: If the client's clock was far off at its first try and was set since, they may be further apart, and both are read.
_MARGIN: Final = timedelta(days=1)
_HINT: Final = "See HUBBUB_ARCHIVE_LOCATION and HUBBUB_ARCHIVE_STORAGE."

_TEXT: Final = DataType.utf8()
_VIEW: Final = DataType.string_view()

#: Topic as it is named on the cluster, and partition.
Partition = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """One data file of a table as it stands now."""

    path: str
    day: date
    bytes: int
    rows: int


class ArchiveReader:
    """Reads the archive that the settings name. Each call sees the tables as they stand then."""

    def __init__(self, archive: Archive, runtime: Runtime) -> None:
        self.root = archive.root(runtime)
        self._options = storage_options(archive)

    def open(self, table: ArchiveTable) -> DeltaTable:
        """The table as it stands now. Raises `PreconditionError` when there is none, `Unreachable`."""
        where = f"{self.root}/{table.name}"
        try:
            return DeltaTable(where, storage_options=self._options)
        except TableNotFoundError as error:
            raise PreconditionError(f"there is no archive at {where}. Run `hubbub run archive`.") from error
        except (DeltaError, OSError) as error:
            raise Unreachable("the archive", where, _HINT) from error

    def read(
        self,
        table: ArchiveTable,
        *,
        tenant: str | None = None,
        days: tuple[date, date] | None = None,
        columns: Sequence[str] | None = None,
        where: Mapping[str, str] | None = None,
        copies: bool = False,
    ) -> RecordBatchReader:
        """Rows as Arrow batches, in no order; `pyarrow.RecordBatchReader.from_stream` and others take them.

        `days` is the first and the last, in UTC, by the table's own time; `where` asks for columns of text to be equal.
        Of several copies of one thing only the first received is read, unless `copies` are wanted. Raises as `open`
        does.
        """
        query = QueryBuilder().register("archive", self.open(table))
        return _plain(query.execute(statement(table, tenant, days, columns or table.names, where or {}, copies)))

    def rows(self, table: ArchiveTable, **wanted: Any) -> Iterator[dict[str, Any]]:
        """What `read` reads, row by row: for few rows. Raises as `read` does."""
        with reading(self.root):
            for batch in self.read(table, **wanted):
                names = batch.schema.names
                for values in zip(*(batch.column(name).to_pylist() for name in names), strict=True):
                    yield dict(zip(names, values, strict=True))


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Around whatever reads rows: raises `Unreachable` for what cannot be read."""
    try:
        yield
    except Exception as error:
        # What fails within DataFusion, as on a file that is gone, comes as an `Exception` of no other type.
        if isinstance(error, DeltaError | OSError) or type(error) is Exception:
            raise Unreachable("the archive", where, f"Are its files still there? {_HINT}") from error
        raise


def statement(
    table: ArchiveTable,
    tenant: str | None,
    days: tuple[date, date] | None,
    columns: Sequence[str],
    where: Mapping[str, str],
    copies: bool,
) -> str:
    """The SQL that reads these rows. Raises `ValueError` for a column that the table does not have."""
    if unknown := {*columns, *where} - {*table.names}:
        raise ValueError(f"{table.name} has no column {sorted(unknown)[0]}")
    asked = {**where, **({} if tenant is None else {"tenant": tenant})}
    wanted = [_is(name, value) for name, value in asked.items()]
    selected = ", ".join(map(_name, columns))
    if copies:
        return f"SELECT {selected} FROM archive{_all_of([*wanted, *_between(days, timedelta())])}"  # noqa: S608 - names of the contract
    # What all copies share narrows the search for the first of them; the rest is asked of that one alone.
    shared = [_is(name, value) for name, value in asked.items() if name in table.identity]
    needed = dict.fromkeys([*columns, *where, "day", *table.identity, *FIRST])
    same, first = ", ".join(map(_name, table.identity)), ", ".join(f"{_name(name)} NULLS LAST" for name in FIRST)
    inner = (
        f"SELECT {', '.join(map(_name, needed))}, "  # noqa: S608 - names of the contract
        f"row_number() OVER (PARTITION BY {same} ORDER BY {first}) AS copy "
        f"FROM archive{_all_of([*shared, *_between(days, _MARGIN)])}"
    )
    outer = _all_of(["copy = 1", *wanted, *_between(days, timedelta())])
    return f"SELECT {selected} FROM ({inner}){outer}"  # noqa: S608 - names of the contract


def files(table: DeltaTable) -> list[DataFile]:
    """Every data file of the table."""
    found = table.get_add_actions(flatten=True)
    columns = (found.column(name).to_pylist() for name in ("path", "partition.day", "size_bytes", "num_records"))
    return [DataFile(path=path, day=day, bytes=size, rows=rows) for path, day, size, rows in zip(*columns, strict=True)]


def transaction_id(partition: Partition) -> str:
    """Under which name a table keeps the offset after the last record of a partition that it holds."""
    return f"hubbub/{partition[0]}/{partition[1]}"


def archived(table: DeltaTable, partitions: Sequence[Partition]) -> dict[Partition, int]:
    """The next offset of each partition that the table holds anything of."""
    found = {partition: table.transaction_version(transaction_id(partition)) for partition in partitions}
    return {partition: offset for partition, offset in found.items() if offset is not None}


def inputs(table: ArchiveTable, kafka: Kafka) -> list[str]:
    """The topics that feed the table, as they are named on the cluster."""
    return [kafka.topic(topic.name) for topic in table.topics]


def storage_options(archive: Archive) -> dict[str, str]:
    """The object store's options in the clear."""
    return {name: secret.get_secret_value() for name, secret in archive.storage.items()}


def _plain(reader: RecordBatchReader) -> RecordBatchReader:
    """The same with plain strings, which every Arrow library can work with, in place of string views."""
    found = [reader.schema.field(name) for name in reader.schema.names]
    fields = [field.with_type(_TEXT) if field.type == _VIEW else field for field in found]
    schema = Schema(fields)
    batches = (
        RecordBatch.from_arrays([batch.column(field.name).cast(field.type) for field in fields], schema=schema)
        for batch in reader
    )
    return RecordBatchReader.from_batches(schema, batches)


def _name(column: str) -> str:
    return f'"{column}"'


def _is(column: str, value: str) -> str:
    quoted = value.replace("'", "''")
    return f"{_name(column)} = '{quoted}'"


def _between(days: tuple[date, date] | None, margin: timedelta) -> list[str]:
    if days is None:
        return []
    first, last = days[0] - margin, days[1] + margin
    return [f"\"day\" BETWEEN DATE '{first.isoformat()}' AND DATE '{last.isoformat()}'"]


def _all_of(conditions: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""
