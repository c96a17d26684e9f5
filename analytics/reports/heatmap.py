"""A heat map as it is shown: of each row the cells to show, how dark they are, and which can still change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from infra.contracts.reports import OPEN, Cell, Column

#: Shades from 0, for nothing, to so many, for all. The page's style has one for each.
SHADES: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One cell. `shade` is None where it is no share or says nothing; an `open` one can still change."""

    text: str
    shade: int | None
    open: bool


def tiles(columns: Sequence[Column], row: Mapping[str, Cell]) -> list[Tile]:
    """The cells of these columns but `OPEN`. Of a share anything above nothing has a shade."""
    found: list[Tile] = []
    is_open = False
    for column in columns:
        if column.name == OPEN:
            continue
        value = row[column.name]
        is_open = is_open or column.name == row[OPEN]
        if column.unit != "percent":
            found.append(Tile(text=f"{value:,}", shade=None, open=False))
        elif isinstance(value, int | float):
            shade = -(-value * SHADES // 100)
            found.append(Tile(text=f"{value:.1f}", shade=min(SHADES, max(0, int(shade))), open=is_open))
        else:
            found.append(Tile(text="", shade=None, open=False))
    return found
