"""Merging windows into longer ones: counts add up, sketches unite, and nothing that was counted is ever lowered.

Everything here is pure. A window's values are absolute, so writing them again changes nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import datasketches

from infra.contracts.metrics import COUNTS, DISTINCTS, SKETCH_LG_K
from infra.contracts.tables import MEASURE_COLUMNS

#: Two estimates closer than this are of the same set of registers.
_SAME: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Values:
    """What one window holds: a number per count, and per distinct its sketch, None where nobody is in it.

    In the order of `metrics.COUNTS` and `metrics.DISTINCTS`. Sketches are HLL_8 in DataSketches' compact form, as Spark
    writes them.
    """

    counts: tuple[int, ...]
    sketches: tuple[bytes | None, ...]


@dataclass(frozen=True, slots=True)
class Stored:
    """The values of a window and how many times they changed. Revision 0 was never written."""

    values: Values
    revision: int


EMPTY: Final = Values((0,) * len(COUNTS), (None,) * len(DISTINCTS))
ABSENT: Final = Stored(EMPTY, 0)


def counted(counts: Sequence[int], sketches: Sequence[bytes | None]) -> Values:
    """The values in a row of Spark's, whose sketch of nobody is a sketch."""
    return Values(tuple(counts), tuple(None if _is_empty(sketch) else bytes(sketch or b"") for sketch in sketches))


def merge(children: Iterable[Values]) -> Values:
    """The values of a window made of these, which share no event. The order does not matter."""
    rows = list(children)
    if len(rows) == 1:
        return rows[0]
    return Values(
        tuple(sum(row.counts[i] for row in rows) for i in range(len(COUNTS))),
        tuple(unite(row.sketches[i] for row in rows) for i in range(len(DISTINCTS))),
    )


def unite(sketches: Iterable[bytes | None]) -> bytes | None:
    """One sketch of everybody in these; None when there is nobody."""
    some = {sketch for sketch in sketches if sketch}
    if len(some) <= 1:
        return next(iter(some), None)
    # Sorted, so that the same sketches always give the same bytes.
    result = _union(sorted(some)).get_result(datasketches.tgt_hll_type.HLL_8)
    return bytes(result.serialize_compact())


def join(stored: Values, counted_now: Values) -> Values:
    """What a window holds after both were found for it: a window only grows while its log is read.

    Reading the log again from its start therefore leaves every window as it was, at each moment of the way.
    """
    if stored == counted_now:
        return stored
    counts = tuple(map(max, stored.counts, counted_now.counts))
    pairs = zip(stored.sketches, counted_now.sketches, strict=True)
    if counts != stored.counts:
        return Values(counts, tuple(map(unite, pairs)))
    return Values(counts, tuple(_grown(old, new) for old, new in pairs))


def revise(stored: Stored, counted_now: Values) -> Stored:
    """The window after it was counted again: `stored` itself when that changed nothing, else the next revision."""
    values = join(stored.values, counted_now)
    return stored if values == stored.values else Stored(values, stored.revision + 1)


def estimate(sketch: bytes | None) -> int:
    """How many people a sketch has seen."""
    return round(datasketches.hll_sketch.deserialize(sketch).get_estimate()) if sketch else 0


def to_columns(values: Values) -> list[Any]:
    """The values in the order of `tables.MEASURE_COLUMNS`, estimates beside their sketches; None where nothing is."""
    row: list[Any] = list(values.counts)
    for sketch in values.sketches:
        row += (estimate(sketch), sketch)
    return row


def from_columns(row: Sequence[Any]) -> Values:
    """The values in columns in the order of `tables.MEASURE_COLUMNS`."""
    found = dict(zip(MEASURE_COLUMNS, row, strict=True))
    return Values(
        tuple(found[m.name] or 0 for m in COUNTS), tuple(found[f"{m.name}_sketch"] or None for m in DISTINCTS)
    )


def _grown(old: bytes | None, new: bytes | None) -> bytes | None:
    """The sketch of both; `old` itself, byte for byte, when the new one knows nobody that it does not."""
    if new is None or new == old:
        return old
    if old is None:
        return new
    both = _union((old, new))
    # The estimate of a union depends on its registers alone, that of a sketch also on the order it was filled in.
    if abs(both.get_estimate() - _union((old, old)).get_estimate()) < _SAME:
        return old
    return bytes(both.get_result(datasketches.tgt_hll_type.HLL_8).serialize_compact())


def _union(sketches: Iterable[bytes]) -> datasketches.hll_union:
    union = datasketches.hll_union(SKETCH_LG_K)
    for sketch in sketches:
        union.update(datasketches.hll_sketch.deserialize(sketch))
    return union


def _is_empty(sketch: bytes | None) -> bool:
    return not sketch or bool(datasketches.hll_sketch.deserialize(bytes(sketch)).is_empty())
