"""Windows: every moment lies in exactly one of each grain, and grains nest."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from infra.contracts import windows

moments = st.datetimes(datetime(1970, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))


@given(moments, st.sampled_from(windows.GRAINS))
def test_a_moment_lies_in_its_window(moment, grain):
    start = grain.start(moment)
    assert start <= moment < grain.end(start)
    assert grain.start(start) == start


@given(moments)
def test_grains_nest(moment):
    for parent, child in windows.MERGED_FROM.items():
        assert parent.start(child.start(moment)) == parent.start(moment)
        assert parent.start(moment) <= child.start(moment)


@given(moments, st.sampled_from(windows.GRAINS))
def test_a_period_holds_its_windows_whole(moment, grain):
    start = grain.start(moment)
    period = datetime.fromisoformat(grain.period_of(start)).replace(tzinfo=UTC)
    assert period <= start < period + grain.period
    assert grain.period % grain.width == timedelta(0)
