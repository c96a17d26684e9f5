"""Progress bars of long commands: on stderr, and only where that is a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

#: Told what is done and how much there is in all.
Advance = Callable[[int, int], None]


@contextmanager
def bar(label: str, *, unit_bytes: bool = False, console: Console | None = None) -> Iterator[Advance | None]:
    """A bar of events, or of bytes; None where there is no terminal to show it on."""
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    amounts: list[ProgressColumn] = [DownloadColumn(), TransferSpeedColumn()] if unit_bytes else [MofNCompleteColumn()]
    columns = [TextColumn("{task.description}"), BarColumn(), *amounts, TimeRemainingColumn()]
    with Progress(*columns, console=console) as shown:
        task = shown.add_task(label, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)
