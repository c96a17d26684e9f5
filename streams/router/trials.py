"""Tries rules before they hold: on labelled messages, and on what was said lately. Nothing here touches Kafka."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

from infra.contracts.events import MESSAGE_SENT, Event
from infra.contracts.records import Action
from infra.contracts.rules import AllowList, Rule
from streams.router.steps.folding import fold
from streams.router.steps.judging import JUDGED, Judge, Judgement
from streams.router.steps.memory import Memory

_AT: Final = datetime(2000, 1, 1, tzinfo=UTC)
#: Ids of changed messages that a backtest names.
_NAMED: Final = 20


class Example(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line of a file of labelled messages. `label` says what should happen, or only whether anything should."""

    text: str
    label: Literal["allow", "mask", "hold", "block"] | bool
    channel_id: str = "test"
    user_id: str = "test"
    is_bot: bool | None = None

    @property
    def event(self) -> Event:
        """The message it stands for."""
        return Event(
            id="test",
            type=MESSAGE_SENT,
            time=_AT,
            channel_id=self.channel_id,
            user_id=self.user_id,
            is_bot=self.is_bot,
            text=self.text,
        )


@dataclass(slots=True, kw_only=True)
class Score:
    """How rules did on labelled messages. A message is found when anything is done to it."""

    messages: int = 0
    found_rightly: int = 0
    found_wrongly: int = 0
    overlooked: int = 0
    #: By label, then by what was done.
    confusion: dict[str, dict[str, int]] = field(default_factory=dict)
    #: Lines on which something else was done than the label says: line, label, what was done, by which rules.
    misses: list[tuple[int, str, str, str]] = field(default_factory=list)

    @property
    def precision(self) -> float | None:
        """Share of what was found that should be; None if nothing was."""
        found = self.found_rightly + self.found_wrongly
        return self.found_rightly / found if found else None

    @property
    def recall(self) -> float | None:
        """Share of what should be found that was; None if nothing should."""
        wanted = self.found_rightly + self.overlooked
        return self.found_rightly / wanted if wanted else None


def read_examples(path: Path) -> list[tuple[int, Example]]:
    """The labelled messages of a JSONL file with their line numbers. Raises `ValueError` that names the line."""
    decoder = msgspec.json.Decoder(Example)
    found = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if line.strip():
            try:
                found.append((number, decoder.decode(line)))
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise ValueError(f"line {number}: {error}") from None
    return found


def try_on(judge: Judge, examples: Iterable[tuple[int, Example]]) -> Score:
    """What these rules do to labelled messages. Each stands for itself: rules that count say nothing."""
    score = Score()
    for line, example in examples:
        done, by = _outcome(judge, example.event)
        label = example.label if isinstance(example.label, str) else "touch" if example.label else "allow"
        wanted, found = label != "allow", done != "allow"
        score.messages += 1
        score.found_rightly += wanted and found
        score.found_wrongly += found and not wanted
        score.overlooked += wanted and not found
        row = score.confusion.setdefault(label, {})
        row[done] = row.get(done, 0) + 1
        if (wanted != found) if label == "touch" else (label != done):
            score.misses.append((line, label, done, by))
    return score


class Said(NamedTuple):
    """A message as the archive has it."""

    tenant: str
    event: Event
    at_ms: int


@dataclass(slots=True, kw_only=True)
class Difference:
    """What proposed rules would do, beside what today's would, to the same messages."""

    messages: int = 0
    today: dict[str, int] = field(default_factory=dict)
    proposed: dict[str, int] = field(default_factory=dict)
    #: What is done today and would be, where that differs.
    changes: dict[tuple[str, str], int] = field(default_factory=dict)
    #: By rule of the proposal, how often it would have a say.
    by_rule: dict[str, int] = field(default_factory=dict)
    #: Some of the messages that would fare differently: id, today, proposed.
    named: list[tuple[str, str, str]] = field(default_factory=list)


def backtest(today: Judge, proposed: Judge, messages: Iterable[Said]) -> Difference:
    """Judge the same messages by both. For rules that count they must come in the order of their times."""
    found = Difference()
    done_today, done_then, speaking = Counter[str](), Counter[str](), Counter[str]()
    changes = Counter[tuple[str, str]]()
    reach = today.reach | proposed.reach
    memory = Memory(reach) if reach.counters else None
    for tenant, event, at_ms in messages:
        if event.type not in JUDGED or event.text is None:
            continue
        folded = fold(event.text)
        recall = memory.note(tenant, event, folded.text, at_ms) if memory is not None else None
        now, would = today.judge(event, folded, recall), proposed.judge(event, folded, recall)
        before, after = _done(now), _done(would)
        found.messages += 1
        done_today[before] += 1
        done_then[after] += 1
        if would is not None:
            speaking.update(verdict.rule for verdict in would.verdicts if not verdict.shadow)
        if before != after:
            changes[before, after] += 1
            if len(found.named) < _NAMED:
                found.named.append((event.id, before, after))
    found.today, found.proposed, found.by_rule = dict(done_today), dict(done_then), dict(speaking)
    found.changes = dict(changes)
    return found


def with_rule(rules: Sequence[Rule], rule: Rule) -> tuple[Rule, ...]:
    """The rules with this one in the place of the one with its id, or behind all."""
    if any(known.id == rule.id for known in rules):
        return tuple(rule if known.id == rule.id else known for known in rules)
    return (*rules, rule)


def out_of_shadow(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """The rules as they would be if none was in shadow."""
    return tuple(
        rule if isinstance(rule, AllowList) or not rule.shadow else msgspec.structs.replace(rule, shadow=False)
        for rule in rules
    )


def _outcome(judge: Judge, event: Event) -> tuple[str, str]:
    judgement = judge.judge(event, fold(event.text or ""))
    by = ",".join(verdict.rule for verdict in judgement.verdicts if not verdict.shadow) if judgement else ""
    return _done(judgement), by


def _done(judgement: Judgement | None) -> str:
    if judgement is None or not judgement.rule_header:
        return Action.ALLOW.value
    return judgement.stop.action.value if judgement.stop else Action.MASK.value
