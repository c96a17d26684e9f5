"""Messages as a judge sees them, and how long judging takes."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from infra.contracts.events import Event
from infra.contracts.rules import Rule
from streams.router.book import built_in
from streams.router.steps.folding import fold
from streams.router.steps.judging import Judge, Judgement
from streams.router.steps.memory import Recall

AT = datetime(2026, 3, 14, 9, 27, tzinfo=UTC)
JUDGE = Judge(built_in().rules)


def message(text: str, **fields: Any) -> Event:
    known = {"id": "e", "type": "message.sent", "time": AT, "channel_id": "general", "user_id": "ada"}
    return Event(**{**known, "text": text, **fields})


def judged(text: str, judge: Judge = JUDGE, recall: Recall | None = None, **fields: Any) -> Judgement | None:
    return judge.judge(message(text, **fields), fold(text), recall)


def outcome(text: str, judge: Judge = JUDGE, **fields: Any) -> tuple[str, str]:
    """What becomes of the text, and what is done: allow, mask, hold or block."""
    found = judged(text, judge, **fields)
    if found is None or not found.rule_header:
        return text, "allow"
    return found.text, found.stop.action.value if found.stop else "mask"


def judge_by(*rules: Rule) -> Judge:
    return Judge(rules)


def growth(work: Callable[[str], object], text: Callable[[int], str]) -> float:
    """How many times longer the work takes on a text eight times as long: 8 where it is linear, 64 where quadratic.

    In CPU seconds, of the best of several runs by turns.
    """
    short, long = text(1_000), text(8_000)
    runs = [(_seconds(work, short), _seconds(work, long)) for _ in range(7)]
    return min(run[1] for run in runs) / min(run[0] for run in runs)


def _seconds(work: Callable[[str], object], text: str) -> float:
    began = time.process_time()
    work(text)
    return max(time.process_time() - began, 1e-6)
