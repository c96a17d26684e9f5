"""`hubbub archive`: how the archive stands, putting it in order, and going on where records are gone."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.checkup import running_addresses
from infra.cli.output import AsJson, note, print_json, print_table
from infra.runtime.errors import PreconditionError
from infra.runtime.settings import Archive, Kafka, Runtime

if TYPE_CHECKING:
    from analytics.archive.maintenance import Maintained

app = typer.Typer(name="archive", no_args_is_help=True)


@app.callback()
def archive() -> None:
    """Everything that was said, in Delta tables."""
    from infra.runtime.logs import configure

    configure(Runtime(), "archive")


@app.command("status")
def status(as_json: AsJson = False) -> None:
    """Show what each table holds and how far it is behind the log. Exit 1 if records are gone unarchived."""
    from analytics.archive.standing import standings
    from infra.runtime.archive import ArchiveReader

    reader = ArchiveReader(Archive(), Runtime())
    found = standings(reader, _kafka())
    if as_json:
        print_json({"location": reader.root, "tables": found})
    else:
        print_table(
            ("TABLE", "ROWS", "FILES", "BYTES", "DAYS", "FIRST", "LAST", "LAG"),
            [(t.table, f"{t.rows:,}", t.files, f"{t.bytes:,}", t.days, t.first_day, t.last_day, t.lag) for t in found],
        )
    gone = [offsets for table in found for offsets in table.offsets if offsets.gone]
    for offsets in gone:
        note(
            f"{offsets.partition}: archived up to {offsets.archived}, the log holds {offsets.first} to {offsets.end}: "
            f"{offsets.gap:,} records are gone. `hubbub archive skip {offsets.partition}` goes on without them."
        )
    if gone:
        raise typer.Exit(1)


@app.command("maintain")
def maintain(as_json: AsJson = False) -> None:
    """Put small files together, sort days that are over, remove what was replaced. The writer may go on meanwhile.

    Exit 1 if days could not be put in order.
    """
    from analytics.archive.maintenance import maintain_all
    from analytics.archive.settings import ArchiveWriter
    from ingest.progress import bar

    done: list[Maintained] = []
    try:
        with bar("days") as advance:
            for each in maintain_all(Archive(), Runtime(), ArchiveWriter(), datetime.now(UTC).date(), advance):
                done.append(each)
    finally:
        if done:
            _print_maintained(done, as_json)
    if any(each.failed for each in done):
        raise typer.Exit(1)


def _print_maintained(done: "Sequence[Maintained]", as_json: bool) -> None:
    if as_json:
        print_json(done)
        return
    print_table(
        ("TABLE", "DAYS", "SKIPPED", "FAILED", "FILES", "NOW", "BYTES", "NOW", "REMOVED", "SECONDS"),
        [
            (
                *(m.table, m.days, m.skipped, m.failed, m.files_before, m.files_after),
                *(f"{m.bytes_before:,}", f"{m.bytes_after:,}", m.removed, f"{m.seconds:.1f}"),
            )
            for m in done
        ],
    )


@app.command("skip")
def skip(
    partition: Annotated[str, typer.Argument(help="The partition, as events/3.")], as_json: AsJson = False
) -> None:
    """Go on where records of a partition are gone before they were archived. The archive keeps a note of it."""
    from analytics.archive.standing import feeding
    from analytics.archive.standing import skip as give_up
    from analytics.archive.table import Outrun, Unwritable, open_table

    kafka = _kafka()
    try:
        contract, place = feeding(kafka, partition)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="PARTITION") from error
    try:
        skipped = give_up(open_table(contract, Archive(), Runtime()), kafka, place)
    except (Outrun, Unwritable) as error:
        raise PreconditionError(f"not done: {error}. Try again.") from error
    if as_json:
        print_json(skipped)
    else:
        note(f"{skipped.partition} goes on at {skipped.resumed:,}; {skipped.records:,} records are not archived")


def _kafka() -> Kafka:
    found = running_addresses()
    return found[0] if found else Kafka()
