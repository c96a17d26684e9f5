import json
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from infra.contracts.events import SERVER_TYPES
from ingest.simulator.community import Shares
from ingest.simulator.ledger import LedgerLine
from ingest.simulator.run import simulate
from tests.unit.ingest.fake_ingest import FakeIngest, problem

pytestmark = pytest.mark.unit


def _simulate(ingest: FakeIngest, **changes: Any) -> Any:
    settings = {"users": 20, "channels": 4, "rate": 400.0, "seed": 3, "duration": 1.0}
    return simulate("http://ingest", "write", "server", transport=ingest.transport, **(settings | changes))


def test_every_send_is_accounted_for(tmp_path: Path) -> None:
    ingest = FakeIngest()
    ingest.scripts.append(lambda _: problem(503))
    path = tmp_path / "ledger.jsonl"
    summary = _simulate(ingest, shares=Shares(late=0.1, duplicate=0.1), ledger=path)
    lines = [msgspec.json.decode(line, type=LedgerLine) for line in path.read_bytes().splitlines()]
    assert summary.sent == len(lines) == summary.accepted + summary.duplicates + summary.refused + summary.unknown
    assert {line.id for line in lines if line.outcome == "accepted"} == ingest.stored.keys()
    assert summary.accepted == len(ingest.stored) == sum(summary.types.values())
    assert summary.duplicates > 0
    assert summary.retried > 0
    assert summary.exit_code == 0
    for line in lines:
        assert ingest.stored[line.id]["type"] == line.type
        assert ingest.stored[line.id].get("channel_id") == line.channel


def test_edits_and_deletes_go_with_the_server_key() -> None:
    ingest = FakeIngest()
    _simulate(ingest)
    keys = {
        (event["type"] in SERVER_TYPES, request.headers["Authorization"])
        for request, batch in zip(ingest.requests, ingest.batches, strict=True)
        for event in batch["batch"]
    }
    assert keys == {(False, "Bearer write"), (True, "Bearer server")}


def test_an_ingest_that_refuses_and_one_that_is_gone_are_told_apart() -> None:
    ingest = FakeIngest()
    ingest.scripts.extend([lambda _: problem(403)] * 100)
    refused = _simulate(ingest, duration=0.3)
    assert refused.refused > 0
    assert refused.refusals == {"http_403": refused.refused}
    assert refused.exit_code == 1
    ingest.down = True
    gone = _simulate(ingest, duration=0.3, settle_seconds=0.05)
    assert gone.unknown > 0
    assert gone.unknown + gone.refused == gone.sent


def test_it_stops_when_told_and_shows_how_far_it_is() -> None:
    ingest, stopping, seen = FakeIngest(), threading.Event(), list[tuple[int, int]]()

    def progress(done: int, total: int) -> None:
        seen.append((done, total))
        stopping.set()

    summary = _simulate(ingest, duration=600.0, stopping=stopping, progress=progress)
    assert seen == [(0, 600), (0, 600)]
    assert summary.accepted == summary.sent == len(ingest.stored)
    assert json.dumps(summary.types)
