"""What the load says, and what the built-in rules make of it."""

import random
from collections import Counter
from datetime import UTC, datetime

from infra.contracts.events import Event
from streams.router.book import built_in
from streams.router.steps.folding import fold
from streams.router.steps.judging import Judge
from tests.faults.load import STOPPED, outcome_of, seq_of, text_of

_ACTIONS = {"hold": "held", "block": "blocked"}


def test_the_load_knows_which_of_its_texts_are_stopped() -> None:
    judge, rng = Judge(built_in().rules), random.Random(1)
    became: Counter[str] = Counter()
    for seq in range(1, 2_001):
        text = text_of(rng, seq)
        event = Event(
            id=f"e{seq}", type="message.sent", time=datetime.now(UTC), channel_id="c1", user_id="ann", text=text
        )
        judgement = judge.judge(event, fold(text))
        stop = judgement.stop if judgement is not None else None
        expected = "events" if stop is None else _ACTIONS[stop.action]
        assert outcome_of(text) == expected
        assert judgement is None or judgement.text == text
        assert seq_of(text) == seq
        became[expected] += 1
    assert all(became[outcome] > 20 for outcome in STOPPED.values())
    assert became["events"] > 1_800
    assert outcome_of(None) == outcome_of("edited quick") == "events"
