"""Text as rules see it: NFKC, case-folded and free of invisible characters, with the way back to the original."""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec

Span = tuple[int, int]

#: Format characters and fillers that show nothing: they split words for a machine, not for a reader.
_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]"
)

#: Normalization takes the square of a cluster's length; a longer one is cut, as in UAX #15's stream-safe format.
_LONGEST: Final = 32

_LETTERS: Final = b"abcdefghijklmnopqrstuvwxyz "

#: Hangul vowels and finals, which compose with what stands before them.
_JAMO: Final = re.compile("[\u1161-\u11ff]")


class Folded(msgspec.Struct, frozen=True, gc=False):
    """Folded text. `starts` and `ends` give each of its characters' place in the original; None: the same place."""

    text: str
    starts: Sequence[int] | None = None
    ends: Sequence[int] | None = None

    def original(self, start: int, end: int) -> Span:
        """The stretch of the original that a non-empty stretch of the folded text was made from."""
        if self.starts is None or self.ends is None:
            return start, end
        return self.starts[start], self.ends[end - 1]


def fold(text: str) -> Folded:
    """Fold a text. Equal to folding each base character with its combining marks by itself."""
    if text.isascii():
        return Folded(text.lower())
    if not _INVISIBLE.search(text) and not _has_marks(text) and unicodedata.is_normalized("NFKC", text):
        folded = text.casefold()
        if len(folded) == len(text):  # case folding never shortens, so every character kept its place
            return Folded(folded)
    return _fold_by_cluster(text)


def signs_of(folded: str) -> str:
    """What is neither letter nor blank in a folded ASCII text, in order; any other text whole.

    Most chat has next to none: whoever looks for what needs digits or signs asks here first.
    """
    return folded.encode().translate(None, _LETTERS).decode() if folded.isascii() else folded


def _fold_by_cluster(text: str) -> Folded:
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    at = 0
    for cluster in _clusters(text):
        folded = _fold_cluster(cluster)
        pieces.append(folded)
        starts.extend([at] * len(folded))
        at += len(cluster)
        ends.extend([at] * len(folded))
    return Folded("".join(pieces), starts, ends)


def _has_marks(text: str) -> bool:
    """Whether any character belongs to the one before it, and is masked with it."""
    return any(map(unicodedata.combining, text)) or _JAMO.search(text) is not None


def _clusters(text: str) -> list[str]:
    """Each base character with the combining marks and Hangul vowels and finals that compose with it."""
    starts = [at for at, char in enumerate(text) if not _has_marks(char)]
    if not starts or starts[0]:
        starts.insert(0, 0)
    clusters: list[str] = []
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        clusters += (text[at : min(at + _LONGEST, end)] for at in range(start, end, _LONGEST))
    return clusters


@lru_cache(maxsize=16_384)
def _fold_cluster(cluster: str) -> str:
    return unicodedata.normalize("NFKC", _INVISIBLE.sub("", cluster)).casefold()
