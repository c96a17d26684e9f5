"""The ids of review: what a client gets for a held event, and what makes two decisions the same."""

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.contracts import generated, review
from infra.contracts.review import HeldId, Verb

texts = st.text(min_size=1, max_size=100)


@given(texts, st.integers(-1, 2**31 - 1), st.integers(-1, 2**63 - 1))
def test_a_held_id_says_where_it_stands(event_id: str, partition: int, offset: int) -> None:
    place = HeldId("2026-03-14", event_id, partition, offset)
    assert HeldId.decode(place.encode()) == place
    assert set(place.encode()) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "é",
        "../../etc",
        "AAAA",
        HeldId("2026-03-14", "e", 0, 1).encode()[:-2],
        HeldId("today", "e", 0, 1).encode(),
        HeldId("2026-03-14", "e", -2, 1).encode(),
        HeldId("2026-03-14", "e", 0, -2).encode(),
        HeldId("2026-03-14", "e" * 101, 0, 1).encode(),
    ],
)
def test_what_is_no_held_id_is_told_from_one(text: str) -> None:
    with pytest.raises(ValueError, match="not the id of a held event"):
        HeldId.decode(text)


@given(st.text(max_size=1_000))
def test_no_text_does_anything_else(text: str) -> None:
    with contextlib.suppress(ValueError):
        HeldId.decode(text)


def test_a_row_without_a_position_has_an_id_all_the_same() -> None:
    assert HeldId.of("2026-03-14", "e", "3/42") == HeldId("2026-03-14", "e", 3, 42)
    assert HeldId.of("2026-03-14", "e", None) == HeldId("2026-03-14", "e", -1, -1)


def test_a_decision_is_known_by_what_it_decides() -> None:
    one = review.decision_id("acme", Verb.BLOCK, "general", "m")
    assert one == review.decision_id("acme", Verb.BLOCK, "general", "m")
    others = [
        review.decision_id("other", Verb.BLOCK, "general", "m"),
        review.decision_id("acme", Verb.REJECT, "general", "m"),
        review.decision_id("acme", Verb.BLOCK, "random", "m"),
        review.decision_id("acme", Verb.BLOCK, "general", "n"),
        review.decision_id("acme", Verb.BLOCK, "genera", "lm"),
    ]
    assert len({one, *others}) == 6


def test_the_audit_trail_holds_no_text() -> None:
    decision = generated.examples()["records/decision.json"]
    assert decision.held.event.text
    assert decision.held.event.text.encode() not in msgspec.json.encode(review.entry_of(decision))
