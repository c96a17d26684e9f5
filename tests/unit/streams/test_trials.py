"""Rules tried before they hold: scores on labelled messages, and differences between two sets."""

from pathlib import Path

import msgspec
import pytest

from infra.contracts.rules import BlockList, Repetition
from streams.router.trials import Said, backtest, out_of_shadow, read_examples, try_on, with_rule
from tests.unit.streams.judged import JUDGE, judge_by, message


def examples(tmp_path: Path, *lines: dict[str, object] | str) -> Path:
    file = tmp_path / "labelled.jsonl"
    file.write_text("\n".join(line if isinstance(line, str) else msgspec.json.encode(line).decode() for line in lines))
    return file


def rule(*terms: str, **fields: object) -> BlockList:
    known = {"kind": "block_list", "id": "x", "version": 1, "action": "hold", "reason": "r", "terms": terms}
    return msgspec.convert({**known, **fields}, BlockList)


def test_a_score_says_what_was_found_rightly_wrongly_and_not_at_all(tmp_path: Path) -> None:
    file = examples(
        tmp_path,
        {"text": "kys", "label": "block"},
        {"text": "free nitro", "label": "block"},
        "",
        {"text": "hello", "label": "allow"},
        {"text": "shit", "label": False},
        {"text": "d4mn", "label": True},
        {"text": "a@b.org", "label": True},
    )
    score = try_on(JUDGE, read_examples(file))
    assert (score.messages, score.found_rightly, score.found_wrongly, score.overlooked) == (6, 3, 1, 1)
    assert score.precision == score.recall == 0.75
    assert score.confusion == {
        "block": {"block": 1, "hold": 1},
        "allow": {"allow": 1, "mask": 1},
        "touch": {"allow": 1, "mask": 1},
    }
    assert score.misses == [
        (2, "block", "hold", "scams"),
        (5, "allow", "mask", "profanity"),
        (6, "touch", "allow", ""),
    ]


def test_a_score_of_nothing_found_has_no_precision(tmp_path: Path) -> None:
    score = try_on(judge_by(), read_examples(examples(tmp_path, {"text": "hi", "label": "allow"})))
    assert (score.precision, score.recall) == (None, None)


@pytest.mark.parametrize(
    ("line", "problem"),
    [('{"text": "x"}', "line 2: .*label"), ('{"text": "x", "label": "ban"}', "line 2: "), ("{", "line 2: ")],
)
def test_a_line_that_is_none_is_named(tmp_path: Path, line: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_examples(examples(tmp_path, {"text": "x", "label": True}, line))


def test_a_backtest_tells_two_sets_apart() -> None:
    said = [Said("acme", message(text, id=f"m-{n}"), n) for n, text in enumerate(["bad", "worse", "good", "bad worse"])]
    said.append(Said("acme", message("bad", type="custom.thing"), 9))
    found = backtest(judge_by(rule("bad")), judge_by(rule("worse", action="block")), said)
    assert found.messages == 4
    assert found.today == {"hold": 2, "allow": 2}
    assert found.proposed == {"allow": 2, "block": 2}
    assert found.changes == {("hold", "allow"): 1, ("allow", "block"): 1, ("hold", "block"): 1}
    assert found.by_rule == {"x": 2}
    assert found.named == [("m-0", "hold", "allow"), ("m-1", "allow", "block"), ("m-3", "hold", "block")]


def test_a_backtest_remembers_for_rules_that_count() -> None:
    again = Repetition(id="again", version=1, action="hold", reason="r", times=3, seconds=60)
    said = [Said("acme", message("hi", id=f"m-{n}"), 1_000 * n) for n in range(4)]
    assert backtest(judge_by(), judge_by(again), said).changes == {("allow", "hold"): 2}


def test_one_rule_takes_the_place_of_the_one_with_its_id() -> None:
    one, two, new = rule("a1", id="one"), rule("a2", id="two"), rule("a3", id="one", shadow=True)
    assert with_rule((one, two), new) == (new, two)
    assert with_rule((two,), new) == (two, new)
    assert out_of_shadow((new, two)) == (rule("a3", id="one"), two)
