"""The parts of `churn` that need no Spark: which weeks it learns from, when it abstains, how it says why."""

from datetime import date
from math import log1p
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.reports import churn, leaving, outcomes
from analytics.reports.leaving import Bin, Judgement, Model
from analytics.reports.outcomes import FEATURES, HISTORY, HORIZON, READ, Feature, weeks
from analytics.reports.pasts import Past
from analytics.reports.spans import Span

NAMES = [feature.name for feature in FEATURES]


@given(st.integers(0, 2 * READ))
def test_training_knows_nothing_of_what_it_is_judged_by(history: int):
    found = weeks(history)
    if history < HISTORY:
        assert not found.training
        assert not found.held_out
        return
    assert 1 <= len(found.held_out) <= 4
    assert 1 <= len(found.training) <= 8
    # Every outcome is over, every first day is there, and the last outcome of training is over before the first test.
    assert min(found.held_out) == HORIZON
    assert min(found.training) - HORIZON == max(found.held_out)
    assert max(found.training) + HORIZON <= min(history, READ)
    every = [*found.held_out, *found.training]
    assert all(day % 7 == 0 for day in every)
    assert len(set(every)) == len(every)


def test_no_more_is_read_than_is_used_and_no_less():
    assert max(weeks(READ).training) + HORIZON == READ
    assert (len(weeks(READ).training), len(weeks(READ).held_out)) == (8, 4)
    assert weeks(10 * READ) == weeks(READ)
    assert (list(weeks(HISTORY).training), list(weeks(HISTORY).held_out)) == ([28], [14])


@pytest.mark.parametrize(
    ("history", "left", "stayed", "why"),
    [
        (0, 0, 0, "0 days of history; 42 are needed, three times 14"),
        (41, 900, 900, "41 days of history; 42 are needed, three times 14"),
        (42, 99, 900, "99 people left and 900 stayed in training weeks; 100 of each are needed"),
        (90, 900, 99, "900 people left and 99 stayed in training weeks; 100 of each are needed"),
        (42, 100, 100, None),
    ],
)
def test_it_abstains_below_what_it_needs(history: int, left: int, stayed: int, why: str | None):
    assert Past(history=history, people=7, left=left, stayed=stayed).missing == why


def judgement(auc: float | None, *bins: tuple[int, int, int, int, float]) -> Judgement:
    found = [Bin(ref=r, number=n, people=p, left=gone, expected=e, squares=1.0) for r, n, p, gone, e in bins]
    return Judgement(bins=found, auc={None: auc, **{one.ref: auc for one in found}})


def test_it_abstains_where_it_knows_no_better_than_chance():
    assert churn.unreliable(judgement(0.6)) is None
    assert churn.unreliable(judgement(0.547)) == (
        "the model's AUC on held-out weeks is 0.55, which is too close to guessing; 0.60 is needed"
    )
    assert "cannot" not in str(churn.unreliable(judgement(None)))
    assert "nobody left, or nobody stayed" in str(churn.unreliable(judgement(None)))
    assert "nobody left, or nobody stayed" in str(churn.unreliable(Judgement(bins=(), auc={})))
    assert churn.judged(Judgement(bins=(), auc={None: None})) == {}


def test_calibration_adds_weeks_up_by_band_and_bands_by_week():
    found = judgement(0.8, (14, 0, 80, 4, 4.0), (14, 9, 20, 19, 18.0), (21, 0, 100, 14, 6.0))
    # Bands: |10 - 18| and |18 - 19|, of 200.
    assert found.error == pytest.approx(9 / 200)
    assert found.brier == pytest.approx(3 / 200)
    assert churn.judged(found) == {
        **{"outcomes": 200, "predicted": 14.0, "observed": 18.5},
        **{"auc": 0.8, "brier": 0.015, "calibration_error": 4.5},
    }
    rows = list(churn.lists(found, Span(day=date(2026, 3, 29), zone=ZoneInfo("UTC"))))
    assert [(row["key"], row["outcomes"], row["predicted"], row["observed"]) for row in rows] == [
        ("00 to 10 %", 180, 5.6, 10.0),
        ("90 to 100 %", 20, 90.0, 95.0),
        ("2026-03-15", 100, 22.0, 23.0),
        ("2026-03-08", 100, 6.0, 14.0),
    ]


def model(**weights: float) -> Model:
    means = {"away": 2.0, "overdue": log1p(1), "days": 8.0, "messages": log1p(20)}
    return Model(
        means=tuple(means.get(name, 0.0) for name in NAMES),
        weights=tuple(weights.get(name, 0.0) for name in NAMES),
        intercept=0.0,
        stretch=2.0,
        shift=0.0,
    )


def values(**known: float) -> list[float]:
    return [known.get(name, 0.0) for name in NAMES]


def test_reasons_are_the_strongest_shares_and_say_which_way():
    one = model(away=0.3, days=-0.1, messages=-0.5, reactions=0.01)
    # 0.3 * 7, -0.1 * -6, -0.5 * (log 2 - log 21), 0.01 * log 4.
    assert one.reasons(values(away=9, days=2, messages=log1p(1), reactions=log1p(3))) == [
        "↑ last active 9 days ago, others 2",
        "↑ messages: 1, others 20",
        "↑ active on 2 of 14 days, others 8",
    ]
    assert one.reasons(values(away=0, days=8, messages=log1p(40)))[0] == "↓ active on the last day, others 2 days ago"
    assert model().reasons(values(away=9)) == []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("away", 1, "last active 1 day ago, others 2.5"),
        ("overdue", 4.5, "away 4.5 times their usual gap, others 2.5"),
        ("fading", 3, "came 3 days fewer than the week before"),
        ("fading", -1, "came 1 day more than the week before"),
        ("fading", 0, "came as often as the week before"),
        ("heard", 0, "replies and reactions received: 0, others 2.5"),
        ("messages", 123.4, "messages: 123, others 2.5"),
    ],
)
def test_every_feature_has_words(name: str, value: float, said: str):
    features: dict[str, Feature] = {feature.name: feature for feature in outcomes.FEATURES}
    assert features[name].words(value, 2.5) == said


def test_sums_of_bins_are_what_several_are_as_one():
    found = leaving.total(judgement(0.8, (14, 3, 5, 2, 1.5), (21, 4, 7, 1, 2.5)).bins)
    assert (found.people, found.left, found.expected, found.squares) == (12, 3, 4.0, 2.0)
