from datetime import UTC, datetime

from api.live.rates import HISTORY, Rates
from infra.runtime.clock import ManualClock


def test_the_rate_is_the_mean_of_ten_whole_seconds() -> None:
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    rates = Rates(clock)
    for _ in range(20):
        for _ in range(7):
            rates.count("a")
        rates.count("b")
        clock.advance(1)
    assert (rates.per_second("a"), rates.per_second("b"), rates.per_second("c")) == (7.0, 1.0, 0.0)
    clock.advance(5)
    assert rates.per_second("a") == 3.5
    assert rates.history("a")[-6] == 7.0
    clock.advance(HISTORY)
    assert rates.per_second("a") == 0.0
    rates.count("a")
    assert len(rates._seconds) < HISTORY
