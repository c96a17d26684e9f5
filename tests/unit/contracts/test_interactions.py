"""The histogram of response times: buckets add up, and a quantile is within its stated error of the real one."""

from collections import Counter
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.contracts.interactions import BUCKET_ERROR, INTERACTIONS, LOWEST, bucket, quantile

#: As precise as event times are, up to the longest patience.
seconds = st.integers(1, 86_400_000).map(lambda ms: ms / 1_000)


@given(st.lists(seconds, min_size=1, max_size=200), st.sampled_from([0.0, 0.5, 0.9, 0.95, 1.0]))
def test_a_quantile_is_within_the_error_of_the_time_at_its_rank(times, share):
    found = quantile(Counter(map(bucket, times)), share)
    exact = sorted(times)[floor(share * (len(times) - 1))]
    assert found == pytest.approx(exact, rel=BUCKET_ERROR + 1e-9)


@given(st.lists(seconds), st.lists(seconds))
def test_buckets_add_up(these, those):
    assert Counter(map(bucket, these + those)) == Counter(map(bucket, these)) + Counter(map(bucket, those))


def test_an_answer_within_a_millisecond_has_a_bucket():
    assert bucket(0) == bucket(0.0009) == LOWEST
    assert quantile({}, 0.5) is None


def test_all_buckets_together_are_few():
    assert len({bucket(ms / 1_000) for ms in range(1, 86_400_000, 97)} | {LOWEST}) <= bucket(86_400) - LOWEST + 1 < 200


def test_a_metric_shows_its_part_of_a_window():
    counts = {"sessions": 3, "engaged_ms": 61_440, "answered": 4, "unanswered": 0}
    buckets = Counter(map(bucket, (10, 20, 30, 400)))
    shown = {name: metric.value(counts, buckets) for name, metric in INTERACTIONS.items()}
    assert (shown["sessions"], shown["engaged_seconds"], shown["answered"], shown["unanswered"]) == (3, 61.4, 4, None)
    assert shown["response_time_p50"] == pytest.approx(20, rel=0.05)
    assert shown["response_time_p90"] == pytest.approx(30, rel=0.05)
    assert shown["response_time_p95"] == pytest.approx(30, rel=0.05)
    assert INTERACTIONS["response_time_p50"].value(counts, {}) is None
