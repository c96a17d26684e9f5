import random
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.client.backoff import Backoff, retry_after

pytestmark = pytest.mark.unit

_NOW = datetime(2025, 1, 1, tzinfo=UTC)


@given(st.integers(1, 10_000), st.integers())
def test_a_wait_stays_under_its_bound(attempt: int, seed: int) -> None:
    backoff = Backoff(first=0.5, longest=8.0, rng=random.Random(seed))
    assert 0 <= backoff.delay(attempt) <= min(8.0, 0.5 * 2 ** min(attempt - 1, 30))


@given(st.floats(0, 60), st.integers())
def test_it_never_comes_back_before_it_was_told_to(asked: float, seed: int) -> None:
    waited = Backoff(rng=random.Random(seed)).delay(3, asked)
    assert asked <= waited <= asked + 1


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("3", 3.0), ("Wed, 01 Jan 2025 00:00:10 GMT", 10.0), ("Tue, 31 Dec 2024 00:00:00 GMT", 0.0), ("soon", None)],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    assert retry_after({"Retry-After": value}, _NOW) == seconds


def test_without_the_header_nothing_is_asked() -> None:
    assert retry_after({}, _NOW) is None
