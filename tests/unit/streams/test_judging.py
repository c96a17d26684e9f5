"""Rules: what they find, what they leave alone, and masks that a second look leaves as they are."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.contracts.records import Action
from infra.contracts.rules import BlockList, Personal, Rules
from streams.router.book import built_in
from streams.router.steps.judging import Judge, mask
from streams.router.steps.personal import luhn
from tests.unit.streams.judged import judged

PIECES = st.sampled_from(
    [
        "hello", " ", "fuck", "shit", "Scunthorpe", "kill yourself", "free nitro", "ada@example.org", "@", ".", "-",
        "4111 1111 1111 1111", "4111111111111111", "+49 30 901820", "(212) 555-0123", "1", "23", "\u200b", "[email]",
        "***", "é", "ﬁ", "ß", "ＡＢ", "x@y.zz",
    ]
)  # fmt: skip
texts = st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=40)


def outcome(text: str) -> tuple[str, Action | None]:
    found = judged(text)
    return (text, None) if found is None else (found.text, found.stop.action if found.stop else None)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("mail ada.l+x@mail.example.org now", "mail [email] now"),
        ("mail ａｄａ＠ｅｘａｍｐｌｅ．ｏｒｇ now", "mail [email] now"),
        ("call +49 30 901820 please", "call [phone] please"),
        ("call (212) 555-0123 please", "call [phone] please"),
        ("card 4111 1111 1111 1111 ok", "card [card] ok"),
        ("in 12 4111-1111-1111-1111 ok", "in 12 [card] ok"),
        ("oh Shit", "oh ***"),
        ("oh s\u200bhit!", "oh ***!"),
        ("fuck, mail a@b.org", "***, mail [email]"),
    ],
)
def test_masks(text: str, masked: str) -> None:
    assert outcome(text) == (masked, None)


@pytest.mark.parametrize(
    "text",
    ["I live in Scunthorpe", "shit happens", "classic", "at 2026-03-14 09:26", "id 1700000000000", "a@b", "me @ work",
     "4111 1111 1111 1112", "3.14159265358979", "v1.2.3", ""],
)  # fmt: skip
def test_leaves_alone(text: str) -> None:
    assert judged(text) is None


@pytest.mark.parametrize(
    ("text", "action", "rule"),
    [
        ("KYS now", Action.BLOCK, "threats"),
        ("get Free  nitro", Action.HOLD, "scams"),
        ("get Ｆｒｅｅ Nitro", Action.HOLD, "scams"),
        ("free nitro, kill yourself, shit", Action.BLOCK, "threats"),
    ],
)
def test_the_strongest_rule_stops(text: str, action: Action | None, rule: str | None) -> None:
    found = judged(text)
    stop = found.stop if found else None
    assert (stop.action if stop else None, stop.rule if stop else None) == (action, rule)


def test_every_rule_that_had_a_say_is_recorded_and_the_stopping_one_is_named() -> None:
    found = judged("free nitro shit a@b.org a@c.org")
    assert found is not None
    assert {(v.rule, v.action, v.matches) for v in found.verdicts} == {
        ("scams", Action.HOLD, 1),
        ("profanity", Action.MASK, 1),
        ("email", Action.MASK, 2),
    }
    assert found.rule_header == b"scams@1"
    masked = judged("shit a@b.org")
    assert masked is not None
    assert masked.rule_header == b"profanity@1,email@1"


@settings(deadline=None)
@given(texts)
def test_masking_is_idempotent(text: str) -> None:
    masked, _ = outcome(text)
    again = judged(masked)
    assert again is None or all(verdict.action is not Action.MASK for verdict in again.verdicts)
    assert again is None or again.text == masked


@settings(deadline=None)
@given(texts)
def test_a_verdict_depends_on_the_text_alone(text: str) -> None:
    assert judged(text) == judged(text, Judge(built_in().rules))


@settings(deadline=None)
@given(st.text(max_size=30), st.lists(st.tuples(st.integers(0, 30), st.integers(1, 8)), max_size=5))
def test_masking_keeps_everything_outside_of_the_spans(text: str, raw: list[tuple[int, int]]) -> None:
    spans = [(start, min(start + length, len(text))) for start, length in raw if start < len(text)]
    kept = "".join(c for i, c in enumerate(text) if not any(a <= i < b for a, b in spans))
    assert mask(text, [(span, "\uf8ff") for span in spans]).replace("\uf8ff", "") == kept.replace("\uf8ff", "")


def test_parts_of_words_count_only_where_a_list_says_so_and_allowed_phrases_never() -> None:
    rule = BlockList(
        id="parts", version=1, action="mask", reason="test", terms=("cunt",), allow=("Scunthorpe",), whole_word=False
    )
    judge = Judge([rule])
    assert judged("Scunthorpe", judge) is None
    found = judged("xxcuntxx in Scunthorpe", judge)
    assert found is not None
    assert found.text == "xx***xx in Scunthorpe"


def test_a_replacement_that_would_be_found_is_refused() -> None:
    rule = BlockList(id="loop", version=1, action="mask", reason="test", terms=("gone",), replacement="gone")
    with pytest.raises(ValueError, match="loop"):
        Judge([rule])


def test_rules_are_checked_when_loaded() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"rules":[{"kind":"block_list","id":"x"}]}', type=Rules)
    email = Personal(id="email", version=1, finds="email", replacement="[e]")
    with pytest.raises(ValueError, match="same id"):
        Rules(rules=(email, email))
    assert judged("kill yourself a@b.org", Judge([])) is None


def test_luhn() -> None:
    assert luhn("79927398713")
    assert not luhn("79927398710")
