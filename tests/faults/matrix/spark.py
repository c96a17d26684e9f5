"""Rows 27 to 31: the metrics query, its checkpoint, and what comes late."""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from analytics.checkpoint import folder_of, spark_folder
from analytics.settings import Analytics
from tests.faults.load import message
from tests.faults.row import Body, Row, fill_disk, in_turn, kill, kill_at, times
from tests.faults.scene import Scene


def _checkpoint(scene: Scene) -> Path:
    return folder_of(Analytics(), scene.stack.data)


def cut_offsets(folder: Path) -> None:
    _newest(spark_folder(folder) / "offsets").write_bytes(b"v1\n{")


def cut_commit(folder: Path) -> None:
    _newest(spark_folder(folder) / "commits").write_bytes(b"v")


def lose_state(folder: Path) -> None:
    for file in (spark_folder(folder) / "state").rglob("*.delta"):
        file.unlink()


def older_measures(folder: Path) -> None:
    """As a version leaves it that knew one measure less."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["fixed"]["measures"].pop()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _newest(folder: Path) -> Path:
    return max((f for f in folder.iterdir() if f.name.isdigit()), key=lambda f: int(f.name))


def refused_and_rebuilt(*damages: Callable[[Path], None]) -> Body:
    """Each damage is refused in words that say how to rebuild, and a rebuild comes to the same numbers."""

    def body(scene: Scene) -> None:
        log, folder = scene.stack.data / "logs" / "analytics.log", _checkpoint(scene)
        for damage in damages:
            with scene.stack.held("analytics"):
                scene.kills += 1
                damage(folder)
                refusals = _refusals(log)
            scene.stack.wait(lambda: _refusals(log) > refusals, 120, f"{damage.__name__} to be refused")  # noqa: B023
            with scene.strike(f"rebuilt after {damage.__name__}"):
                shutil.rmtree(folder)
            scene.measures.notes[f"refusals of {damage.__name__}"] = _refusals(log) - refusals

    return body


def _refusals(log: Path) -> int:
    return log.read_text().count("To rebuild, delete that folder")


def late_and_future(scene: Scene) -> None:
    now = datetime.now(UTC)
    late = [message("late", f"c{n % 8}", f"late {n}", time=now - timedelta(minutes=10)) for n in range(100)]
    future = [message("early", "c0", f"early {n}", time=now + timedelta(days=1)) for n in range(50)]
    for events in (late, future):
        scene.load.send(events)
        scene.flow()
    told = [scene.load.ledger.lines[e["id"]].outcome for e in future]
    scene.claim(
        "what is a day ahead is refused", [o for o in told if o != "refused"], f"{told.count('refused')} of {len(told)}"
    )


def backlog(role: str, seconds: float) -> Body:
    """The role is away so long; memory of the others and what live readers see meanwhile, and the time to drain."""

    def body(scene: Scene) -> None:
        others = [part for part in scene.stack.pids() if part != role]
        with scene.measures.live("live before"):
            scene.stay(30)
        before = {part: scene.stack.resident(part) for part in others}
        what = f"{role} was away for {seconds:.0f} s"
        with scene.strike(what, 600), scene.measures.live(f"live without {role}"), scene.stack.held(role):
            scene.kills += 1
            scene.stay(seconds)
            after = {part: scene.stack.resident(part) for part in others}
        drained = scene.recovered[what][-1]
        scene.measures.notes |= {f"MB of {part} without {role}": f"{before[part]} to {after[part]}" for part in others}
        scene.measures.notes[f"MB of {role}"] = scene.stack.resident(role)
        scene.claim("live is not held up", scene.measures.slower("live before", f"live without {role}", 1.5))
        slow = [] if drained < seconds / 3 else [f"{drained:.0f} s"]
        scene.claim("drained in a third of the time", slow, f"{drained:.0f} s")

    return body


ROWS = (
    Row(
        number=27,
        what="kill -9 analytics before storing, after it and at any moment, 10 times",
        body=in_turn(
            times(3, kill_at("analytics.before_store"), kill_at("analytics.after_store")), times(4, kill("analytics"))
        ),
    ),
    Row(
        number=28,
        what="the checkpoint's offsets or commits cut, its state lost, its disk full",
        body=in_turn(refused_and_rebuilt(cut_offsets, cut_commit, lose_state), fill_disk("checkpoints")),
        small_disks=True,
    ),
    Row(number=29, what="100 events 10 minutes late, 50 a day ahead", body=late_and_future),
    Row(
        number=30,
        what="analytics away for 10 minutes, then the history writer",
        body=in_turn(backlog("analytics", 600), backlog("history", 600)),
        rate=500,
    ),
    Row(number=31, what="a checkpoint of an older version", body=refused_and_rebuilt(older_measures)),
)
