"""The rows of the fault matrix that are played on a whole Hubbub, and the positive controls.

A row names what is done, how often, and to what; the load, the readers and the verdict are those of `scene.play`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from operator import methodcaller

from tests.faults.scene import Scene

Body = Callable[[Scene], None]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One fault of the matrix."""

    number: int
    what: str
    body: Body
    rate: float = 200


@dataclass(frozen=True, kw_only=True)
class Control:
    """A mutant of a role, the point at which it dies, and the claim that must fail."""

    name: str
    role: str
    point: str
    breaks: str
    quick: bool = True


def times(number: int, *steps: Body) -> Body:
    """These steps in turn, so often."""

    def body(scene: Scene) -> None:
        for _ in range(number):
            for step in steps:
                step(scene)

    return body


def in_turn(*steps: Body) -> Body:
    """These steps, once."""
    return times(1, *steps)


def kill(part: str) -> Body:
    return methodcaller("kill", part)


def kill_at(point: str) -> Body:
    return methodcaller("kill_at", point)


def kill_soon(part: str, least: float, most: float) -> Body:
    return methodcaller("kill_soon", part, least, most)


def freeze(part: str, seconds: float) -> Body:
    return methodcaller("freeze", part, seconds)


def everything_killed(scene: Scene) -> None:
    for _ in range(20):
        scene.kill_everything()
        time.sleep(scene.rng.uniform(1, 5))  # each round meets another state


def each_once(scene: Scene) -> None:
    """The quick run: every role and engine once, at points where it matters."""
    for point in (
        "ingest.before_produce",
        "ingest.after_produce",
        "ingest.before_reply",
        "router.before_produce",
        "router.before_commit",
        "history.before_write",
        "history.before_commit",
    ):
        scene.kill_at(point)
    scene.kill_soon("api", 0, 1)  # two at once
    scene.kill_at("analytics.after_store")
    scene.kill("kafka")
    scene.freeze("cassandra", 5)


ROWS = (
    Row(number=1, what="kill -9 the broker, 5 times", body=times(5, kill("kafka"))),
    Row(
        number=2,
        what="freeze the broker for 5, 30 and 120 s",
        body=in_turn(freeze("kafka", 5), freeze("kafka", 30), freeze("kafka", 120)),
    ),
    Row(number=3, what="kill -9 the broker 20 times, seconds apart", body=times(20, kill_soon("kafka", 0.5, 3))),
    Row(
        number=7,
        what="kill -9 ingest before and after producing and before replying, 15 times",
        body=times(
            5, kill_at("ingest.before_produce"), kill_at("ingest.after_produce"), kill_at("ingest.before_reply")
        ),
    ),
    Row(number=8, what="SIGTERM to ingest, 5 times", body=times(5, methodcaller("terminate", "ingest"))),
    Row(
        number=11,
        what="kill -9 the router 200 times and the history writer 10 times, 30 of them at their worst points",
        body=in_turn(
            times(10, kill_at("router.before_produce"), kill_at("router.before_commit")),
            times(180, kill_soon("router", 0.1, 8)),
            times(5, kill_at("history.before_write"), kill_at("history.before_commit")),
        ),
    ),
    Row(number=13, what="freeze the router for longer than its session, 5 times", body=times(5, freeze("router", 15))),
    Row(number=19, what="kill -9 Cassandra, 5 times", body=times(5, kill("cassandra"))),
    Row(number=20, what="freeze Cassandra for 30 s, 3 times", body=times(3, freeze("cassandra", 30))),
    Row(
        number=27,
        what="kill -9 analytics before storing, after it and at any moment, 10 times",
        body=in_turn(
            times(3, kill_at("analytics.before_store"), kill_at("analytics.after_store")), times(4, kill("analytics"))
        ),
    ),
    Row(number=34, what="kill -9 the API, 10 times", body=times(10, kill("api"))),
    Row(number=48, what="kill -9 everything at once, 20 times", body=everything_killed),
)
QUICK = Row(number=0, what="every role and engine once, at its worst points", body=each_once, rate=100)

CONTROLS = (
    Control(name="early_ack", role="router", point="mutant.early_ack", breaks="I1-I3"),
    Control(name="raising", role="router", point="mutant.raising", breaks="I1-I3", quick=False),
    Control(name="fire_and_forget", role="ingest", point="mutant.fire_and_forget", breaks="I1-I3"),
    Control(name="auto_commit", role="history", point="mutant.auto_commit", breaks="I1 history"),
    Control(name="increment", role="analytics", point="mutant.increment", breaks="I6"),
)


def body_of(control: Control) -> Body:
    """The body that has the mutant die once."""

    def body(scene: Scene) -> None:
        scene.stack.arm(control.point)
        scene.stack.fired(control.point)

    return body
