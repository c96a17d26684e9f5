from collections.abc import Callable

from tests.bench.contest import Bar, Contender, Contest, Figures, Ratio, hold, judge, ratio


def contender(name: str, told: list[str], speed: float) -> Contender:
    def run() -> Figures:
        told.append(name)
        return {"per_second": speed + len(told)}

    return Contender(name=name, kind="ours", run=run)


def test_everybody_runs_once_a_round_beginning_with_another_and_the_first_round_does_not_count() -> None:
    told: list[str] = []
    contest = Contest(title="", contenders=(contender("a", told, 0), contender("b", told, 0)), bars=())
    steps: list[int] = []
    results = hold(contest, 2, lambda: steps.append(1))
    assert told == ["a", "b", "b", "a", "a", "b"]
    assert [run["per_second"] for run in results["a"]] == [4, 5]
    assert [run["per_second"] for run in results["b"]] == [3, 6]
    assert len(steps) == 6


def test_a_ratio_is_that_of_the_medians_within_what_rounds_say() -> None:
    found = ratio([10, 12, 11, 10, 30], [5, 6, 5.5, 5, 15])
    assert found.value == 2.0
    assert found.low == found.high == 2.0, "each round says the same, however slow the machine was in it"
    unsure = ratio([10, 20, 30, 40], [10, 10, 10, 10])
    assert unsure.low < unsure.value == 2.5 < unsure.high


def test_a_bar_is_met_by_the_interval() -> None:
    least, most = Bar(figure="x", of="a", least=0.8), Bar(figure="x", of="a", most=1.5)
    close: Callable[[float], Ratio] = lambda value: Ratio(value, value - 0.1, value + 0.1)  # noqa: E731 - a value's range
    assert least.is_met(close(0.75))
    assert not least.is_met(close(0.6))
    assert most.is_met(close(1.55))
    assert not most.is_met(close(1.7))


def test_a_bar_of_its_own_is_about_the_figure_itself() -> None:
    runs: list[Figures] = [{"kib": 20.0}, {"kib": 22.0}, {"kib": 21.0}]
    found = judge(Bar(figure="kib", of="a", most=30), {"a": runs})
    assert found.value == 21.0
    assert 20.0 <= found.low <= found.high <= 22.0
