"""Rows 1 to 9: the broker, the way to it, and ingest."""

from tests.faults.proxy import BLACKHOLE, CLEAR, LOST_ANSWERS, Fault
from tests.faults.row import Body, Row, fill_disk, freeze, in_turn, kill, kill_at, kill_soon, terminate, times
from tests.faults.scene import Scene

#: Megabytes that ingest may grow by while Kafka takes less than comes in: its queue is bounded.
_GROWTH = 150


def on_the_way(fault: Fault, what: str, seconds: float, number: int) -> Body:
    """A fault between ingest and the broker, for so long and so often; ingest's queue is bounded meanwhile."""

    def body(scene: Scene) -> None:
        with scene.stack.behind_proxy("ingest", "kafka") as proxy, scene.measures.memory("ingest") as megabytes:
            for _ in range(number):
                with scene.strike(f"{what} for {seconds:g} s"):
                    proxy.become(fault)
                    scene.stay(seconds)
                    proxy.become(CLEAR)
        grown = ["it grew"] if max(megabytes) > megabytes[0] + _GROWTH else []
        figure = f"{megabytes[0]} MB before, {max(megabytes)} MB at most"
        scene.claim("I8 ingest stays within its memory", grown, figure)

    return body


ROWS = (
    Row(number=1, what="kill -9 the broker, 5 times", body=times(5, kill("kafka"))),
    Row(
        number=2,
        what="freeze the broker for 5, 30 and 120 s",
        body=in_turn(freeze("kafka", 5), freeze("kafka", 30), freeze("kafka", 120)),
    ),
    Row(number=3, what="kill -9 the broker 20 times, seconds apart", body=times(20, kill_soon("kafka", 0.5, 3))),
    Row(number=4, what="fill the broker's disk, 2 times", body=times(2, fill_disk("kafka")), small_disks=True),
    Row(
        number=5,
        what="half-open connections from ingest to the broker, 3 times 40 s",
        body=on_the_way(BLACKHOLE, "half open", 40, 3),
    ),
    Row(
        number=6,
        what="ingest does not hear the broker's answers, 5 times 15 s",
        body=on_the_way(LOST_ANSWERS, "answers lost", 15, 5),
    ),
    Row(
        number=7,
        what="kill -9 ingest before and after producing and before replying, 15 times",
        body=times(
            5, kill_at("ingest.before_produce"), kill_at("ingest.after_produce"), kill_at("ingest.before_reply")
        ),
    ),
    Row(number=8, what="SIGTERM to ingest, 5 times", body=times(5, terminate("ingest"))),
    Row(
        number=9,
        what="10 KB/s from ingest to the broker, 2 times 30 s",
        body=on_the_way(Fault(bandwidth=10_000), "10 KB/s", 30, 2),
    ),
)
