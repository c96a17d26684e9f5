import msgspec
from hypothesis import given
from hypothesis import strategies as st

from infra.contracts.control import Limits, Tenant
from ingest.buckets import BURST_SECONDS, Bucket
from ingest.limits import Limiter

WIDE = Limits(tenant_rate=10**9, user_rate=10**9, channel_rate=10**9)


def limited(**rates: int) -> Tenant:
    return Tenant(id="acme", limits=msgspec.structs.replace(WIDE, **rates))


def test_a_burst_of_ten_seconds_then_the_rate():
    tenant, limiter = limited(user_rate=2), Limiter(100)
    buckets = limiter.of(tenant, 0.0)
    taken = [buckets.take("ada", "general", 0.0) is None for _ in range(25)]
    assert taken == [True] * 20 + [False] * 5
    assert [limiter.of(tenant, 1.0).take("ada", "general", 1.0) is None for _ in range(3)] == [True, True, False]
    assert limiter.of(tenant, 1.0).take("bob", "general", 1.0) is None


def test_each_kind_of_limit_names_its_bucket():
    for rate in ("tenant_rate", "user_rate", "channel_rate"):
        buckets = Limiter(100).of(limited(**{rate: 1}), 0.0)
        for _ in range(BURST_SECONDS):
            assert buckets.take("ada", "general", 0.0) is None
        empty = buckets.take("ada", "general", 0.0)
        assert empty is not None
        assert (empty.limit, empty.rate, empty.wait(1)) == (rate.removesuffix("_rate"), 1, 1)


def test_a_refused_event_takes_nothing():
    buckets = Limiter(100).of(limited(channel_rate=1), 0.0)
    for _ in range(50):
        buckets.take("ada", "general", 0.0)
    assert buckets.tenant.tokens == 10**9 * BURST_SECONDS - 10
    assert buckets.users["ada"].tokens == 10**9 * BURST_SECONDS - 10


def test_an_event_without_a_channel_needs_no_channel_bucket():
    buckets = Limiter(100).of(limited(channel_rate=1), 0.0)
    assert all(buckets.take("ada", None, 0.0) is None for _ in range(50))
    assert not buckets.channels


def test_new_limits_start_full():
    limiter = Limiter(100)
    before = limiter.of(limited(user_rate=1), 0.0)
    for _ in range(10):
        before.take("ada", None, 0.0)
    assert limiter.of(limited(user_rate=1), 0.0) is before
    assert limiter.of(limited(user_rate=2), 0.0).take("ada", None, 0.0) is None


def test_the_number_of_buckets_is_bounded_and_idle_ones_go_first():
    tenant, limiter = limited(), Limiter(3)
    for second in range(10):
        limiter.of(tenant, float(second)).take(f"user-{second}", f"channel-{second}", float(second))
    buckets = limiter.of(tenant, 11.5)
    assert set(buckets.users) == {"user-7", "user-8", "user-9"}
    assert set(buckets.channels) == {"channel-7", "channel-8", "channel-9"}
    assert set(limiter.of(tenant, 60.0).users) == {"user-7", "user-8", "user-9"}


@given(rate=st.integers(1, 50), waits=st.lists(st.floats(0, 5), min_size=1, max_size=200))
def test_no_schedule_gets_more_than_burst_and_rate(rate, waits):
    bucket, now, taken = Bucket("user", rate, 0.0), 0.0, 0
    for wait in waits:
        now += wait
        bucket.refill(now)
        while bucket.tokens >= 1:
            bucket.tokens -= 1
            taken += 1
        assert taken <= rate * (BURST_SECONDS + now) + 1e-6
        assert bucket.wait(1) >= 1
