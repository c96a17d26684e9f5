"""A consumer that gets no place though Kafka answers is given up; nothing else is held against it."""

import pytest

from infra.runtime.membership import Membership

pytestmark = pytest.mark.unit


def answers() -> bool:
    return True


def silent() -> bool:
    return False


def never_asked() -> bool:
    raise AssertionError("Kafka was asked for a consumer that has its place")


def test_a_place_that_never_comes_is_given_up():
    membership = Membership(30)

    told = [membership.given_up(second, answers) for second in range(40)]

    assert told.index(True) == 30
    assert not membership.joined


def test_whoever_has_a_place_is_not_asked_about():
    membership = Membership(30)
    membership.join()

    assert membership.joined
    assert not membership.given_up(1_000, never_asked)


def test_a_place_lost_late_is_waited_for_anew():
    membership = Membership(30)
    membership.given_up(0, answers)
    membership.join()
    membership.lose()

    assert not membership.given_up(100, answers)
    assert not membership.given_up(129, answers)
    assert membership.given_up(130, answers)


def test_while_kafka_is_silent_no_time_is_counted():
    membership = Membership(30)

    assert not any(membership.given_up(second, silent) for second in range(100))
    assert not membership.given_up(100, answers)
    assert not membership.given_up(115, silent)
    assert not membership.given_up(131, answers)
    assert membership.given_up(161, answers)
