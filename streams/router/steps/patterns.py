"""Finds what operators' expressions match. RE2 alone runs them: its time is linear in the text, whatever they say."""

from itertools import chain, islice
from typing import Any, Final

import re2

from infra.contracts.rules import Pattern
from streams.router.steps.folding import Span

#: Matches of one rule in one text, at most.
_MAX_MATCHES: Final = 1_000


class Patterns:
    """The expressions of one rule, compiled.

    Raises `ValueError` for one that RE2 refuses or that matches any text, and for more than RE2 can look for at once.
    """

    def __init__(self, rule: Pattern) -> None:
        options = re2.Options()
        options.case_sensitive = False
        options.log_errors = False
        self._any = re2.Set.SearchSet(options)
        self._each: list[Any] = []
        for expression in rule.patterns:
            try:
                compiled = re2.compile(expression, options)
            except re2.error as error:
                reason = error.args[0].decode() if isinstance(error.args[0], bytes) else error
                raise ValueError(f"rule {rule.id}: RE2 refuses {expression!r}: {reason}") from None
            if compiled.search("") is not None:
                raise ValueError(f"rule {rule.id}: {expression!r} matches the empty text, and so every message")
            self._each.append(compiled)
            self._any.Add(expression)
        try:
            self._any.Compile()
        except re2.error:
            raise ValueError(f"rule {rule.id}: its patterns together are more than RE2 can look for at once") from None

    def find(self, text: str) -> list[Span]:
        """Where any of the expressions matches."""
        matches = chain.from_iterable(self._each[number].finditer(text) for number in self._any.Match(text) or ())
        return [match.span() for match in islice(matches, _MAX_MATCHES) if match.end() > match.start()]
