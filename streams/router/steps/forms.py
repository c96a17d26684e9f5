"""The ways a reader may read a text that is written to fool a machine, each with the way back to the folded text.

`plain` joins the letters and digits of each word; `leet` takes digits and signs among letters for the letters they
resemble; `glued` drops punctuation inside of words ("b.a-d"); `spelled` joins letters that stand alone ("b a d").
Look-alikes of Latin letters are those letters, accents and other marks are dropped, and repeated letters are one
letter with a count. Every reading is made in time linear in the text.
"""

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from importlib import resources
from typing import Final, NamedTuple

import msgspec

#: Digits and signs that stand for a letter among letters. `1` may be an i or an l, and stays what it is.
LEET: Final = {"0": "o", "3": "e", "4": "a", "5": "s", "7": "t", "8": "b", "@": "a", "$": "s", "€": "e", "!": "i"}
_SIGNS: Final = "@$€!|"
#: Punctuation that is part of a name or number, as all symbols are: "c++", "18+", "@everyone", "at&t".
_NAMING: Final = "@#%&*"
_SYMBOLS: Final = ("Sc", "Sm", "So")
#: These end a sentence more often than they stand for a letter: they count between letters only.
_BETWEEN: Final = "!|"
#: A gap without white space of at most so many characters may be dropped.
_NARROW: Final = 2
#: Between two words of letters these make one of them, but not the word of all their letters: "he'll", "KY's".
_APOSTROPHES: Final = frozenset("'`\u2018\u2019\u2032")
#: So many letters that stand alone, equally far apart, are one word.
_SPELLED: Final = 3
#: Squared and regional letters, which no normalization turns into letters.
_BLOCKS: Final = (0x1F130, 0x1F150, 0x1F170, 0x1F1E6)


class Kind(Enum):
    """Which reading."""

    PLAIN = "plain"
    LEET = "leet"
    GLUED = "glued"
    SPELLED = "spelled"


class Cell(NamedTuple):
    """One visible character of a word, where it stands in the folded text, and whether it is a letter by itself."""

    char: str
    start: int
    end: int
    letter: bool


#: A word with the width of the gap behind it; white space makes a gap at least `_NARROW + 1` wide.
Word = tuple[list[Cell], int]


@dataclass(slots=True)
class Reading:
    """Words separated by single spaces, runs of one letter as one. By place in `text`: how often the letter stands
    there, how many of those are letters by themselves, and the stretch of the folded text."""

    kind: Kind
    text: str = ""
    runs: list[int] = field(default_factory=list)
    letters: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)


@cache
def look_alikes() -> dict[str, str]:
    """The ASCII letter that each of these folded characters looks like."""
    file = resources.files("streams.router") / "rules" / "look_alikes.json"
    letters = msgspec.json.decode(file.read_bytes())["letters"]
    found = {char: letter for letter, chars in letters.items() for char in chars}
    found |= {chr(block + place): chr(97 + place) for block in _BLOCKS for place in range(26)}
    return found


class Canon(dict[int, str]):
    """What each folded character is taken for: a letter or digit, a sign of `LEET`, `""` for a mark, else a space.

    Filled as characters are met; there are few.
    """

    def __missing__(self, code: int) -> str:
        if len(self) > 20_000:
            self.clear()
        self[code] = found = _canonical(chr(code))
        return found


CANON: Final = Canon()


def _canonical(char: str) -> str:
    if (letter := look_alikes().get(char)) is not None:
        return letter
    if unicodedata.category(char) in ("Mn", "Me"):
        return ""
    base = unicodedata.normalize("NFD", char)[0]
    if base.isascii() and base.isalpha():
        return base
    return char if char.isalnum() or char in _SIGNS else " "


def signs_in(folded: str) -> set[str]:
    """The signs without which this would say something else; punctuation is none of them."""
    return {
        char
        for at, char in enumerate(folded)
        if (
            folded[at - 1 : at].isalnum() and folded[at + 1 : at + 2].isalnum()
            if char in _BETWEEN
            else char in _NAMING or unicodedata.category(char) in _SYMBOLS
        )
        and not CANON[ord(char)].isalnum()
    }


def readings(folded: str, *, term: bool = False) -> Iterator[Reading]:
    """Every reading that differs from those before it; `plain` always.

    Of a `term`, also the one without its apostrophes, which many leave out; a text is read with those it has.
    """
    words = _words(folded)
    yield _reading(Kind.PLAIN, _without_signs(words))
    read = [_leet(word) for word in words]
    if read != words:
        yield _reading(Kind.LEET, read)
    glued = _glue(words, "" if term else folded)
    if len(glued) != len(words):
        yield _reading(Kind.GLUED, map(_leet, glued))
    spelled = _spell(glued)
    if len(spelled) != len(glued):
        yield _reading(Kind.SPELLED, map(_leet, spelled))


def _words(folded: str) -> list[Word]:
    """The words of a text, signs among them."""
    words: list[Word] = []
    cells: list[Cell] = []
    gap = 0
    for at, char in enumerate(folded):
        taken = CANON[ord(char)]
        if taken == " ":
            gap += _NARROW + 1 if char.isspace() else 1
        elif taken:
            if gap and cells:
                words.append((cells, gap))
                cells = []
            gap = 0
            cells.append(Cell(taken, at, at + 1, taken.isalpha()))
        elif cells and not gap:
            cells[-1] = cells[-1]._replace(end=at + 1)
    if cells:
        words.append((cells, gap))
    return words


def _without_signs(words: Iterable[Word]) -> Iterator[Word]:
    for cells, gap in words:
        run: list[Cell] = []
        for cell in cells:
            if cell.char not in _SIGNS:
                run.append(cell)
            elif run:
                yield run, 1
                run = []
        if run:
            yield run, gap


def _leet(word: Word) -> Word:
    """Letters for what stands among letters; a word without any stays as it is."""
    cells, gap = word
    if all(cell.letter for cell in cells) or not any(cell.letter for cell in cells):
        return word
    read: list[Cell] = []
    for place, cell in enumerate(cells):
        if cell.char in _BETWEEN and not 0 < place < len(cells) - 1:
            continue
        char = "1" if cell.char == "|" else LEET.get(cell.char, cell.char)
        read.append(cell._replace(char=char))
    return read, gap


def _glue(words: Iterable[Word], folded: str) -> list[Word]:
    """Words with nothing but a little punctuation between them are one, unless it is a single apostrophe."""
    found: list[Word] = []
    pending: list[Word] = []
    for word in words:
        pending.append(word)
        if not 0 < word[1] <= _NARROW:
            _join_words(pending, folded, found)
            pending = []
    if pending:
        _join_words(pending, folded, found)
    return found


def _join_words(run: list[Word], folded: str, found: list[Word]) -> None:
    if len(run) == 2:
        (before, gap), (behind, _) = run
        last = before[-1]
        if gap == 1 and folded[last.end : last.end + 1] in _APOSTROPHES and last.letter and behind[0].letter:
            found.extend(run)
            return
    found.append(([cell for cells, _ in run for cell in cells], run[-1][1]))


def _spell(words: Iterable[Word]) -> list[Word]:
    """Letters that stand alone, equally far apart, are one word."""
    found: list[Word] = []
    run: list[Word] = []
    for word in words:
        if len(word[0]) != 1 or (run and run[-1][1] != run[0][1]):
            _join_letters(run, found)
            run = []
        if len(word[0]) == 1:
            run.append(word)
        else:
            found.append(word)
    _join_letters(run, found)
    return found


def _join_letters(run: list[Word], found: list[Word]) -> None:
    if len(run) >= _SPELLED:
        found.append(([cell for cells, _ in run for cell in cells], run[-1][1]))
    else:
        found.extend(run)


def _reading(kind: Kind, words: Iterable[Word]) -> Reading:
    reading = Reading(kind)
    chars: list[str] = []
    runs, letters, starts, ends = reading.runs, reading.letters, reading.starts, reading.ends
    for cells, _ in words:
        if chars:
            chars.append(" ")
            runs.append(1)
            letters.append(0)
            starts.append(ends[-1])
            ends.append(ends[-1])
        last = ""
        for char, start, end, letter in cells:
            if char == last:
                runs[-1] += 1
                letters[-1] += letter
                ends[-1] = end
            else:
                chars.append(char)
                runs.append(1)
                letters.append(int(letter))
                starts.append(start)
                ends.append(end)
                last = char
    reading.text = "".join(chars)
    return reading
