"""Finds e-mail addresses, phone numbers and payment cards in folded text. Cost is linear in the text."""

import re
from collections.abc import Callable, Iterator
from typing import Final

from phonenumbers import Leniency, PhoneNumberMatcher

from infra.contracts.rules import Personal
from streams.router.steps.folding import Span

Finder = Callable[[str], list[Span]]
#: Whether a text, and what is no letter in it, may hold something at all: told before it is looked for.
Hint = Callable[[str, str], object]

_LOCAL_PART: Final = re.compile(r"[\w.%+\-]")
_DOMAIN: Final = re.compile(r"(?:[^\W_](?:[\w-]{0,62})\.){1,8}[^\W\d_]{2,24}")
_LOCAL_MAX: Final = 64
#: Seven digits with little between them: without that there is no phone number and no card.
_FEWEST_DIGITS: Final = 7
_DIGITS: Final = re.compile(r"\d(?:[^\w\n]{0,3}\d){6}")
_ASCII_DIGITS: Final = re.compile(r"[0-9](?:[^\w\n]{0,3}[0-9]){6}")
_CARD_RUN: Final = re.compile(r"\d+(?:[ -]\d+)*")
_CARD_DIGITS: Final = range(13, 20)
#: Major industry identifiers of payment cards (ISO/IEC 7812-1); a timestamp begins with 1.
_CARD_FIRST: Final = frozenset("23456")
#: Candidates the phone matcher looks at in one text; more is not a message but an attack on the matcher.
_PHONE_TRIES: Final = 100


def has_at(_: str, signs: str) -> bool:
    """Whether there may be an e-mail address."""
    return "@" in signs


def has_digits(text: str, signs: str) -> object:
    """Whether there may be a phone number or a card."""
    return len(signs) >= _FEWEST_DIGITS and (_ASCII_DIGITS if text.isascii() else _DIGITS).search(text)


def hint(rule: Personal) -> Hint:
    """The function that tells whether looking is worth while; rules that need the same share it."""
    return has_at if rule.finds == "email" else has_digits


def finder(rule: Personal) -> Finder:
    """The function that finds what this rule is about."""
    match rule.finds:
        case "email":
            return find_emails
        case "card":
            return find_cards
        case "phone":
            return lambda text: find_phones(text, rule.region)


def find_emails(text: str) -> list[Span]:
    """Addresses with a dotted domain (the practical part of RFC 5321 section 4.1.2)."""
    found: list[Span] = []
    at = text.find("@")
    while at >= 0:
        domain = _DOMAIN.match(text, at + 1)
        if domain is not None:
            start = at
            while start > 0 and at - start < _LOCAL_MAX and _LOCAL_PART.match(text, start - 1):
                start -= 1
            if start < at:
                found.append((start, domain.end()))
        at = text.find("@", at + 1)
    return found


def find_phones(text: str, region: str | None) -> list[Span]:
    """Numbers that are valid where they are dialled, as libphonenumber's matcher finds them."""
    return [
        (match.start, match.end)
        for match in PhoneNumberMatcher(text, region, leniency=Leniency.VALID, max_tries=_PHONE_TRIES)
    ]


def find_cards(text: str) -> list[Span]:
    """Runs of 13 to 19 digits, single spaces or hyphens between their groups, that pass Luhn's check."""
    return [span for run in _CARD_RUN.finditer(text) for span in _cards_in(run.group(), run.start())]


def luhn(digits: str) -> bool:
    """ISO/IEC 7812-1 annex B: whether the last digit checks the others."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _cards_in(run: str, offset: int) -> Iterator[Span]:
    groups = [(group.start(), group.end()) for group in re.finditer(r"\d+", run)]
    first = 0
    while first < len(groups):
        taken = 0
        if run[groups[first][0]] in _CARD_FIRST:
            digits = ""
            for place in range(first, len(groups)):
                digits += run[slice(*groups[place])]
                if len(digits) > _CARD_DIGITS.stop - 1:
                    break
                if len(digits) in _CARD_DIGITS and luhn(digits):
                    taken = place - first + 1
        if taken:
            yield offset + groups[first][0], offset + groups[first + taken - 1][1]
        first += taken or 1
