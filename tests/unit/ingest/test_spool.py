import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.client.spool import Spool, SpoolBusyError

pytestmark = pytest.mark.unit

Opener = Callable[..., Spool]


def _raw(number: int, padding: int = 0) -> bytes:
    return json.dumps({"id": f"e{number}", "text": "x" * padding}).encode()


def _drain(spool: Spool, step: int = 7) -> list[str]:
    seen: list[str] = []
    while entries := spool.take(step, 1_000_000):
        for entry in entries:
            seen.append(entry.id)
            spool.done(entry)
    return seen


def _die(spool: Spool) -> None:
    """As a kill leaves it: descriptors gone, nothing brought to disk or recorded."""
    if spool._writer is not None:
        spool._writer.close()
    spool._lock.close()


def _names(first: int, last: int) -> list[str]:
    return [f"e{n}" for n in range(first, last)]


@pytest.fixture
def opened() -> Iterator[Opener]:
    spools: list[Spool] = []

    def open_spool(*args: Any, **kwargs: Any) -> Spool:
        spools.append(Spool(*args, **kwargs))
        return spools[-1]

    yield open_spool
    for spool in spools:
        _die(spool)


def test_events_come_back_in_order_and_leave_nothing(tmp_path: Path, opened: Opener) -> None:
    spool = opened(tmp_path, max_bytes=1 << 20, segment_bytes=200)
    assert all(spool.append(_raw(n)) for n in range(50))
    assert spool.waiting == 50
    assert _drain(spool) == _names(0, 50)
    assert (spool.waiting, spool.outstanding) == (0, 0)
    assert list(tmp_path.glob("*.jsonl")) == []


def test_what_a_dead_process_spooled_is_there_at_the_next_start(tmp_path: Path, opened: Opener) -> None:
    dead = opened(tmp_path, max_bytes=1 << 20, segment_bytes=200)
    for n in range(20):
        dead.append(_raw(n))
    taken = dead.take(5, 1 << 20)
    dead.done(taken[0])
    _die(dead)
    again = opened(tmp_path, max_bytes=1 << 20)
    assert _drain(again) == _names(0, 20)


def test_a_segment_stays_until_everything_in_it_is_settled(tmp_path: Path, opened: Opener) -> None:
    spool = opened(tmp_path, max_bytes=1 << 20)
    for n in range(3):
        spool.append(_raw(n))
    entries = spool.take(3, 1 << 20)
    spool.done(entries[0])
    spool.done(entries[2])
    assert len(list(tmp_path.glob("*.jsonl"))) == 1
    spool.done(entries[1])
    assert list(tmp_path.glob("*.jsonl")) == []


def test_it_refuses_what_would_pass_its_bound_and_takes_more_once_there_is_room(tmp_path: Path, opened: Opener) -> None:
    spool = opened(tmp_path, max_bytes=300, segment_bytes=100)
    kept = sum(spool.append(_raw(n, 50)) for n in range(10))
    assert 0 < kept < 10
    assert sum(path.stat().st_size for path in tmp_path.glob("*.jsonl")) <= 300
    _drain(spool)
    assert spool.append(_raw(99))


def test_prepended_events_come_first(tmp_path: Path, opened: Opener) -> None:
    spool = opened(tmp_path, max_bytes=1 << 20)
    for n in range(5, 10):
        spool.append(_raw(n))
    held = spool.take(2, 1 << 20)
    assert spool.prepend([_raw(n) for n in range(5)])
    spool.close()
    assert held[0].id == "e5"
    assert _drain(opened(tmp_path, max_bytes=1 << 20)) == _names(0, 10)


def test_a_torn_last_line_costs_only_itself(tmp_path: Path, opened: Opener) -> None:
    spool = opened(tmp_path, max_bytes=1 << 20)
    for n in range(3):
        spool.append(_raw(n))
    spool.close()
    (segment,) = tmp_path.glob("*.jsonl")
    segment.write_bytes(segment.read_bytes() + b'{"id": "torn')
    again = opened(tmp_path, max_bytes=1 << 20)
    assert again.waiting == 3
    assert _drain(again) == _names(0, 3)
    assert list(tmp_path.glob("*.jsonl")) == []


def test_a_short_write_leaves_no_half_line(tmp_path: Path, opened: Opener) -> None:
    spool = opened(tmp_path, max_bytes=1 << 20)
    spool.append(_raw(0))
    assert spool._writer is not None
    writer: BinaryIO = spool._writer

    class Full:
        def write(self, data: bytes) -> int:
            return writer.write(data[: len(data) // 2])

        def truncate(self, size: int) -> int:
            return writer.truncate(size)

    spool._writer = Full()  # type: ignore[assignment]
    with pytest.raises(OSError, match="No space"):
        spool.append(_raw(1))
    spool._writer = writer
    spool.append(_raw(2))
    assert _drain(spool) == ["e0", "e2"]


def test_two_clients_cannot_share_a_directory(tmp_path: Path, opened: Opener) -> None:
    first = opened(tmp_path, max_bytes=1_000)
    with pytest.raises(SpoolBusyError):
        opened(tmp_path, max_bytes=1_000)
    first.close()
    opened(tmp_path, max_bytes=1_000)


@given(st.lists(st.sampled_from(["append", "take", "restart"]), max_size=60))
def test_whatever_happens_every_event_comes_out_and_first_sights_are_in_order(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    directory = tmp_path_factory.mktemp("spool")
    spool = Spool(directory, max_bytes=1 << 20, segment_bytes=90)
    written, seen = 0, dict[str, None]()
    for step in steps:
        if step == "append":
            assert spool.append(_raw(written))
            written += 1
        elif step == "take":
            for entry in spool.take(3, 1 << 20):
                seen[entry.id] = None
                spool.done(entry)
        else:
            spool.close()
            spool = Spool(directory, max_bytes=1 << 20, segment_bytes=90)
    seen.update(dict.fromkeys(_drain(spool)))
    spool.close()
    assert list(seen) == _names(0, written)
