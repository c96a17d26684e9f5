"""Restarts: at once at first, slower while failing quickly, at once again after a steady run."""

from infra.local.backoff import DELAYS, STEADY, Backoff


def test_quick_failures_wait_longer_and_longer_up_to_a_bound() -> None:
    backoff = Backoff()
    assert [backoff.after(0.1) for _ in range(len(DELAYS) + 2)] == [*DELAYS, DELAYS[-1], DELAYS[-1]]
    assert (DELAYS[0], DELAYS[-1]) == (0.0, 10.0)


def test_a_steady_run_starts_the_row_again() -> None:
    backoff = Backoff()
    backoff.after(1)
    backoff.after(1)
    assert backoff.after(STEADY) == 0.0
    assert backoff.after(1) == DELAYS[1]
