"""Finds links in folded text and tells whether a rule wants them. Cost is linear in the text."""

import re
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Final, NamedTuple

from infra.contracts.rules import Links
from streams.router.steps.folding import Span
from streams.router.steps.forms import CANON

#: What a link can be made of; what ends a sentence or closes a bracket is not part of it.
_WORD: Final = re.compile(r"[^\s<>\"'`(){}\[\]|,;*\u3002]+")
_TRAILING: Final = ".,:;!?…_"
#: The ideographic full stop, which browsers take for a dot; elsewhere it ends a sentence. Folding leaves no other.
_STOP: Final = re.compile(r"(?<=[a-z0-9])\u3002(?=[a-z0-9])")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]{0,15}://")
_HOST_END: Final = re.compile(r"[/?#\\]")
#: What no host holds, so that one begins or ends there; an underscore only at a label's edge.
_BETWEEN: Final = re.compile(r"(?:[^\w.:@-]|(?<![^\W_])_|_(?![^\W_]))+")
_LABEL: Final = re.compile(r"[^\W_](?:[\w-]{0,61}[^\W_])?")
_INNER_DOT: Final = re.compile(r"[.\u3002]\w")
#: A name without scheme, www and path is a link only under one of these: under others it may be a file or a full stop.
_COMMON: Final = frozenset(
    "com net org info biz edu gov io gg co ai app dev xyz online site shop store club link click live top vip win tk "  # noqa: SIM905 - a line each would be a page
    "ml ga cf gq ru cn de uk fr es it nl pl br jp kr eu us ca au".split()
)
#: Link shorteners in wide use.
SHORTENERS: Final = frozenset(
    "adf.ly bit.do bit.ly bitly.com buff.ly cutt.ly goo.gl is.gd lnkd.in ow.ly rb.gy rebrand.ly s.id shorturl.at "  # noqa: SIM905 - likewise
    "short.io shorte.st t.co t.ly tiny.cc tinyurl.com tr.im urlz.fr v.gd".split()
)


class Link(NamedTuple):
    """A link, its host decoded from Punycode, and whether it is one beyond doubt: a bare name may be a file's."""

    span: Span
    host: str
    sure: bool


def may_hold(text: str, signs: str) -> object:
    """Whether looking is worth while."""
    return ("." in signs or "\u3002" in signs) and _INNER_DOT.search(text)


def find_links(text: str) -> list[Link]:
    """Every link in the text, and whatever could be one."""
    found: list[Link] = []
    text = _STOP.sub(".", text)
    for match in _WORD.finditer(text):
        word = match.group()
        if "." not in word:
            continue
        word = word.rstrip(_TRAILING)
        scheme = _SCHEME.search(word)
        begin = scheme.end() if scheme else 0
        path = _HOST_END.search(word, begin)
        end = path.start() if path else len(word)
        at = word.rfind("@", begin, end)
        if scheme is None and at >= 0:
            continue  # an e-mail address
        parts = _parts(word, max(begin, at + 1), end)
        for place, (first, last) in enumerate(parts):
            before, _, behind = word[first:last].rpartition(":")
            host = (before if before and behind.isdigit() else behind).rstrip(".")  # `host:80` and `see:host`
            schemed = scheme if place == 0 else None
            pathed = path if place == len(parts) - 1 else None
            bare = schemed is None and not host.startswith("www.") and pathed is None
            if _is_host(host, bare):
                start, stop = schemed.start() if schemed else first, len(word) if pathed else last
                span = (match.start() + start, match.start() + stop)
                found.append(Link(span, _decoded(host), not bare or host.rpartition(".")[2] in _COMMON))
    return found


def _parts(word: str, start: int, end: int) -> list[Span]:
    """The stretches of this part of a word that may be hosts."""
    cuts = [(start, start), *(cut.span() for cut in _BETWEEN.finditer(word, start, end)), (end, end)]
    return [(first, last) for (_, first), (last, _) in pairwise(cuts) if first < last]


def finder(rule: Links) -> Callable[[str], list[Span]]:
    """The function that finds the links this rule does not want."""
    blocked = {_skeleton(name) for name in _domains(rule.blocked)}
    if rule.shorteners:
        blocked |= SHORTENERS
    allowed = set(_domains(rule.allowed))

    def find(text: str) -> list[Span]:
        unwanted = []
        count = 0
        for span, host, sure in find_links(text):
            count += sure
            if (blocked and _under(_skeleton(host), blocked)) or (
                sure
                and ((allowed and not _under(host, allowed)) or (rule.max_links is not None and count > rule.max_links))
            ):
                unwanted.append(span)
        return unwanted

    return find


def _domains(names: Iterable[str]) -> Iterable[str]:
    return (_decoded(name.casefold().removeprefix("www.")) for name in names)


def _under(host: str, domains: set[str] | frozenset[str]) -> bool:
    labels = host.split(".")
    return any(".".join(labels[first:]) in domains for first in range(max(0, len(labels) - 10), len(labels)))


def _is_host(host: str, bare: bool) -> bool:
    labels = host.split(".")
    if len(labels) < 2 or len(host) > 253 or not all(map(_LABEL.fullmatch, labels)):
        return False
    last = labels[-1]
    if last.isdigit():
        return not bare and len(labels) == 4
    return last.startswith("xn--") or not any(map(str.isdigit, last))


def _decoded(host: str) -> str:
    if "xn--" not in host:
        return host
    try:
        return host.encode("ascii").decode("idna").casefold()
    except UnicodeError:
        return host


def _skeleton(host: str) -> str:
    """The host with look-alikes as the letters they look like: a name that imitates a blocked one is blocked."""
    if host.isascii():
        return host
    return "".join(char if char in ".-" or not CANON[ord(char)].strip() else CANON[ord(char)] for char in host)
