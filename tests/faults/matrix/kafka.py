"""Rows 1 to 9: the broker, the way to it, and ingest."""

from tests.faults.proxy import BLACKHOLE, CLEAR, LOST_ANSWERS, Fault
from tests.faults.row import Row, freeze, in_turn, kill, kill_at, kill_soon, terminate, times
from tests.faults.scene import Scene

#: Megabytes that ingest may grow by while Kafka takes less than comes in: its queue is bounded.
_GROWTH = 150


def disk_full(scene: Scene) -> None:
    for _ in range(2):
        with scene.strike("disk full for 20 s"), scene.stack.full("kafka"):
            scene.stay(20)


def half_open(scene: Scene) -> None:
    with scene.stack.behind_proxy("ingest", "kafka") as proxy:
        for _ in range(3):
            with scene.strike("half open for 40 s"):
                proxy.become(BLACKHOLE)
                scene.stay(40)
                proxy.become(CLEAR)


def lost_answers(scene: Scene) -> None:
    with scene.stack.behind_proxy("ingest", "kafka") as proxy:
        for _ in range(5):
            with scene.strike("answers lost for 15 s"):
                proxy.become(LOST_ANSWERS)
                scene.stay(15)
                proxy.become(CLEAR)


def slow_broker(scene: Scene) -> None:
    with scene.stack.behind_proxy("ingest", "kafka") as proxy, scene.measures.memory("ingest") as megabytes:
        for _ in range(2):
            with scene.strike("10 KB/s for 30 s"):
                proxy.become(Fault(bandwidth=10_000))
                scene.stay(30)
                proxy.become(CLEAR)
    grown = ["it grew"] if max(megabytes) > megabytes[0] + _GROWTH else []
    scene.claim("I8 ingest stays within its memory", grown, f"{megabytes[0]} MB before, {max(megabytes)} MB at most")


ROWS = (
    Row(number=1, what="kill -9 the broker, 5 times", body=times(5, kill("kafka"))),
    Row(
        number=2,
        what="freeze the broker for 5, 30 and 120 s",
        body=in_turn(freeze("kafka", 5), freeze("kafka", 30), freeze("kafka", 120)),
    ),
    Row(number=3, what="kill -9 the broker 20 times, seconds apart", body=times(20, kill_soon("kafka", 0.5, 3))),
    Row(number=4, what="fill the broker's disk, 2 times", body=disk_full, small_disks=True),
    Row(number=5, what="half-open connections from ingest to the broker, 3 times 40 s", body=half_open),
    Row(number=6, what="ingest does not hear the broker's answers, 5 times 15 s", body=lost_answers),
    Row(
        number=7,
        what="kill -9 ingest before and after producing and before replying, 15 times",
        body=times(
            5, kill_at("ingest.before_produce"), kill_at("ingest.after_produce"), kill_at("ingest.before_reply")
        ),
    ),
    Row(number=8, what="SIGTERM to ingest, 5 times", body=times(5, terminate("ingest"))),
    Row(number=9, what="10 KB/s from ingest to the broker, 2 times 30 s", body=slow_broker),
)
