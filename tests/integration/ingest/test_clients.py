"""The client, the importer and the simulator against a real ingest and a real Kafka, some of them killed on the way."""

import json
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from infra.contracts.control import Scope
from infra.contracts.topics import BACKFILL, INGEST
from infra.runtime.errors import PreconditionError
from infra.runtime.settings import Kafka
from ingest.client import Client, Outcome
from ingest.importers.jsonl import JsonlFile
from ingest.importers.run import LineProblem, import_files
from ingest.simulator.community import Shares
from ingest.simulator.ledger import LedgerLine
from ingest.simulator.run import simulate
from tests.integration.ingest.serving import Guest, IngestProcess, serving, wait_until

_IMPORT = """
import sys
from pathlib import Path
from ingest.importers.jsonl import JsonlFile
from ingest.importers.run import import_files
url, key, path, state = sys.argv[1:]
import_files([JsonlFile(Path(path))], url=url, key=key, state_dir=Path(state), batch_events=20, in_flight=2)
"""
_SPOOL = """
import os, sys
from pathlib import Path
from ingest.client import Client
url, key, spool = sys.argv[1:]
client = Client(url, key, spool_dir=Path(spool), max_queue_events=1)
for n in range(50):
    print(client.send({"type": "message.sent", "channel_id": "spooled", "user_id": "u", "text": str(n)}), flush=True)
os.kill(os.getpid(), 9)
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


def _ledger(path: Path) -> list[LedgerLine]:
    return [msgspec.json.decode(line, type=LedgerLine) for line in path.read_bytes().splitlines()]


def _history(path: Path, lines: int) -> Path:
    events = (
        {"type": "message.sent", "channel_id": f"c{n % 7}", "user_id": f"u{n % 50}", "text": f"{n}",
         "time": f"2021-05-01T10:{n // 6000:02d}:{n // 100 % 60:02d}.{n // 10 % 10}00Z"}
        for n in range(lines)
    )  # fmt: skip
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return path


def _numbers(guest: Guest) -> dict[str, list[int]]:
    """The history lane's messages by channel, first copies alone, in the order they stand in the log."""
    channels: dict[str, dict[int, None]] = defaultdict(dict)
    for event in guest.stored(BACKFILL):
        channels[event.channel_id or ""][int(event.text or "")] = None
    return {channel: list(numbers) for channel, numbers in channels.items()}


def test_what_a_simulation_says_is_what_the_log_holds(guest: Guest, tmp_path: Path) -> None:
    summary = simulate(
        guest.url, guest.keys[Scope.WRITE], guest.keys[Scope.SERVER],
        rate=300, duration=5, seed=11, shares=Shares(late=0.05, duplicate=0.05), ledger=tmp_path / "ledger",
    )  # fmt: skip
    stored = Counter(event.id for event in guest.stored(INGEST))
    assert set(stored.values()) == {1}
    assert {line.id for line in _ledger(tmp_path / "ledger") if line.outcome == "accepted"} == stored.keys()
    assert (summary.refused, summary.unknown) == (0, 0)
    assert summary.sent == summary.accepted + summary.duplicates
    assert summary.duplicates > 0
    assert summary.max_lag < 1


def test_nothing_is_lost_while_ingest_is_killed_twice(guest: Guest, tmp_path: Path) -> None:
    running = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(
            simulate, guest.url, guest.keys[Scope.WRITE], guest.keys[Scope.SERVER],
            rate=300, duration=8, seed=12, ledger=tmp_path / "ledger", progress=lambda done, total: running.set(),
        )  # fmt: skip
        assert running.wait(10)
        for _ in range(2):
            guest.ingest.kill()
            guest.ingest.start()
        summary = run.result(120)
    stored = {event.id for event in guest.stored(INGEST)}
    assert (summary.refused, summary.unknown) == (0, 0)
    assert summary.retried > 0
    assert {line.id for line in _ledger(tmp_path / "ledger")} == stored


def test_history_is_imported_once_and_in_order(guest: Guest, tmp_path: Path) -> None:
    path = _history(tmp_path / "a.jsonl", 5_000)
    expected = {f"c{c}": list(range(c, 5_000, 7)) for c in range(7)}
    key = guest.keys[Scope.BACKFILL]
    first = import_files([JsonlFile(path)], url=guest.url, key=key, state_dir=tmp_path / "state")
    assert (first.lines, first.accepted, first.refused) == (5_000, 5_000, 0)
    assert _numbers(guest) == expected
    again = import_files([JsonlFile(path)], url=guest.url, key=key, state_dir=tmp_path / "state", force=True)
    assert (again.accepted, again.duplicates) == (0, 5_000)
    events = guest.stored(BACKFILL)
    assert len(events) == 5_000
    assert all(event.historical and event.time.year == 2021 for event in events)
    assert [int(event.text or "") for event in sorted(events, key=lambda event: event.id)] == list(range(5_000))


def test_a_killed_import_goes_on(guest: Guest, tmp_path: Path) -> None:
    path = _history(tmp_path / "a.jsonl", 6_000)
    state = tmp_path / "state"
    key = guest.keys[Scope.BACKFILL]
    killed = subprocess.Popen([sys.executable, "-c", _IMPORT, guest.url, key, str(path), str(state)])
    wait_until(lambda: killed.poll() is not None or any(state.glob("*.json")), 20)
    killed.kill()
    assert killed.wait(10) == -9
    summary = import_files([JsonlFile(path)], url=guest.url, key=key, state_dir=state)
    assert 0 < summary.lines < 6_000
    assert _numbers(guest) == {f"c{c}": list(range(c, 6_000, 7)) for c in range(7)}
    assert len(guest.stored(BACKFILL)) == 6_000


def test_lines_that_ingest_refuses_are_reported(guest: Guest, tmp_path: Path) -> None:
    path = _history(tmp_path / "a.jsonl", 3)
    event = {"type": "message.sent", "channel_id": "c0", "user_id": "u", "time": "2021-05-01T10:00:00Z", "text": "9"}
    with path.open("a") as file:
        file.writelines(json.dumps({**event, **more}) + "\n" for more in ({"id": "x"}, {"id": "x", "text": "10"}))
    problems: list[LineProblem] = []
    summary = import_files(
        [JsonlFile(path)],
        url=guest.url,
        key=guest.keys[Scope.BACKFILL],
        state_dir=tmp_path / "state",
        report=problems.append,
    )
    assert [(one.line, one.code) for one in problems] == [(5, "conflict")]
    assert (summary.accepted, summary.refused) == (4, 1)
    with pytest.raises(PreconditionError, match="scope backfill"):
        import_files([JsonlFile(path)], url=guest.url, key=guest.keys[Scope.WRITE], state_dir=tmp_path / "other")


def test_what_a_killed_client_had_spooled_arrives_at_the_next_start(guest: Guest, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    key = guest.keys[Scope.WRITE]
    guest.ingest.kill()
    killed = subprocess.run(
        [sys.executable, "-c", _SPOOL, guest.url, key, str(spool)], capture_output=True, check=False, timeout=60
    )
    assert killed.returncode == -9
    sent = killed.stdout.decode().split()
    assert len(sent) == 50
    guest.ingest.start()
    outcomes: dict[str, Outcome] = {}
    with Client(guest.url, key, spool_dir=spool, on_result=outcomes.__setitem__) as client:
        assert client.flush(20)
    # The few that were in memory die with the process; all others are on disk.
    assert sent[2:] == [identifier for identifier in outcomes if identifier in sent[2:]]
    stored = [event.id for event in guest.stored(INGEST)]
    assert stored == list(outcomes)
