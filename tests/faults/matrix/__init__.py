"""The fault matrix: every row that is played on a whole Hubbub, by its number, and the quick run."""

from tests.faults.matrix import archive, cassandra, kafka, live, reports, spark, stream
from tests.faults.row import Row
from tests.faults.scene import Scene


def everything_killed(scene: Scene) -> None:
    for _ in range(20):
        scene.kill_everything()
        scene.stay(scene.rng.uniform(1, 5))  # each round meets another state


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
        "archive.before_commit",
        "archive.after_commit",
    ):
        scene.kill_at(point)
    scene.kill_soon("api", 0, 1)  # two at once
    scene.kill_at("analytics.after_store")
    scene.kill("reports")
    scene.kill("kafka")
    scene.freeze("cassandra", 5)


QUICK = Row(number=0, what="every role and engine once, at its worst points", body=each_once, rate=100)
ROWS = (
    *kafka.ROWS,
    *stream.ROWS,
    *cassandra.ROWS,
    *spark.ROWS,
    *archive.ROWS,
    *reports.ROWS,
    *live.ROWS,
    Row(number=48, what="kill -9 everything at once, 20 times", body=everything_killed),
)
