"""Finds the terms of every block and allow list, in disguise as well, in time linear in the text.

One pass of an automaton over a text's bare letters tells whether any term can be there at all; most texts end there.
The others are read in every way that `forms` knows, and each term found is looked at once more: how often its letters
stand there, how many of them are letters, and whether it is a word of its own.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, compress
from operator import ne
from typing import Any, Final

import ahocorasick

from infra.contracts.rules import AllowList, BlockList
from streams.router.steps.folding import Span, fold
from streams.router.steps.forms import CANON, LEET, Kind, Reading, readings, signs_in

#: Letters that hardly any word has twice in a row: twice is once drawn out. Others are from three on.
_RARELY_DOUBLED: Final = frozenset("ahijkquvwxy")
_DRAWN_OUT: Final = 3
#: A word of look-alikes alone is a word of another script unless it has so many letters.
_FOREIGN: Final = 4
#: A term with more letters that `1` may stand for is looked for with all or one of them written so.
_ONES: Final = 5
_MAX_ONES: Final = 8
#: Scripts that put no spaces between words.
_UNSPACED: Final = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")

#: Bare letters of ASCII text: without signs, and with signs taken for letters.
_DROPPED: Final = bytes(code for code in range(128) if not chr(code).isalnum())
_KEPT_SIGNS: Final = bytes(code for code in _DROPPED if chr(code) not in "@$!|")
_BARE: Final = bytes(ord(LEET.get(chr(code), chr(code))) if chr(code).isdigit() else code for code in range(256))
_READ: Final = bytes(
    ord("1") if chr(code) == "|" else ord(LEET[chr(code)]) if code < 128 and chr(code) in LEET else code
    for code in range(256)
)
_has_signs: Final = re.compile("[@$!|€]").search


@dataclass(frozen=True, slots=True)
class _Use:
    """A term as one of its forms spells it, for one list."""

    place: int
    shields: bool
    #: A list's own allowed phrase shields from that list alone.
    only_own: bool
    whole_word: bool
    #: As it must stand there if the list wants no disguises.
    literal: str | None
    folded: str
    runs: tuple[int, ...]
    #: Letters that carry a mark of their own, by place.
    marked: tuple[tuple[int, str], ...]
    spelled: bool


@dataclass(slots=True)
class Found:
    """Where lists found something, by place in the rule set: their terms, and the phrases that shield."""

    terms: dict[int, list[Span]]
    shields: list[tuple[int, bool, Span]]


class WordLists:
    """Block and allow lists, compiled; each with its place in the rule set. Immutable once made."""

    def __init__(self, lists: Sequence[tuple[int, BlockList | AllowList]]) -> None:
        uses: dict[str, list[_Use]] = {}
        literals: dict[str, list[_Use]] = {}
        bare: set[str] = set()
        for place, rule in lists:
            for term, shields in _terms_of(rule):
                found = list(_forms(term, place, rule, shields))
                for text, use in found:
                    if text:
                        uses.setdefault(_squeeze(text)[0], []).append(use)
                    else:
                        literals.setdefault(use.folded, []).append(use)
                if not shields:
                    # As `may_hold` sees a text: with and without its digits and signs taken for letters.
                    spellings = [text for text, _ in found if text]
                    bare |= {text.replace(" ", "") for text in spellings}
                    bare |= {_letters(text, signs) for text in spellings for signs in (False, True)}
        self._forms = _automaton({text: (len(text), tuple(found)) for text, found in uses.items()})
        self._literals = _automaton({text: (len(text), tuple(found)) for text, found in literals.items()})
        # Beside the terms, the runs of letters behind which a drawn-out one may hide.
        letters = set("".join(bare))
        runs = {letter * (2 if letter in _RARELY_DOUBLED else _DRAWN_OUT) for letter in letters}
        self._bare = _automaton(dict.fromkeys(runs, False) | dict.fromkeys(bare, True))
        self._squeezed = _automaton({_squeeze(text)[0]: True for text in bare})
        self.shields = any(use.shields for found in (*uses.values(), *literals.values()) for use in found)

    def may_hold(self, folded: str, signs: str) -> bool:
        """Whether a term could be in this text, of which `signs` is all but letters and spaces.

        Told in a fraction of the time it takes to look.
        """
        if self._bare is not None:
            letters = _letters(folded, False) if signs else folded.replace(" ", "")
            hit = next(self._bare.iter(letters), None)
            if hit is not None and (hit[1] or self._drawn_out(letters)):
                return True
            if signs and _has_signs(signs):
                letters = _letters(folded, True)
                hit = next(self._bare.iter(letters), None)
                if hit is not None and (hit[1] or self._drawn_out(letters)):
                    return True
        return self._literals is not None and next(self._literals.iter(folded), None) is not None

    def _drawn_out(self, letters: str) -> bool:
        """Whether a term is there with each letter once, or behind what is no term."""
        squeezed = "".join(compress(letters, map(ne, letters, " " + letters)))
        return next(self._squeezed.iter(squeezed), None) is not None or any(
            is_term for _, is_term in self._bare.iter(letters)
        )

    def find(self, folded: str) -> Found:
        """Every term and every shielding phrase in this text; longer terms hide those within them."""
        terms: dict[int, list[Span]] = {}
        shields: set[tuple[int, bool, Span]] = set()
        for span, use in self._matches(folded):
            if use.shields:
                shields.add((use.place, use.only_own, span))
            else:
                terms.setdefault(use.place, []).append(span)
        return Found({place: outermost(spans) for place, spans in terms.items()}, sorted(shields))

    def _matches(self, folded: str) -> Iterator[tuple[Span, _Use]]:
        for last, (length, uses) in self._literals.iter(folded) if self._literals is not None else ():
            first = last + 1 - length
            for use in uses:
                if not use.whole_word or _stands_apart(folded, first, last):
                    yield (first, last + 1), use
        if self._forms is None:
            return
        for reading in readings(folded):
            for last, (length, uses) in self._forms.iter(reading.text):
                first = last + 1 - length
                for use in uses:
                    if _stands(reading, first, last, use, folded):
                        yield (reading.starts[first], reading.ends[last]), use


def outermost(spans: list[Span]) -> list[Span]:
    """The spans in order, without those that lie within another."""
    kept: list[Span] = []
    for span in sorted(spans, key=lambda s: (s[0], -s[1])):
        if not kept or span[1] > kept[-1][1]:
            kept.append(span)
    return kept


def _terms_of(rule: BlockList | AllowList) -> Iterator[tuple[str, bool]]:
    blocks = isinstance(rule, BlockList)
    yield from ((term, not blocks) for term in rule.terms)
    if isinstance(rule, BlockList):
        yield from ((phrase, True) for phrase in rule.allow)


def _forms(term: str, place: int, rule: BlockList | AllowList, shields: bool) -> Iterator[tuple[str, _Use]]:
    """How the readings spell this term; an empty text for as it is written, if it has no letter or if it has signs.

    Without its signs a term is another one, so nothing that leaves them out is its form.
    """
    folded = fold(term).text
    disguised = shields or not isinstance(rule, BlockList) or rule.disguised
    whole_word = shields or not isinstance(rule, BlockList) or rule.whole_word
    only_own = shields and isinstance(rule, BlockList)

    def use(text: str, marked: tuple[tuple[int, str], ...] = (), spelled: bool = False) -> tuple[str, _Use]:
        literal = None if disguised else folded
        runs = _squeeze(text)[1]
        return text, _Use(place, shields, only_own, whole_word, literal, folded, runs, marked, spelled)

    seen: set[str] = set()
    signs = signs_in(folded)
    if signs or not any(map(str.isalnum, folded)):
        yield use("")
    for reading in readings(folded, term=True):
        if signs and (reading.kind is Kind.PLAIN or not signs <= LEET.keys()):
            continue
        text = "".join(char * run for char, run in zip(reading.text, reading.runs, strict=True))
        marked = tuple((at, folded[start]) for at, start in enumerate(reading.starts) if _is_marked(folded[start]))
        for written in [text] if marked else _with_ones(text):
            if written and written not in seen:
                seen.add(written)
                yield use(written, marked)
        joined = text.replace(" ", "")
        if joined != text and not marked and joined not in seen:
            yield use(joined, spelled=True)


def _stands(reading: Reading, first: int, last: int, use: _Use, folded: str) -> bool:
    """Whether this term really stands there, now that its letters were found in their order."""
    start, end = reading.starts[first], reading.ends[last]
    if use.whole_word and not _alone(reading.text, first, last):
        return False
    if use.literal is not None:
        return reading.kind is Kind.PLAIN and folded[start:end] == use.literal
    if folded[start:end] == use.folded:
        return True
    if use.spelled and reading.kind is not Kind.SPELLED:
        return False
    letters = total = 0
    native = False
    for place, wanted in zip(range(first, last + 1), use.runs, strict=True):
        char, run = reading.text[place], reading.runs[place]
        if char == " ":
            continue
        # Within a longer word, what stands around may go on with the same letter.
        open_ended = not use.whole_word and place in (first, last)
        if run != wanted and not (
            (run >= wanted and (run >= _DRAWN_OUT or open_ended))
            or (run == 2 and wanted == 1 and char in _RARELY_DOUBLED)
        ):
            return False
        letters += reading.letters[place]
        total += run
        native = native or folded[reading.starts[place]].isascii()
    if letters * 2 < total or not (native or total >= _FOREIGN):
        return False
    return all(folded[reading.starts[first + place]] == char for place, char in use.marked)


def _stands_apart(folded: str, first: int, last: int) -> bool:
    """Whether no word goes on before or behind what is compared as it is written."""
    before, behind = folded[first - 1 : first] if first else "", folded[last + 1 : last + 2]
    return not (folded[first].isalnum() and before.isalnum()) and not (folded[last].isalnum() and behind.isalnum())


def _alone(text: str, first: int, last: int) -> bool:
    """Whether no word goes on before or behind."""
    before, behind = text[first - 1 : first], text[last + 1 : last + 2]
    return (before in ("", " ") or bool(_UNSPACED.match(text[first]))) and (
        behind in ("", " ") or bool(_UNSPACED.match(text[last]))
    )


def _letters(folded: str, signs: bool) -> str:
    """The text without anything but letters and digits, those read as letters; with signs read so, too, if asked."""
    if folded.isascii():
        table, dropped = (_READ, _KEPT_SIGNS) if signs else (_BARE, _DROPPED)
        return folded.encode().translate(table, dropped).decode()
    kept = folded.translate(CANON).replace(" ", "")
    if signs:
        return "".join("1" if char == "|" else LEET.get(char, char) for char in kept)
    return "".join(LEET.get(char, char) for char in kept if char not in "@$€!|")


def _squeeze(text: str) -> tuple[str, tuple[int, ...]]:
    """Repeated letters as one, and how often each stood there."""
    chars: list[str] = []
    runs: list[int] = []
    for char in text:
        if chars and chars[-1] == char:
            runs[-1] += 1
        else:
            chars.append(char)
            runs.append(1)
    return "".join(chars), tuple(runs)


def _with_ones(text: str) -> Iterator[str]:
    """The text, and with `1` for an i or an l: every choice of a few of them, else all or one."""
    places = [at for at, char in enumerate(text) if char in "il"]
    sizes = range(1, len(places) + 1) if len(places) <= _ONES else (1, len(places))
    yield text
    for size in sizes if len(places) <= _MAX_ONES else ():
        for chosen in combinations(places, size):
            yield "".join("1" if at in chosen else char for at, char in enumerate(text))


def _is_marked(char: str) -> bool:
    """Whether this is a Latin letter with a mark, which another letter than the one without."""
    base = unicodedata.normalize("NFD", char)[0]
    return not char.isascii() and base.isascii() and base.isalpha()


def _automaton(words: dict[str, Any]) -> Any:
    if not words:
        return None
    automaton = ahocorasick.Automaton()
    for word, value in words.items():
        automaton.add_word(word, value)
    automaton.make_automaton()
    return automaton
