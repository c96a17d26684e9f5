"""Measures count what the registry says, and a metric says what it is made of."""

from datetime import UTC, datetime
from typing import Any

import pytest

from infra.contracts.events import Event
from infra.contracts.metrics import MEASURES, METRICS, SKETCH_ERROR, Metric, Part
from infra.contracts.windows import HOUR

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)


def event(**fields: Any) -> Event:
    return Event(**{"id": "e1", "type": "message.sent", "time": NOON, "user_id": "ann", **fields})


@pytest.mark.parametrize(
    ("fields", "answers"),
    [
        ({}, False),
        ({"reply_to": "e0"}, True),
        ({"thread_id": "e0"}, True),
        ({"thread_id": "e1"}, False),  # it began the thread
        ({"thread_id": "m1", "message_id": "m1"}, False),
        ({"thread_id": "e1", "message_id": "m1"}, True),
    ],
)
def test_a_reply_names_a_message_or_stands_in_a_thread_of_another(fields: dict[str, Any], answers: bool) -> None:
    sent = event(**fields)
    assert sent.is_reply is answers
    taken = {measure.name for measure in MEASURES if measure.takes(sent, "events")}
    assert taken == {"sent", "contributors", "active"} | ({"responders"} if answers else set())


def test_what_was_held_counts_as_held_alone() -> None:
    reply = event(reply_to="e0")
    assert [measure.name for measure in MEASURES if measure.takes(reply, "held")] == ["held"]
    reaction = event(type="reaction.added", message_id="e0", reaction="+1")
    taken = [measure.name for measure in MEASURES if measure.takes(reaction, "events")]
    assert taken == ["reactions", "active", "responders"]


def test_a_metric_says_what_it_is_made_of() -> None:
    def made(of: Part, per: Part | None = None) -> Metric:
        return Metric(name="m", label="M", meaning="m", unit="m", of=of, per=per)

    sent, people = Part(measures=("sent",)), Part(measures=("active",))
    both, month = Part(measures=("sent", "held")), Part(measures=("active",), days=30)
    busiest = Part(measures=("sent",), by=HOUR)
    plain, ratio, rolling, peak = made(sent), made(both, people), made(people, month), made(busiest, sent)
    assert [one.formula for one in (plain, ratio, rolling, peak)] == [
        *("sent", "(sent + held) / active", "active / active in 30 days", "peak of sent by 1h / sent")
    ]
    assert [one.measure for one in (plain, ratio, rolling, peak)] == ["sent", None, None, None]
    assert [one.is_of_window for one in (plain, ratio, rolling, peak)] == [True, True, False, False]
    assert [one.error for one in (plain, ratio, peak)] == [None, SKETCH_ERROR, None]
    assert rolling.error == pytest.approx(SKETCH_ERROR * 2**0.5)
    assert ratio.measures == ("sent", "held", "active")


def test_every_entry_has_a_name_of_its_own() -> None:
    assert all(name == metric.name for name, metric in METRICS.items())
    assert len({metric.label for metric in METRICS.values()}) == len(METRICS)
