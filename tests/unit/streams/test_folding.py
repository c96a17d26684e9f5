"""Folding: what a reader sees alike is alike, and every stretch leads back to the original."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.router.steps.folding import _fold_by_cluster, fold

text = st.text(
    alphabet=st.one_of(
        st.characters(codec="utf-8"),
        st.sampled_from("abcXYZ ß\u0130ﬁ\u200b\u200d\ufe0f\u0301\u0308éＡＢ＠①한\u1112\u1161\u11abΣς"),
    ),
    max_size=60,
)


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("Free NITRO", "free nitro"),
        ("F\u200br\u00adee", "free"),
        ("ｆｒｅｅ", "free"),
        ("Straße", "strasse"),
        ("ﬁnd", "find"),
        ("cafe\u0301", "café"),
        ("ΣΊΣΥΦΟΣ", "σίσυφοσ"),
    ],
)
def test_what_looks_alike_is_alike(written: str, seen: str) -> None:
    assert fold(written).text == fold(seen).text


@given(text)
def test_the_fast_way_and_the_careful_way_agree(written: str) -> None:
    fast, careful = fold(written), _fold_by_cluster(written)
    assert fast.text == careful.text
    for place in range(len(fast.text)):
        assert fast.original(place, place + 1) == careful.original(place, place + 1)


@given(text)
def test_stretches_lead_back_in_order_and_within_the_text(written: str) -> None:
    folded = fold(written)
    last = 0
    for place in range(len(folded.text)):
        start, end = folded.original(place, place + 1)
        assert last <= end <= len(written)
        assert start < end
        last = start
    if folded.text:
        start, end = folded.original(0, len(folded.text))
        assert fold(written[start:end]).text == folded.text


def test_a_stretch_covers_what_was_hidden_inside() -> None:
    written = "so b\u200ba\u200bd!"
    folded = fold(written)
    at = folded.text.index("bad")
    start, end = folded.original(at, at + 3)
    assert written[start:end] == "b\u200ba\u200bd"
