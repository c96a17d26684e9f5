"""IRC logs and Slack exports through a real ingest into a real Kafka, some of the imports killed on the way."""

import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.contracts.control import Scope
from infra.contracts.events import Event
from infra.contracts.topics import BACKFILL
from infra.runtime.settings import Kafka
from ingest.importers.irc import open_logs
from ingest.importers.run import import_files
from ingest.importers.slack import SlackExport
from tests.integration.ingest.serving import Guest, IngestProcess, serving
from tests.unit.ingest import slack_workspace as ws

#: An import that dies as soon as something is confirmed and remembered, with other requests under way.
_IMPORT = """
import os
import signal
import sys
from pathlib import Path
from ingest.importers.checkpoint import Checkpoint
from ingest.importers.irc import open_logs
from ingest.importers.run import import_files
from ingest.importers.slack import SlackExport
save = Checkpoint.save

def save_and_die(checkpoint, position):
    save(checkpoint, position)
    if checkpoint.path.exists():
        os.kill(os.getpid(), signal.SIGKILL)

Checkpoint.save = save_and_die
form, url, key, state, *paths = sys.argv[1:]
paths = [Path(path) for path in paths]
sources = open_logs(paths) if form == "irc" else [SlackExport(path) for path in paths]
import_files(sources, url=url, key=key, state_dir=Path(state), batch_events=20, in_flight=2)
"""


@pytest.fixture(scope="module")
def process(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[IngestProcess]:
    with serving(kafka, tmp_path_factory.mktemp("ingest") / "log") as process:
        yield process


@pytest.fixture
def guest(process: IngestProcess) -> Guest:
    guest = Guest(ingest=process)
    guest.move_in()
    return guest


def _logs(folder: Path, lines: int) -> list[Path]:
    """Three logs of two channels, each over midnight: the nth line says n, every tenth comes or goes."""
    paths = []
    for name, channel in (("2005-03-01.a.txt", "#a"), ("2005-03-05.a.txt", "#a"), ("2005-03-01.b.txt", "#b")):
        said = [f"=== first [~f@host]  has joined {channel}"]
        for n in range(lines):
            minute = 23 * 60 + n * 120 // lines
            clock = f"[{minute // 60 % 24:02d}:{minute % 60:02d}]"
            kind = n % 10
            if kind == 3:
                said.append(f"=== u{n} [~u@host]  has joined {channel}")
            elif kind == 7:
                said.append(f'=== u{n - 4} [~u@host]  has left {channel} ["bye"]')
            elif kind == 5:
                said.append(f"{clock}  * u{n} {n}")
            else:
                said.append(f"{clock} <u{n}> {n}")
        path = folder / name
        path.write_text("\n".join(said) + "\n")
        paths.append(path)
    return paths


def _killed_once(guest: Guest, form: str, state: Path, *paths: Path) -> None:
    """An import that is killed once something is confirmed."""
    command = [sys.executable, "-c", _IMPORT, form, guest.url, guest.keys[Scope.BACKFILL], str(state), *map(str, paths)]
    assert subprocess.run(command, timeout=60, check=False).returncode == -signal.SIGKILL


def _first_copies(events: list[Event]) -> dict[str, list[Event]]:
    """Each channel's events in the order they stand in the log, first copies alone."""
    channels: dict[str, dict[str, Event]] = defaultdict(dict)
    for event in events:
        channels[event.channel_id or ""].setdefault(event.id, event)
    return {channel: list(found.values()) for channel, found in channels.items()}


def test_logs_are_imported_once_in_order_though_killed(guest: Guest, tmp_path: Path) -> None:
    paths, state = _logs(tmp_path, 2_000), tmp_path / "state"
    _killed_once(guest, "irc", state, *paths)
    key = guest.keys[Scope.BACKFILL]
    summary = import_files(open_logs(paths), url=guest.url, key=key, state_dir=state)
    assert 0 < summary.lines + 2_001 * summary.skipped < 3 * 2_001
    channels = _first_copies(guest.stored(BACKFILL))
    assert {channel: len(found) for channel, found in channels.items()} == {"#a": 4_002, "#b": 2_001}
    for found in channels.values():
        assert [event.id for event in found] == sorted(event.id for event in found)
        assert all(event.historical for event in found)
        kinds = Counter(event.type for event in found)
        files = len(found) // 2_001
        assert kinds == {
            "message.sent": 1_600 * files, "channel.joined": 201 * files, "channel.left": 200 * files
        }  # fmt: skip
        assert sum(1 for event in found if (event.properties or {}).get("action")) == 200 * files
        days = Counter(f"{event.time:%m-%d}" for event in found)
        assert days["03-01"] == 1_001
        assert days["03-02"] == 1_000
    again = import_files(open_logs(paths), url=guest.url, key=key, state_dir=state)
    forced = import_files(open_logs(paths), url=guest.url, key=key, state_dir=state, force=True)
    assert (again.skipped, again.accepted, forced.accepted, forced.duplicates) == (3, 0, 0, 6_003)
    assert len(guest.stored(BACKFILL)) == 6_003


def test_an_export_is_imported_once_in_order_though_killed(guest: Guest, tmp_path: Path) -> None:
    path, state = (
        ws.zipped(tmp_path / "export.zip", ws.busy_workspace(channels=6, days=5, messages=100)),
        tmp_path / "s",
    )
    _killed_once(guest, "slack", state, path)
    key = guest.keys[Scope.BACKFILL]
    summary = import_files([SlackExport(path)], url=guest.url, key=key, state_dir=state)
    assert 0 < summary.lines < 3_000
    channels = _first_copies(guest.stored(BACKFILL))
    assert len(channels) == 6
    for found in channels.values():
        assert Counter(event.type for event in found) == {"message.sent": 500, "reaction.added": 150}
        assert [event.text for event in found if event.text] == [str(n) for n in range(500)]
        assert sum(1 for event in found if event.thread_id) == 5 * 33
    forced = import_files([SlackExport(path)], url=guest.url, key=key, state_dir=state, force=True)
    assert (forced.accepted, forced.duplicates) == (0, 6 * 650)


def test_edits_and_deletes_of_an_export_are_taken(guest: Guest, tmp_path: Path) -> None:
    export = SlackExport(ws.unpacked(tmp_path / "export", ws.export()))
    summary = import_files([export], url=guest.url, key=guest.keys[Scope.BACKFILL], state_dir=tmp_path / "state")
    assert summary.refused == 0
    stored = Counter(event.type for event in guest.stored(BACKFILL))
    assert stored == summary.events == {
        "channel.created": 3, "channel.joined": 1, "channel.left": 1, "message.sent": 11, "message.edited": 2,
        "message.deleted": 1, "reaction.added": 3,
    }  # fmt: skip
