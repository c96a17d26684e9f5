"""Each kind of rule, whom it looks at, and what comes of several that speak."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from infra.contracts.records import Action, Severity
from infra.contracts.rules import AllowList, BlockList, Language, Links, Pattern, Personal, Rules, Scope
from streams.router.book import built_in
from streams.router.steps.links import find_links
from streams.router.steps.personal import find_cards, find_emails, find_phones
from tests.unit.streams.judged import growth, judge_by, judged, outcome


def words(*terms: str, **fields: Any) -> BlockList:
    return BlockList(**{"id": "words", "version": 1, "action": "hold", "reason": "r", "terms": terms, **fields})


def pattern(*expressions: str, **fields: Any) -> Pattern:
    known = {"id": "pattern", "version": 1, "action": "mask", "reason": "r", "patterns": expressions}
    return Pattern(**{**known, **fields})


def links(**fields: Any) -> Links:
    return Links(**{"id": "links", "version": 1, "action": "mask", "reason": "r", **fields})


def test_patterns_see_folded_text_and_mask_what_was_written() -> None:
    judge = judge_by(pattern(r"gift ?cards?", r"\bwire\b", replacement="[…]"))
    assert outcome("Free ＧＩＦＴ\u200b Cards by WIRE", judge) == ("Free […] by […]", "mask")
    assert outcome("wireless gifts", judge) == ("wireless gifts", "allow")


@pytest.mark.parametrize(("expression", "why"), [("(", "missing"), ("a*", "empty text"), (r"(a)\1", "invalid escape")])
def test_an_expression_that_re2_does_not_take_is_refused_by_rule_and_reason(expression: str, why: str) -> None:
    with pytest.raises(ValueError, match=f"rule pattern: .*{why}"):
        judge_by(pattern(expression))


def test_expressions_that_are_too_much_together_are_refused_by_rule_and_reason() -> None:
    expressions = [rf"(?:\pL{{1,15}}x){{5}}{number}" for number in range(16)]
    judge_by(pattern(expressions[0]))
    with pytest.raises(ValueError, match="rule pattern: its patterns together are more"):
        judge_by(pattern(*expressions))


def test_the_matches_of_a_rule_are_bounded_over_all_its_expressions() -> None:
    found = judged("ab" * 800, judge_by(pattern("a", "b", action="hold")))
    assert found is not None
    assert found.verdicts[0].matches == 1_000


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("see bit.ly/abc.", ["bit.ly"]),
        ("http://good.example@evil.example:80/x?y#z", ["evil.example"]),
        ("look:bit.ly/abc or c.com:80", ["bit.ly", "c.com"]),
        ("(https://a.example) <www.b.example>, c.com!", ["a.example", "www.b.example", "c.com"]),
        ("https://xn--80ak6aa92e.com/", ["аррӏе.com"]),
        ("http://1.2.3.4/ and 1.2.3.4", ["1.2.3.4"]),
        ("ada@example.org, e.g. 3.14 v1.2.3 a..b yes... no", []),
    ],
)
def test_links_are_found_with_the_host_they_lead_to(text: str, hosts: list[str]) -> None:
    assert [link.host for link in find_links(text) if link.sure] == hosts


@pytest.mark.parametrize(
    ("rule", "text", "masked"),
    [
        (links(blocked=("evil.example",)), "at Evil.example and http://a.evil.example/x", "at [link] and [link]"),
        (links(blocked=("evil.example",)), "notevil.example/x evil.example.org/y", None),
        (links(blocked=("apple.com",)), "https://аррle.com/login", "[link]"),
        (
            links(allowed=("ok.example",)),
            "https://ok.example/ http://a.ok.example/ http://no.example/",
            "[0] [1] [link]",
        ),
        (links(allowed=("apple.com",)), "https://аррle.com/", "[link]"),
        (links(allowed=("ok.example",)), "read main.rs and setup.py", None),
        (links(shorteners=True), "tinyurl.com/2p8 and T.CO/x", "[link] and [link]"),
        (links(shorteners=True), "👉bit.ly/abc _bit.ly/abc_ url=bit.ly/a", "👉[link] _[link]_ url=[link]"),
        (links(shorteners=True), "https://bit。ly/a https://bit.ly👈 https://bit．ly/b", "[link] [link]👈 [link]"),
        (links(shorteners=True), "看。bit.ly/a。好 t.co=x.y/z ~bit.ly~", "看。[link]。好 [link]=x.y/z ~[link]~"),
        (links(shorteners=True), "https://bit_ly/a 好。bit.lys/a", None),
        (links(max_links=1), "https://a.example/?u=https://b.example", None),
        (links(max_links=1), "http://a.example http://b.example http://c.example", "[0] [link] [link]"),
        (links(max_links=0), "no link at all.ok", None),
    ],
)
def test_links_that_are_not_wanted(rule: Links, text: str, masked: str | None) -> None:
    found, action = outcome(text, judge_by(rule))
    for place, part in enumerate(text.split()):
        masked = masked.replace(f"[{place}]", part) if masked else masked
    assert (found, action) == ((masked, "mask") if masked else (text, "allow"))


def test_a_language_is_told_from_texts_that_are_long_enough() -> None:
    judge = judge_by(Language(id="english", version=1, action="hold", reason="r", allowed=("en", "de")))
    assert outcome("Привет всем, как у вас дела сегодня, друзья?", judge)[1] == "hold"
    for text in ("Hello everybody, how are you doing today?", "Guten Morgen, wie geht es euch allen?", "Привет всем"):
        assert outcome(text, judge)[1] == "allow"
    with pytest.raises(ValueError, match="rule klingon: there is no model of the language tlh"):
        judge_by(Language(id="klingon", version=1, action="hold", reason="r", allowed=("tlh",)))


@pytest.mark.parametrize(
    ("scope", "who", "seen"),
    [
        (Scope(channels=("general", "help*")), {"channel_id": "help-linux"}, True),
        (Scope(channels=("general", "help*")), {"channel_id": "generally"}, False),
        (Scope(except_channels=("staff",)), {"channel_id": "staff"}, False),
        (Scope(users=("eve",)), {"user_id": "eve"}, True),
        (Scope(users=("eve",)), {}, False),
        (Scope(except_users=("mod-*",)), {"user_id": "mod-7"}, False),
        (Scope(users=("guest-*",)), {"user_id": None, "anonymous_id": "guest-1"}, True),
        (Scope(bots="never"), {"is_bot": True}, False),
        (Scope(bots="never"), {}, True),
        (Scope(bots="only"), {"is_bot": True}, True),
        (Scope(bots="only"), {"is_bot": False}, False),
    ],
)
def test_a_rule_looks_at_whom_its_scope_names(scope: Scope, who: dict[str, Any], seen: bool) -> None:
    email = Personal(id="email", version=1, finds="email", replacement="[e]", scope=scope)
    assert outcome("a@b.org", judge_by(email), **who)[1] == ("mask" if seen else "allow")
    assert outcome("bad", judge_by(words("bad", scope=scope)), **who)[1] == ("hold" if seen else "allow")


def test_what_an_allow_rule_covers_no_rule_below_it_sees() -> None:
    allowed = AllowList(id="known", version=1, terms=("bad boys blue",))
    day = pattern(r"bad day", id="day", action="allow")
    blocked = words("bad")
    text = "bad boys blue, bad day"
    assert outcome(text, judge_by(allowed, day, blocked))[1] == "allow"
    assert outcome(text, judge_by(allowed, blocked))[1] == "hold"
    assert outcome(text, judge_by(blocked, allowed, day))[1] == "hold"
    assert outcome(f"{text} bad", judge_by(allowed, day, blocked))[1] == "hold"
    assert outcome("bad boys blue", judge_by(allowed, pattern("bad boys", action="block")))[1] == "allow"


def test_an_allow_list_without_terms_lets_its_scope_pass_below_it() -> None:
    exempt = AllowList(id="moderators", version=1, scope=Scope(users=("mod-*",)))
    judge = judge_by(words("worst", id="worst", action="block"), exempt, words("bad"))
    assert outcome("bad", judge)[1] == "hold"
    assert outcome("bad", judge, user_id="mod-1")[1] == "allow"
    assert outcome("worst, bad", judge, user_id="mod-1")[1] == "block"
    with pytest.raises(msgspec.ValidationError, match="needs a scope"):
        msgspec.convert({"kind": "allow_list", "id": "all", "version": 1}, AllowList)


def test_the_strongest_action_is_done_then_the_graver_then_the_higher() -> None:
    one, two = words("bad", id="one"), words("bad", id="two", severity=Severity.HIGH)
    stop = judged("bad", judge_by(one, two))
    assert stop is not None
    assert stop.stop is not None
    assert (stop.stop.rule, stop.stop.severity) == ("two", Severity.HIGH)
    found = judged("bad worse", judge_by(two, one, words("worse", id="worse", action="block", severity=Severity.LOW)))
    assert found is not None
    assert found.stop is not None
    assert found.stop.rule == "worse"
    equal = judged("bad", judge_by(one, words("bad", id="other")))
    assert equal is not None
    assert equal.stop is not None
    assert equal.stop.rule == "one"


def test_verdicts_stand_in_the_order_of_the_rules_and_masks_combine() -> None:
    email = Personal(id="email", version=1, finds="email", replacement="[e]")
    found = judged("bad@b.org bad", judge_by(email, words("bad", action="mask")))
    assert found is not None
    assert [(v.rule, v.matches) for v in found.verdicts] == [("email", 1), ("words", 2)]
    assert found.text == "[e] ***"
    assert found.rule_header == b"email@1,words@1"


def test_a_rule_in_shadow_is_noted_and_not_done() -> None:
    judge = judge_by(words("bad", action="block", shadow=True), words("bad", id="mask", action="mask"))
    found = judged("bad", judge)
    assert found is not None
    assert [(v.rule, v.action, v.shadow) for v in found.verdicts] == [
        ("words", Action.BLOCK, True),
        ("mask", Action.MASK, False),
    ]
    assert (found.stop, found.text, found.rule_header) == (None, "***", b"mask@1")
    alone = judged("bad", judge_by(words("bad", action="mask", shadow=True)))
    assert alone is not None
    assert (alone.text, alone.rule_header) == ("bad", b"")


def test_personal_data_may_be_held_or_blocked() -> None:
    judge = judge_by(Personal(id="card", version=1, finds="card", replacement="[card]", action="block"))
    assert outcome("4111 1111 1111 1111", judge)[1] == "block"


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ({"kind": "block_list", "id": "Bad", "terms": ["xx"], "action": "mask", "reason": "r"}, "id"),
        ({"kind": "block_list", "id": "x", "terms": [], "action": "mask", "reason": "r"}, "terms"),
        ({"kind": "block_list", "id": "x", "terms": ["xx"], "action": "shout", "reason": "r"}, "action"),
        ({"kind": "block_list", "id": "x", "terms": ["xx"], "action": "mask", "reason": "r", "colour": 1}, "colour"),
        ({"kind": "links", "id": "x", "action": "mask", "reason": "r"}, "needs one of"),
        ({"kind": "links", "id": "x", "action": "mask", "reason": "r", "blocked": ["https://x.org"]}, "blocked"),
        ({"kind": "flood", "id": "x", "action": "hold", "reason": "r", "messages": 5, "seconds": 601}, "seconds"),
        ({"kind": "repetition", "id": "x", "action": "mask", "reason": "r", "times": 5, "seconds": 60}, "action"),
        ({"kind": "horoscope", "id": "x"}, "kind"),
        (
            {"kind": "pattern", "id": "x", "action": "allow", "reason": "r", "patterns": ["x"], "shadow": True},
            "shadow needs an action with a verdict",
        ),
    ],
)
def test_a_rule_that_is_none_is_refused_with_the_field(rule: dict[str, Any], problem: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=problem):
        msgspec.convert({"rules": [{"version": 1, **rule}]}, Rules)


def test_the_built_in_rules_are_shown_as_they_are_read() -> None:
    again = msgspec.json.decode(msgspec.json.encode(built_in()), type=Rules)
    assert again == built_in()


def test_the_file_in_the_documents_is_one() -> None:
    page = Path("docs/contract.md").read_text()
    file = page[page.index("## Rules") :].partition("```json")[2].partition("```")[0]
    judge = judge_by(*msgspec.json.decode(file, type=Rules).rules)
    assert outcome("cheap gift cards", judge)[1] == "hold"
    assert outcome("cheap gift cards", judge, user_id="mod-7")[1] == "allow"


@pytest.mark.parametrize(
    ("work", "text"),
    [
        (find_emails, lambda n: "@" * n),
        (find_emails, lambda n: "a" * (n - 1) + "@"),
        (find_emails, lambda n: ("a@b." * n)[:n]),
        (find_cards, lambda n: ("1 " * n)[:n]),
        (find_cards, lambda n: ("4-" * n)[:n]),
        (lambda text: find_phones(text, "US"), lambda n: ("(1" * n)[:n]),
        (lambda text: find_phones(text, "US"), lambda n: ("1-" * n)[:n]),
        (find_links, lambda n: ("a.b" * n)[:n]),
        (find_links, lambda n: ("http://" * n)[:n]),
        (find_links, lambda n: "." * n),
        (find_links, lambda n: ("_.=" * n)[:n]),
        (find_links, lambda n: ("a.b=" * n)[:n]),
        (find_links, lambda n: ("a.b/ " * n)[:n]),
        (lambda text: outcome(text, judge_by(pattern("(x+x+)+y"))), lambda n: "x" * n),
        (lambda text: outcome(text, judge_by(pattern("é"))), lambda n: ("é-" * n)[: n // 2]),
        (outcome, lambda n: "e" + "\u0301\u0327" * (n // 4)),
        (outcome, lambda n: ("kill yourself a@b.org 4111111111111111 " * n)[:n]),
    ],
)  # fmt: skip
def test_time_is_linear_in_hostile_text(work: Any, text: Any) -> None:
    assert growth(work, text) < 24
