"""Rows 19 to 26: Cassandra, and what history must stand."""

from datetime import UTC, datetime, timedelta
from typing import Any

from infra.runtime.cassandra import connect
from tests.faults.load import change, message
from tests.faults.proxy import CLEAR, Fault
from tests.faults.row import Row, fill_disk, freeze, kill, times
from tests.faults.scene import Scene
from tests.integration.streams.writing import snapshot, uncommitted

_BATCH = 500


def slow_writes(scene: Scene) -> None:
    with scene.stack.behind_proxy("history", "cassandra") as proxy:
        scene.flow()
        with scene.measures.live("live before"):
            scene.stay(30)
        with scene.strike("100 ms to Cassandra for 60 s"), scene.measures.live("live meanwhile"):
            proxy.become(Fault(latency=0.05, jitter=0.02))
            scene.stay(60)
            proxy.become(CLEAR)
    scene.claim("live is not held up", scene.measures.slower("live before", "live meanwhile", 1.5))


def hot_channel(scene: Scene) -> None:
    with scene.strike("100,000 messages in one channel", 600):
        fill(scene, "quiet", 20_000)
        fill(scene, "hot", 100_000)
    with_page_times(scene, "quiet")
    with_page_times(scene, "hot")
    scene.claim("page p99 within 2 x", scene.measures.slower("page of quiet", "page of hot", 2))


def mass_delete(scene: Scene) -> None:
    fill(scene, "clean", 20_000)
    ids = fill(scene, "cleared", 20_000)
    doomed = [m for n, m in enumerate(ids) if n % 100]
    with scene.strike(f"{len(doomed):,} deletes", 600):
        for at in range(0, len(doomed), _BATCH):
            scene.load.send([change("message.deleted", m, "cleared") for m in doomed[at : at + _BATCH]])
    with_page_times(scene, "clean")
    with_page_times(scene, "cleared")
    scene.claim("page p99 within 3 x", scene.measures.slower("page of clean", "page of cleared", 3))


def fill(scene: Scene, channel: str, count: int) -> list[str]:
    """So many messages in a channel; their ids, oldest first."""
    ids: list[str] = []
    for at in range(0, count, _BATCH):
        messages = [message(f"w{n}", channel, f"message {n}") for n in range(at, min(at + _BATCH, count))]
        scene.load.send(messages)
        ids += [m["id"] for m in messages]
    return ids


def with_page_times(scene: Scene, channel: str) -> None:
    """Time 200 pages, from the newest back."""
    before: str | None = None
    with scene.measures.times(f"page of {channel}") as seconds:
        for _ in range(200):
            page, took = scene.get(f"/v1/channels/{channel}/messages", limit=50, before=before)
            seconds.append(took)
            before = page["next_cursor"]


def read_again(scene: Scene) -> None:
    """The whole of the topics once more, by a consumer group that has read nothing."""
    scene.stay(20)
    scene.load.stop()
    # A channel's last activity is stored with the commit, not with its message.
    scene.stack.wait(lambda: not uncommitted(scene.stack.kafka), 60, "history to have committed all")
    database = connect(scene.stack.cassandra, prepare=False)
    try:
        before = snapshot(database, scene.tenant)
        with scene.stack.altered("history", HUBBUB_FAULTS_GROUP="-again"):
            scene.stack.settle(600)
        after = snapshot(database, scene.tenant)
    finally:
        database.close()
    wrong = [table for table, rows in before.items() if rows != after[table]]
    count = sum(map(len, before.values()))
    scene.claim("every row and write time is as before", wrong, f"{count:,} rows in {len(before)} tables")


def changes_first(scene: Scene) -> None:
    """Edits and deletes that come before their messages, with a kill of the writer in between."""
    for _ in range(3):
        now = datetime.now(UTC) - timedelta(seconds=1)
        later: list[dict[str, Any]] = []
        first: list[dict[str, Any]] = []
        for n in range(60):
            original = message(f"late-{n}", f"c{n % 8}", f"original {n}")
            later.append(original)
            place = original["id"], original["channel_id"]
            if n % 3 != 1:
                first += [
                    change("message.edited", *place, time=now + timedelta(milliseconds=at), text=f"edited {at}")
                    for at in (1, 2)
                ]
            if n % 3 != 0:
                first.append(change("message.deleted", *place))
        scene.rng.shuffle(first)
        scene.load.send(first)
        scene.kill("history")
        scene.load.send(later)


ROWS = (
    Row(number=19, what="kill -9 Cassandra, 5 times", body=times(5, kill("cassandra"))),
    Row(number=20, what="freeze Cassandra for 30 s, 3 times", body=times(3, freeze("cassandra", 30))),
    Row(number=21, what="fill Cassandra's disk, 2 times", body=times(2, fill_disk("cassandra")), small_disks=True),
    Row(number=22, what="100 ms between the history writer and Cassandra, for 60 s", body=slow_writes),
    Row(number=23, what="100,000 messages in one channel", body=hot_channel, rate=40),
    Row(number=24, what="20,000 messages in a channel, 99 % of them deleted", body=mass_delete, rate=40),
    Row(number=25, what="the history writer reads every topic from its beginning", body=read_again),
    Row(
        number=26,
        what="180 messages that come after their changes, the writer killed between",
        body=changes_first,
    ),
)
