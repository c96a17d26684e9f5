"""Work in a process of its own: told when it fails, cut off when the role stops."""

import threading
import time

from analytics.rounds import Rounds
from infra.runtime.health import Check


def test_a_round_fails_the_check_until_one_goes_well():
    stopping = threading.Event()
    assert Rounds("this", "look")() == Check(True)
    failing = Rounds("no_such_module", "look at it")
    assert failing.run(stopping) == 1
    assert failing() == Check(False, "the last round ended with 1: look at it")
    failing.ended(0)
    assert failing().ok


def test_a_round_is_cut_off_when_the_role_stops():
    stopping = threading.Event()
    forever = Rounds("tests.unit.analytics.forever", "look")
    began = time.monotonic()
    threading.Timer(0.5, stopping.set).start()
    assert forever.run(stopping) is None
    assert time.monotonic() - began < 30  # it would not end by itself
    assert forever().ok
