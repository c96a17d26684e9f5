"""Words in disguise are judged as the words they are, and words that only hold such a word are left alone."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.contracts.rules import AllowList, BlockList
from streams.router.steps.folding import fold, signs_of
from streams.router.steps.forms import LEET, look_alikes, readings
from streams.router.steps.word_lists import WordLists
from tests.unit.streams.judged import growth, judge_by, outcome

TERMS = ("shit", "bullshit", "fuck", "wanker", "kill yourself", "free v-bucks", "kys")
LIKE: dict[str, list[str]] = {}
for alike, letter in look_alikes().items():
    LIKE.setdefault(letter, []).append(alike)
DIGITS: dict[str, list[str]] = {"i": ["1"], "l": ["1"]}
for sign, letter in LEET.items():
    DIGITS.setdefault(letter, []).append(sign)
UNSEEN = ["\u200b", "\u00ad", "\u2060", "\ufe0f", "\u0336", "\u0301", "\u202e"]

LISTS = WordLists([(0, BlockList(id="x", version=1, action="mask", reason="r", terms=TERMS))])
JUDGE = judge_by(BlockList(id="x", version=1, action="mask", reason="r", terms=TERMS))

#: Words and phrases with a term inside that are none, of every kind that was ever masked by mistake.
INNOCENT = """
Scunthorpe. Matsushita shiitake mishit cockpit assess classic passage Penistone Lightwater Clitheroe Middlesex
this hit was-hit push it. is hit! Is.Hit bass hitter, shoot good bookkeeper skyscraper skys hockys
his hits; washit Fukushima Fuchs bitcoin Bitcher wan ker swank er free bucks v bucks free-range kilt yourself
10:15 5417 A55 4th 2fast 1st k8s i18n a b c d e f g I a m U.S.A. e.g. i.e. S c u n t h o r p e w.w.w
don't it's sh it s hit sh!  it k y, s kyss kyys2 fuc k fu ck
"""


def disguise(term: str, draw: st.DrawFn) -> str:
    """The term as somebody writes it who does not want it found."""
    kind = draw(st.sampled_from(["unseen", "alike", "leet", "drawn out", "apart", "glued", "case"]))
    letters = list(term)
    at = [place for place, char in enumerate(letters) if char.isalpha()]
    some = draw(st.sets(st.sampled_from(at), min_size=1))
    match kind:
        case "unseen":
            written = [
                char + draw(st.sampled_from(UNSEEN)) if place in some else char for place, char in enumerate(term)
            ]
            return "".join(written[:-1]) + term[-1]
        case "alike":
            if len(at) < 4:
                some -= {at[0]}  # a short word of another script is a word of that script
            written = [draw(st.sampled_from(LIKE[char])) if place in some else char for place, char in enumerate(term)]
            return "".join(written)
        case "leet":
            some = set(sorted(some)[: len(at) // 2])
            return "".join(_sign(term, place, draw) if place in some else char for place, char in enumerate(term))
        case "drawn out":
            return "".join(char * (draw(st.integers(3, 6)) if place in some else 1) for place, char in enumerate(term))
        case "apart":
            gap = draw(st.sampled_from([" ", "  ", " . ", " - "]))
            return gap.join(char for char in term if char.isalpha())
        case "glued":
            gap = draw(st.sampled_from([".", "-", "_", "*", "/"]))
            return " ".join(gap.join(char for char in word if char.isalpha()) for word in term.split())
    return "".join(char.upper() if place in some else char for place, char in enumerate(term))


def _sign(term: str, place: int, draw: st.DrawFn) -> str:
    """A sign or digit for this letter, if there is one; what ends sentences stands for letters within words only."""
    within = 0 < place < len(term) - 1 and (term[place - 1] + term[place + 1]).isalpha()
    signs = [sign for sign in DIGITS.get(term[place], []) if within or sign != "!"]
    return draw(st.sampled_from(signs)) if signs else term[place]


@st.composite
def disguised(draw: st.DrawFn) -> tuple[str, str]:
    term = draw(st.sampled_from(TERMS))
    return term, disguise(term, draw)


@settings(deadline=None, max_examples=400)
@given(disguised())
def test_a_disguise_changes_nothing(pair: tuple[str, str]) -> None:
    _, written = pair
    assert outcome(f"so, {written} then", JUDGE) == ("so, *** then", "mask")


@pytest.mark.parametrize(
    "written",
    ["FUCK", "f.u.c.k", "f u c k", "fuuuuck", "fuuck", "sh1t", "$h!t", "5h1t", "ѕһіт", "f̶u̶c̶k̶", "bu1lsh1t", "fück",
     "ｆｕｃｋ", "f\u200buck", "🇫🇺🇨🇰", "k1ll y0urself", "ki11 yourse1f", "k i l l  y o u r s e l f", "5.h.1.t",
     "k|ll yourself", "free vbucks", "free  v.bucks"],
)  # fmt: skip
def test_disguises_seen_in_the_wild(written: str) -> None:
    assert outcome(written, JUDGE) == ("***", "mask")


@pytest.mark.parametrize("text", [*INNOCENT.split("\n"), *INNOCENT.split()])
def test_what_only_holds_a_term_is_left_alone(text: str) -> None:
    assert outcome(text, JUDGE) == (text, "allow")


@settings(deadline=None)
@given(st.text(max_size=60) | st.lists(st.sampled_from([*TERMS, *INNOCENT.split()]), max_size=8).map(" ".join))
def test_the_quick_look_misses_nothing_that_the_close_one_finds(text: str) -> None:
    folded = fold(text).text
    if LISTS.find(folded).terms:
        assert LISTS.may_hold(folded, signs_of(folded))


@settings(deadline=None)
@given(st.text(max_size=60))
def test_readings_lead_back_in_order_and_within_the_text(text: str) -> None:
    for reading in readings(fold(text).text):
        assert len(reading.text) == len(reading.runs) == len(reading.starts) == len(reading.ends)
        assert reading.starts == sorted(reading.starts)
        assert all(0 <= a <= b <= len(fold(text).text) for a, b in zip(reading.starts, reading.ends, strict=True))


def test_what_is_masked_is_the_disguised_word_and_nothing_else() -> None:
    assert outcome("Ünïcode, sh\u200b1t!, ＯＫ", JUDGE)[0] == "Ünïcode, ***!, ＯＫ"
    assert outcome("a f.u.c.k. b", JUDGE)[0] == "a ***. b"
    assert outcome("ok   ki11   y0urself   ok", JUDGE)[0] == "ok   ***   ok"


def test_marks_of_a_term_count_and_other_scripts_have_words_of_their_own() -> None:
    judge = judge_by(
        BlockList(id="x", version=1, action="hold", reason="r", terms=("coño", "хер", "坏话", "🖕", "cop"))
    )
    for text, action in [
        ("coño", "hold"), ("c.o.ñ.o", "hold"), ("cono", "allow"), ("хер", "hold"), ("хeр", "hold"),
        ("你坏话我", "hold"), ("so 🖕!", "hold"), ("сор", "allow"), ("cор", "hold"),
    ]:  # fmt: skip
        assert outcome(text, judge)[1] == action, text


def test_a_list_may_want_no_disguises() -> None:
    judge = judge_by(BlockList(id="x", version=1, action="hold", reason="r", terms=("shit",), disguised=False))
    assert outcome("SHIT", judge)[1] == "hold"
    for text in ("sh1t", "s h i t", "shiiit", "ѕһіт"):
        assert outcome(text, judge)[1] == "allow"


@pytest.mark.parametrize(
    ("term", "text"),
    [("1488", "so 1488!"), ("420", "4\u200b20"), ("88", "88"), ("area 51", "Area  51?"), ("c4 now", "ç4 now")],
)
def test_numbers_of_a_term_are_found_as_numbers(term: str, text: str) -> None:
    judge = judge_by(BlockList(id="x", version=1, action="hold", reason="r", terms=(term,)))
    assert outcome(text, judge)[1] == "hold"
    for other in ("1988", "4200", "area 52", "c4now5"):
        assert outcome(other, judge)[1] == "allow", other


@pytest.mark.parametrize(
    ("term", "found", "other"),
    [
        ("$hit", "$hit shit $h1t", "hit the road"),
        ("$ex", "$ex", "my ex"),
        ("a$$", "a$$ A$$! ass", "a as @"),
        ("sh!t", "sh!t shit", "sh t"),
        ("c++", "c++ C++!", "vitamin c c+ abc++ c+-+"),
        ("18+", "(18+)", "18 118+"),
        ("@everyone", "@everyone @Everyone!", "everyone"),
        ("at&t", "AT&T", "at t"),
        ("🖕 you", "🖕 you", "you 🖕"),
        ("kys!", "kys", "ky"),
        ("🇫🇺🇨🇰", "fuck", "fu"),
    ],
)
def test_without_its_signs_a_term_is_another(term: str, found: str, other: str) -> None:
    judge = judge_by(BlockList(id="x", version=1, action="hold", reason="r", terms=(term,)))
    words = [found] if " " in term else found.split()
    assert [outcome(text, judge)[1] for text in words] == ["hold"] * len(words)
    assert outcome(other, judge)[1] == "allow"
    plain = judge_by(BlockList(id="x", version=1, action="hold", reason="r", terms=(term,), disguised=False))
    assert outcome(other, plain)[1] == "allow"


def test_an_apostrophe_makes_no_other_word() -> None:
    judge = judge_by(BlockList(id="x", version=1, action="hold", reason="r", terms=("hell", "whore", "kys", "can't")))
    for text in ("he'll", "he’ll", "who're", "KY's bourbon", "so he'll,", "('he'll')"):
        assert outcome(text, judge)[1] == "allow", text
    for text in ("k.y.s", "k-y-s", "k y s", "k'y's", "ky-s", "he.ll", "can't", "can’t", "cant"):
        assert outcome(text, judge)[1] == "hold", text


def test_of_parts_of_words_only_lists_of_parts_are_found() -> None:
    judge = judge_by(BlockList(id="x", version=1, action="hold", reason="r", terms=("spam",), whole_word=False))
    for text in ("antispammer", "xxsp4mxx", "xxspaaaamxx"):
        assert outcome(text, judge)[1] == "hold"


PHRASES = ("Scunthorpe", "shit happens", "Dr. Fuck", "free v-bucks day")
SHIELDED = judge_by(
    AllowList(id="known", version=1, terms=PHRASES),
    BlockList(id="x", version=1, action="mask", reason="r", terms=(*TERMS, "cunt"), whole_word=False),
)


@settings(deadline=None)
@given(st.lists(st.sampled_from(PHRASES), min_size=1, max_size=6), st.sampled_from([" ", ", ", ". ", "\n"]))
def test_nothing_on_an_allow_list_is_touched(phrases: list[str], between: str) -> None:
    text = between.join(phrases)
    assert outcome(text, SHIELDED) == (text, "allow")
    assert outcome(f"{text} shit", SHIELDED) == (f"{text} ***", "mask")


HOSTILE = {
    "repeats": lambda n: "f" + "u" * (n - 2) + "k",
    "candidates": lambda n: ("shit " * n)[:n],
    "overlapping": lambda n: ("shitbullshit" * n)[:n],
    "letters apart": lambda n: ("s h i t " * n)[:n],
    "glued": lambda n: ("s.h.i.t" * n)[:n],
    "signs": lambda n: ("$h!t@" * n)[:n],
    "zero width": lambda n: ("s\u200bh\u200bi\u200bt " * n)[: n // 2],
    "marks": lambda n: "shit" + "\u0336\u0327" * (n // 4),
    "ones": lambda n: ("k1ll" * n)[:n],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_time_is_linear_in_hostile_text(name: str) -> None:
    assert growth(lambda text: outcome(text, JUDGE), HOSTILE[name]) < 24
