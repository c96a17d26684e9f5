import json
import random
import threading
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.runtime.errors import PreconditionError, Unreachable
from ingest.client import Backoff
from ingest.importers.jsonl import JsonlFile
from ingest.importers.run import ImportSummary, LineProblem, import_files
from tests.unit.ingest.fake_ingest import FakeIngest, problem

pytestmark = pytest.mark.unit

Run = Callable[..., ImportSummary]


def _event(n: int, **fields: Any) -> dict[str, Any]:
    # Three lines share each millisecond and five channels take turns.
    time = f"2020-01-01T00:{n // 3 // 60_000:02d}:{n // 3 % 60_000 // 1000:02d}.{n // 3 % 1000:03d}Z"
    return {"type": "message.sent", "channel_id": f"c{n % 5}", "user_id": "u", "time": time, "text": f"m{n}", **fields}


def _write(path: Path, events: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return path


def _in_order(ingest: FakeIngest) -> dict[str, list[int]]:
    """First sights of each channel's messages by number, as they arrived."""
    channels: dict[str, dict[int, None]] = defaultdict(dict)
    for batch in ingest.batches:
        for event in batch["batch"]:
            channels[event["channel_id"]][int(event["text"][1:])] = None
    return {channel: list(numbers) for channel, numbers in channels.items()}


@pytest.fixture
def ingest() -> FakeIngest:
    return FakeIngest()


@pytest.fixture
def run(ingest: FakeIngest, tmp_path: Path) -> Run:
    def call(*paths: Path, **settings: Any) -> ImportSummary:
        defaults: dict[str, Any] = {
            "url": "http://ingest",
            "key": "backfill",
            "state_dir": tmp_path / "state",
            "transport": ingest.transport,
            "batch_events": 50,
            "backoff": Backoff(first=0.001, longest=0.01, rng=random.Random(1)),
        }
        return import_files(map(JsonlFile, paths), **(defaults | settings))

    return call


def test_every_line_is_stored_once_in_its_channels_order(run: Run, ingest: FakeIngest, tmp_path: Path) -> None:
    ingest.scripts.extend([lambda _: problem(503)] * 5)
    path = _write(tmp_path / "a.jsonl", [_event(n) for n in range(1_000)])
    summary = run(path)
    assert (summary.files, summary.lines, summary.accepted, summary.refused) == (1, 1_000, 1_000, 0)
    assert summary.bytes == path.stat().st_size
    assert summary.exit_code == 0
    assert summary.events_per_second > 0
    assert _in_order(ingest) == {f"c{c}": list(range(c, 1_000, 5)) for c in range(5)}
    assert all(batch["historical"] is True for batch in ingest.batches)
    by_id = sorted(ingest.stored.items())
    assert [int(event["text"][1:]) for _, event in by_id] == list(range(1_000))


def test_a_finished_file_is_skipped_and_by_force_adds_nothing(run: Run, ingest: FakeIngest, tmp_path: Path) -> None:
    path = _write(tmp_path / "a.jsonl", [_event(n) for n in range(200)])
    path.write_text(path.read_text() + "\n\n")
    run(path)
    again = run(path)
    assert (again.skipped, again.files, again.lines) == (1, 0, 0)
    forced = run(path, force=True)
    assert (forced.accepted, forced.duplicates) == (0, 200)
    assert run(path, key="another").duplicates == 200


def test_a_second_copy_elsewhere_makes_the_same_ids(run: Run, ingest: FakeIngest, tmp_path: Path) -> None:
    events = [_event(n) for n in range(100)]
    run(_write(tmp_path / "a.jsonl", events))
    summary = run(_write(tmp_path / "moved.jsonl", events))
    assert (summary.accepted, summary.duplicates) == (0, 100)


def test_a_file_that_grew_goes_on_and_one_that_changed_starts_over(
    run: Run, ingest: FakeIngest, tmp_path: Path
) -> None:
    path = _write(tmp_path / "a.jsonl", [_event(n) for n in range(100)])
    run(path)
    _write(path, [_event(n) for n in range(130)])
    grown = run(path)
    assert (grown.lines, grown.accepted) == (30, 30)
    _write(path, [_event(n, user_id="someone") for n in range(130)])
    assert run(path).lines == 130


def test_a_stopped_import_goes_on_where_everything_was_confirmed(run: Run, ingest: FakeIngest, tmp_path: Path) -> None:
    path = _write(tmp_path / "a.jsonl", [_event(n) for n in range(2_000)])
    calls = 0
    lock = threading.Lock()

    def fail_later(request: httpx.Request) -> httpx.Response:
        nonlocal calls
        with lock:
            calls += 1
            broken = calls > 15
        return problem(401) if broken else ingest.handle(request)

    with pytest.raises(PreconditionError, match="right key"):
        run(path, transport=httpx.MockTransport(fail_later))
    before = len(ingest.stored)
    assert 0 < before < 2_000
    summary = run(path)
    assert 0 < summary.lines < 2_000
    assert before + summary.accepted == len(ingest.stored) == 2_000
    assert _in_order(ingest) == {f"c{c}": list(range(c, 2_000, 5)) for c in range(5)}


def test_silence_ends_the_import_after_its_patience(run: Run, ingest: FakeIngest, tmp_path: Path) -> None:
    ingest.down = True
    path = _write(tmp_path / "a.jsonl", [_event(n) for n in range(10)])
    with pytest.raises(Unreachable, match="goes on from here"):
        run(path, patience=0.05)
    ingest.down = False
    assert run(path).accepted == 10


def test_bad_lines_are_reported_and_stop_nothing(run: Run, ingest: FakeIngest, tmp_path: Path) -> None:
    events = [_event(n) for n in range(20)]
    del events[3]["time"]
    events[7]["user_id"] = "null"
    events[9]["id"] = "refused-there"
    ingest.refuse["refused-there"] = ("conflict", "id")
    path = _write(tmp_path / "a.jsonl", events)
    path.write_text(path.read_text().replace('"m12"', '"m12'))
    problems: list[LineProblem] = []
    summary = run(path, report=problems.append)
    assert sorted((one.line, one.code, one.field) for one in problems) == [
        (4, "missing_field", "time"),
        (8, "bad_user", "user_id"),
        (10, "conflict", "id"),
        (13, "invalid_field", None),
    ]
    assert {one.path for one in problems} == {path}
    assert (summary.lines, summary.accepted, summary.refused, summary.exit_code) == (20, 16, 4, 1)
    assert summary.events == {"message.sent": 17}  # one of them was refused there


def test_a_dry_run_sends_and_remembers_nothing(run: Run, ingest: FakeIngest, tmp_path: Path) -> None:
    path = _write(tmp_path / "a.jsonl", [_event(1), _event(2, type="Bad Type")])
    summary = run(path, dry_run=True)
    assert (summary.lines, summary.refused, summary.exit_code) == (2, 1, 1)
    assert ingest.requests == []
    assert not (tmp_path / "state").exists()


def test_progress_ends_at_the_files_sizes(run: Run, tmp_path: Path) -> None:
    paths = [_write(tmp_path / f"{name}.jsonl", [_event(n) for n in range(1_500)]) for name in "ab"]
    run(paths[0])
    seen: list[tuple[int, int]] = []
    run(*paths, progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (2 * paths[0].stat().st_size,) * 2


def test_batches_stay_within_what_ingest_takes(run: Run, ingest: FakeIngest, tmp_path: Path) -> None:
    run(
        _write(tmp_path / "a.jsonl", [_event(n, properties={"x": "y" * 9_000}) for n in range(200)]), batch_events=9_999
    )
    assert len(ingest.stored) == 200
    assert max(len(json.dumps(batch, separators=(",", ":"))) for batch in ingest.batches) <= 500 * 1024
