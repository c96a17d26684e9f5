"""The rows of the fault matrix that are played on a whole Hubbub, and the positive controls.

A row names what is done, how often, and to what; the load, the readers and the verdict are those of `scene.play`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

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


def broker_killed(scene: Scene) -> None:
    for _ in range(5):
        scene.kill("kafka")


def broker_frozen(scene: Scene) -> None:
    for seconds in (5, 30, 120):
        scene.freeze("kafka", seconds)


def broker_flaps(scene: Scene) -> None:
    for _ in range(20):
        scene.kill_soon("kafka", 0.5, 3)


def ingest_killed(scene: Scene) -> None:
    for _ in range(5):
        for point in ("ingest.before_produce", "ingest.after_produce", "ingest.before_reply"):
            scene.kill_at(point)


def ingest_terminated(scene: Scene) -> None:
    for _ in range(5):
        scene.terminate("ingest")


def router_killed(scene: Scene) -> None:
    for _ in range(10):
        scene.kill_at("router.before_produce")
        scene.kill_at("router.before_commit")
    for _ in range(180):
        scene.kill_soon("router", 0.1, 8)


def router_frozen(scene: Scene) -> None:
    for _ in range(5):
        scene.freeze("router", 15)


def history_killed(scene: Scene) -> None:
    for _ in range(5):
        scene.kill_at("history.before_write")
        scene.kill_at("history.before_commit")


def cassandra_killed(scene: Scene) -> None:
    for _ in range(5):
        scene.kill("cassandra")


def cassandra_frozen(scene: Scene) -> None:
    for _ in range(3):
        scene.freeze("cassandra", 30)


def analytics_killed(scene: Scene) -> None:
    for _ in range(3):
        scene.kill_at("analytics.before_store")
        scene.kill_at("analytics.after_store")
    for _ in range(4):
        scene.kill("analytics")


def api_killed(scene: Scene) -> None:
    for _ in range(10):
        scene.kill("api")


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
    Row(number=1, what="kill -9 the broker, 5 times", body=broker_killed),
    Row(number=2, what="freeze the broker for 5, 30 and 120 s", body=broker_frozen),
    Row(number=3, what="kill -9 the broker 20 times, seconds apart", body=broker_flaps),
    Row(
        number=7, what="kill -9 ingest before and after producing and before replying, 5 times each", body=ingest_killed
    ),
    Row(number=8, what="SIGTERM to ingest, 5 times", body=ingest_terminated),
    Row(number=11, what="kill -9 the router 200 times, 20 of them at its worst points", body=router_killed),
    Row(number=13, what="freeze the router for longer than its session, 5 times", body=router_frozen),
    Row(
        number=14,
        what="kill -9 the history writer before writing and before committing, 5 times each",
        body=history_killed,
    ),
    Row(number=19, what="kill -9 Cassandra, 5 times", body=cassandra_killed),
    Row(number=20, what="freeze Cassandra for 30 s, 3 times", body=cassandra_frozen),
    Row(
        number=27, what="kill -9 analytics before and after storing and at any moment, 10 times", body=analytics_killed
    ),
    Row(number=34, what="kill -9 the API, 10 times", body=api_killed),
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
