"""Judges a message by a set of rules: a verdict is a function of the message, the rules and what was said before it.

The order of the rules, what an allow rule covers and which action is done: see `infra.contracts.rules`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from infra.contracts.events import MESSAGE_EDITED, MESSAGE_SENT, Event
from infra.contracts.records import Action, Severity, Verdict
from infra.contracts.rules import (
    AllowList,
    BlockList,
    Flood,
    Language,
    Links,
    Pattern,
    Personal,
    Repetition,
    Rule,
)
from streams.router.steps import languages, links, personal
from streams.router.steps.folding import Folded, Span, fold, signs_of
from streams.router.steps.memory import Reach, Recall, counter_of
from streams.router.steps.patterns import Patterns
from streams.router.steps.scopes import Applies, applies
from streams.router.steps.word_lists import WordLists, outermost

#: The types whose text is judged.
JUDGED: Final = frozenset({MESSAGE_SENT, MESSAGE_EDITED})

Judging = BlockList | Pattern | Personal | Links | Repetition | Flood | Language
#: Whether a text, and what is no letter in it, may hold something at all: told before it is looked for.
Hint = Callable[[str, str], object]
Finder = Callable[[str], list[Span]]

_STRENGTH: Final = {action: place for place, action in enumerate(Action)}
_GRAVITY: Final = {severity: place for place, severity in enumerate(Severity)}
_WHAT: Final = {"email": "an e-mail address", "phone": "a phone number", "card": "a payment card number"}
#: Masking can lay a word bare that stood against what was masked; this often it is looked for.
_MAX_PASSES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the rules say of one message: every verdict, the one that stops it if any, and the masked text."""

    verdicts: tuple[Verdict, ...]
    stop: Verdict | None
    text: str

    @property
    def rule_header(self) -> bytes:
        """`id@version` of the rule that stopped the message, else of all that masked it; empty if none did."""
        named = (self.stop,) if self.stop else (verdict for verdict in self.verdicts if not verdict.shadow)
        return ",".join(f"{verdict.rule}@{verdict.version}" for verdict in named).encode()


@dataclass(frozen=True, slots=True)
class _Finding:
    """What one rule found: where in the text, or nothing of it where the message as a whole is meant."""

    place: int
    rule: Judging
    action: Action
    spans: list[Span]


class Judge:
    """The rules, compiled. Raises `ValueError`, naming the rule, for one that cannot be used."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = tuple(rules)
        self._scopes: list[Applies | None] = [applies(rule.scope) for rule in self._rules]
        lists: list[tuple[int, BlockList | AllowList]] = []
        #: What looks for something in the text: those that can be told to be idle by the same hint together.
        finders: dict[Hint, list[tuple[int, Finder]]] = {}
        self._exempting: list[int] = []
        self._counting: list[tuple[int, Repetition | Flood]] = []
        self._foreign: list[tuple[int, Language]] = []
        for place, rule in enumerate(self._rules):
            match rule:
                case AllowList(terms=()):
                    self._exempting.append(place)
                case BlockList() | AllowList():
                    lists.append((place, rule))
                case Pattern():
                    finders.setdefault(_always, []).append((place, Patterns(rule).find))
                case Personal():
                    finders.setdefault(personal.hint(rule), []).append((place, personal.finder(rule)))
                case Links():
                    finders.setdefault(links.may_hold, []).append((place, links.finder(rule)))
                case Repetition() | Flood():
                    self._counting.append((place, rule))
                case Language():
                    languages.check(rule)
                    self._foreign.append((place, rule))
        self._finders = tuple(finders.items())
        self._always = tuple((hint, found) for hint, found in finders.items() if hint is _always)
        self._words = WordLists(lists)
        self._shielding = self._words.shields or any(_allows(rule) for rule in self._rules)
        self.idle = not self._rules
        self.reach = Reach(
            seconds=max((rule.seconds for _, rule in self._counting), default=0),
            counters=frozenset(counter_of(rule) for _, rule in self._counting),
        )
        self._check_replacements()

    def judge(self, event: Event, folded: Folded, recall: Recall | None = None) -> Judgement | None:
        """None when no rule has anything to say. Without `recall`, rules that count say nothing."""
        limit = self._limit(event) if self._exempting else len(self._rules)
        found = self._pass(event, folded, limit)
        if self._counting or self._foreign:
            found += self._whole(event, folded, limit, recall)
        if not found:
            return None
        found.sort(key=lambda finding: finding.place)
        text = event.text or ""
        verdicts: dict[int, Verdict] = {}
        for _ in range(_MAX_PASSES):
            spans: list[tuple[Span, str]] = []
            for finding in found:
                rule = finding.rule
                verdicts[finding.place] = _verdict(finding, verdicts.get(finding.place))
                if finding.action is Action.MASK and not rule.shadow:
                    assert isinstance(rule, BlockList | Pattern | Personal | Links)
                    spans.extend((span, rule.replacement) for span in finding.spans)
            if not spans:
                break
            text = mask(text, spans)
            found = self._pass(event, fold(text), limit)
        ordered = tuple(verdicts[place] for place in sorted(verdicts))
        stops = [verdict for verdict in ordered if verdict.action is not Action.MASK and not verdict.shadow]
        stop = max(stops, key=lambda v: (_STRENGTH[v.action], _GRAVITY[v.severity]), default=None)
        return Judgement(verdicts=ordered, stop=stop, text=text)

    def _limit(self, event: Event) -> int:
        """The first place that does not look at this event, because the rule there lets it pass."""
        for place in self._exempting:
            if self._in_scope(place, event):
                return place
        return len(self._rules)

    def _in_scope(self, place: int, event: Event) -> bool:
        scope = self._scopes[place]
        return scope is None or scope(event)

    def _pass(self, event: Event, folded: Folded, limit: int) -> list[_Finding]:
        """What stands in this text, by rules that look for it there."""
        text = folded.text
        signs = signs_of(text)
        words = self._words.find(text) if self._words.may_hold(text, signs) else None
        spans: dict[int, list[Span]] = {}
        if words is not None:
            spans = {p: s for p, s in words.terms.items() if p < limit and self._in_scope(p, event)}
        for hint, finders in self._finders if signs else self._always:
            if hint(text, signs):
                for place, find in finders:
                    if place < limit and self._in_scope(place, event) and (found := find(text)):
                        spans[place] = found
        if not spans:
            return []
        if self._shielding:
            words = words or self._words.find(text)
            spans = self._unshielded(spans, [s for s in words.shields if self._in_scope(s[0], event)])
        return [
            _Finding(place, rule, Action(rule.action), outermost([folded.original(*span) for span in spans[place]]))
            for place in spans
            if not isinstance(rule := self._rules[place], AllowList)
        ]

    def _unshielded(self, spans: dict[int, list[Span]], shields: list[tuple[int, bool, Span]]) -> dict[int, list[Span]]:
        """Without what lies within a stretch that an allow rule above it covers."""
        allowing = [place for place in spans if _allows(self._rules[place])]
        shields = shields + [(place, False, span) for place in allowing for span in spans.pop(place)]
        kept = {}
        for place, found in spans.items():
            covers = [span for by, only_own, span in shields if (by == place if only_own else by < place)]
            standing = found if not covers else _outside(found, covers)
            if standing:
                kept[place] = standing
        return kept

    def _whole(self, event: Event, folded: Folded, limit: int, recall: Recall | None) -> list[_Finding]:
        """What is said of the message as a whole."""
        found: list[_Finding] = []
        for place, rule in self._counting if recall is not None else ():
            assert recall is not None
            if place < limit and self._in_scope(place, event) and recall.exceeds(rule):
                found.append(_Finding(place, rule, Action(rule.action), []))
        for place, language in self._foreign:
            if place < limit and self._in_scope(place, event) and languages.is_foreign(language, folded.text):
                found.append(_Finding(place, language, Action(language.action), []))
        return found

    def _check_replacements(self) -> None:
        for rule in self._rules:
            if not isinstance(rule, BlockList | Pattern | Personal | Links) or rule.action != "mask":
                continue
            folded = fold(rule.replacement)
            found = self._words.find(folded.text).terms or any(
                find(folded.text)
                for _, finders in self._finders
                for place, find in finders
                if not _allows(self._rules[place])
            )
            if found:
                raise ValueError(f"the replacement of rule {rule.id} is itself found by a rule")


def mask(text: str, spans: list[tuple[Span, str]]) -> str:
    """The text with each span replaced; of spans that overlap, their union by what replaces the first."""
    pieces: list[str] = []
    at = 0
    ordered = sorted(spans, key=lambda found: (found[0][0], -found[0][1]))
    place = 0
    while place < len(ordered):
        (start, end), replacement = ordered[place]
        place += 1
        while place < len(ordered) and ordered[place][0][0] < end:
            end = max(end, ordered[place][0][1])
            place += 1
        pieces += (text[at:start], replacement)
        at = end
    pieces.append(text[at:])
    return "".join(pieces)


def _always(_: str, __: str) -> bool:
    """The hint of what can be anywhere."""
    return True


def _allows(rule: Rule) -> bool:
    return isinstance(rule, Pattern) and rule.action == "allow"


def _outside(spans: Sequence[Span], covers: Iterable[Span]) -> list[Span]:
    """The spans that lie within none of the covers."""
    kept: list[Span] = []
    ordered = outermost(list(covers))
    place = 0
    for start, end in outermost(list(spans)):
        while place < len(ordered) and ordered[place][1] < end:
            place += 1
        if place == len(ordered) or not (ordered[place][0] <= start and end <= ordered[place][1]):
            kept.append((start, end))
    return kept


def _verdict(finding: _Finding, known: Verdict | None) -> Verdict:
    """The rule's verdict. What a mask laid bare adds to those of earlier passes only where it is masked as well."""
    rule = finding.rule
    matches = max(len(finding.spans), 1)
    if known is not None:
        if rule.shadow or finding.action is not Action.MASK:
            return known
        matches += known.matches
    return Verdict(
        action=finding.action,
        rule=rule.id,
        version=rule.version,
        reason=_WHAT[rule.finds] if isinstance(rule, Personal) else rule.reason,
        matches=matches,
        severity=rule.severity,
        shadow=rule.shadow,
    )
