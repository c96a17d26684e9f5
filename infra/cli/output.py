"""How commands print: a table for people, JSON for scripts."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

#: Where no terminal sets a width, a table is as wide as its cells: a pipe should not get them cut.
_WIDE = 1_000

#: Every command that reads takes this.
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A plain table on standard output."""
    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, _WIDE)
    console.print(table, soft_wrap=True)


def note(text: str) -> None:
    """A line for the person, on standard error."""
    typer.echo(text, err=True)
