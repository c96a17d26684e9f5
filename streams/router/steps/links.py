"""Finds links in folded text and tells whether a rule wants them. Cost is linear in the text."""

import re
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from infra.contracts.rules import Links
from streams.router.steps.folding import Span
from streams.router.steps.forms import CANON

#: What a link can be made of; what ends a sentence or closes a bracket is not part of it.
_WORD: Final = re.compile(r"[^\s<>\"'`(){}\[\]|,;*]+")
_TRAILING: Final = ".,:;!?…"
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]{0,15}://")
_HOST_END: Final = re.compile(r"[/?#\\]")
_LABEL: Final = re.compile(r"[^\W_](?:[\w-]{0,61}[^\W_])?")
_INNER_DOT: Final = re.compile(r"\.\w")
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
    return "." in signs and _INNER_DOT.search(text)


def find_links(text: str) -> list[Link]:
    """Every link in the text, and whatever could be one."""
    found: list[Link] = []
    for match in _WORD.finditer(text):
        word = match.group()
        if "." not in word:
            continue
        word = word.rstrip(_TRAILING)
        scheme = _SCHEME.search(word)
        start = scheme.start() if scheme else 0
        rest = word[scheme.end() :] if scheme else word
        end = _HOST_END.search(rest)
        authority = rest[: end.start()] if end else rest
        if scheme is None and "@" in authority:
            continue  # an e-mail address
        before, _, behind = authority.rpartition("@")[2].rpartition(":")
        host = (before if before and behind.isdigit() else behind).rstrip(".")  # `host:80` and `see:host`
        bare = scheme is None and not host.startswith("www.") and end is None
        if _is_host(host, bare):
            span = (match.start() + start, match.start() + len(word))
            found.append(Link(span, _decoded(host), not bare or host.rpartition(".")[2] in _COMMON))
    return found


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
