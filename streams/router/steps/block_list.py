"""Finds the terms of every block list in one pass over folded text."""

from collections.abc import Sequence
from typing import Any, Final

import ahocorasick

from streams.router.steps.folding import Span, fold
from streams.router.steps.rules import BlockList

#: Marks an `allow` phrase in the automaton.
_ALLOW: Final = -1


class BlockLists:
    """Block lists compiled into one Aho-Corasick automaton. Immutable once made."""

    def __init__(self, lists: Sequence[BlockList]) -> None:
        self.lists = tuple(lists)
        terms: dict[str, list[tuple[int, int]]] = {}
        for place, rule in enumerate(self.lists):
            for term in rule.terms:
                terms.setdefault(fold(term).text, []).append((place, place))
            for phrase in rule.allow:
                terms.setdefault(fold(phrase).text, []).append((_ALLOW, place))
        self._automaton: Any = None
        if terms:
            self._automaton = ahocorasick.Automaton()
            for term, uses in terms.items():
                self._automaton.add_word(term, (len(term), tuple(uses)))
            self._automaton.make_automaton()

    def find(self, text: str) -> list[tuple[BlockList, list[Span]]]:
        """The lists with a term in this folded text, each with where; longer terms hide those within them."""
        if self._automaton is None or not (found := list(self._automaton.iter(text))):
            return []
        hits: dict[int, list[Span]] = {}
        allowed: dict[int, list[Span]] = {}
        for last, (length, uses) in found:
            span = (last + 1 - length, last + 1)
            whole = _stands_alone(text, *span)
            for kind, place in uses:
                if kind == _ALLOW:
                    if whole:
                        allowed.setdefault(place, []).append(span)
                elif whole or not self.lists[place].whole_word:
                    hits.setdefault(place, []).append(span)
        standing = []
        for place in sorted(hits):
            spans = [s for s in hits[place] if not any(a <= s[0] and s[1] <= b for a, b in allowed.get(place, ()))]
            if spans:
                standing.append((self.lists[place], outermost(spans)))
        return standing


def outermost(spans: list[Span]) -> list[Span]:
    """The spans in order, without those that lie within another."""
    kept: list[Span] = []
    for span in sorted(spans, key=lambda s: (s[0], -s[1])):
        if not kept or span[1] > kept[-1][1]:
            kept.append(span)
    return kept


def _stands_alone(text: str, start: int, end: int) -> bool:
    before = text[start - 1] if start else " "
    after = text[end] if end < len(text) else " "
    return not (_in_word(before) or _in_word(after))


def _in_word(char: str) -> bool:
    return char.isalnum() or char == "_"
