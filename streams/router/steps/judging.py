"""Judges a message by the rules: a verdict is a function of the text and the rules' version, nothing else."""

from dataclasses import dataclass
from typing import Final

from infra.contracts.events import MESSAGE_EDITED, MESSAGE_SENT
from infra.contracts.records import Action, Verdict
from streams.router.steps.block_list import BlockLists, outermost
from streams.router.steps.folding import Folded, Span, fold
from streams.router.steps.personal import Finder, Hint, finder, hint
from streams.router.steps.rules import BlockList, Personal, Rules

#: The types whose text is judged.
JUDGED: Final = frozenset({MESSAGE_SENT, MESSAGE_EDITED})

_SEVERITY: Final = {Action.MASK: 0, Action.HOLD: 1, Action.BLOCK: 2}
_WHAT: Final = {"email": "an e-mail address", "phone": "a phone number", "card": "a payment card number"}
#: Masking can lay a word bare that stood against what was masked; this often it is looked for.
_MAX_PASSES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the rules say of one text: every verdict, the one that stops the message if any, and the masked text."""

    verdicts: tuple[Verdict, ...]
    stop: Verdict | None
    text: str

    @property
    def rule_header(self) -> bytes:
        """`id@version` of the rule that stopped the message, else of all that masked it."""
        named = (self.stop,) if self.stop else self.verdicts
        return ",".join(f"{verdict.rule}@{verdict.version}" for verdict in named).encode()


class Judge:
    """The rules, compiled. Raises `ValueError` for a replacement that would itself be masked."""

    def __init__(self, rules: Rules) -> None:
        self._lists = BlockLists([rule for rule in rules.rules if isinstance(rule, BlockList)])
        self._personal: dict[Hint, list[tuple[Personal, Finder]]] = {}
        for rule in rules.rules:
            if isinstance(rule, Personal):
                self._personal.setdefault(hint(rule), []).append((rule, finder(rule)))
        self.idle = not rules.rules
        for rule in rules.rules:
            if self._pass(rule.replacement):
                raise ValueError(f"the replacement of rule {rule.id} is itself found by a rule")

    def judge(self, text: str) -> Judgement | None:
        """None when no rule has anything to say."""
        found = self._pass(text)
        if not found:
            return None
        verdicts: dict[str, Verdict] = {}
        for _ in range(_MAX_PASSES):
            spans: list[tuple[Span, str]] = []
            for verdict, places, replacement in found:
                known = verdicts.get(verdict.rule)
                verdicts[verdict.rule] = _add(known, verdict) if known else verdict
                if verdict.action is Action.MASK:
                    spans.extend((place, replacement) for place in places)
            if not spans:
                break
            text = mask(text, spans)
            found = self._pass(text)
            if not any(verdict.action is Action.MASK for verdict, _, _ in found):
                verdicts.update({verdict.rule: verdict for verdict, _, _ in found if verdict.rule not in verdicts})
                break
        stops = [verdict for verdict in verdicts.values() if verdict.action is not Action.MASK]
        stop = max(stops, key=lambda verdict: _SEVERITY[verdict.action], default=None)
        return Judgement(verdicts=tuple(verdicts.values()), stop=stop, text=text)

    def _pass(self, text: str) -> list[tuple[Verdict, list[Span], str]]:
        folded = fold(text)
        found = [
            (_verdict(rule, rule.reason, Action(rule.action), spans), _originals(folded, spans), rule.replacement)
            for rule, spans in self._lists.find(folded.text)
        ]
        for may_hold, rules in self._personal.items():
            if not may_hold(folded.text):
                continue
            for rule, find in rules:
                if spans := find(folded.text):
                    verdict = _verdict(rule, _WHAT[rule.finds], Action.MASK, spans)
                    found.append((verdict, _originals(folded, spans), rule.replacement))
        return found


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


def _originals(folded: Folded, spans: list[Span]) -> list[Span]:
    return outermost([folded.original(*span) for span in spans])


def _verdict(rule: BlockList | Personal, reason: str, action: Action, spans: list[Span]) -> Verdict:
    return Verdict(action=action, rule=rule.id, version=rule.version, reason=reason, matches=len(spans))


def _add(known: Verdict, more: Verdict) -> Verdict:
    if known.action is not Action.MASK:
        return known
    return Verdict(
        action=known.action,
        rule=known.rule,
        version=known.version,
        reason=known.reason,
        matches=known.matches + more.matches,
    )
