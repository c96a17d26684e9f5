"""What the live interactions cost: processor time an event, and the memory of their state.

`python -m tests.bench.interactions` makes the log of a simulated community and reads it as the role does, without
Kafka and Cassandra: what changed is taken every second of the log's time, and a snapshot written every 30. Prints JSON.
"""

import argparse
import gc
import json
import resource
import tempfile
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil

from analytics.interactions.acts import read
from analytics.interactions.books import Books
from analytics.interactions.snapshot import SnapshotFile
from infra.contracts import codec, placement
from infra.contracts.events import HEARTBEAT, Event
from infra.contracts.topics import EVENTS
from ingest.simulator.community import Community

_START: Final = datetime(2026, 3, 14, 9, tzinfo=UTC)
_FUTURE: Final = _START + timedelta(days=365)
_MIB: Final = 2**20

#: Records of one second: partition and value.
Second = list[tuple[int, bytes]]


def log_of(options: argparse.Namespace) -> list[Second]:
    """The log by the second, as the router writes it: with a heartbeat in each partition."""
    community = Community(
        users=options.users, channels=options.channels, rate=options.rate, seed=options.seed, start=_START
    )
    seconds: dict[int, Second] = defaultdict(list)
    made = 0
    for planned in community.plan():
        event = msgspec.structs.replace(planned.event, tenant="bench", received_at=planned.event.time)
        if event.is_signal:
            continue
        partition = placement.partition(placement.key("bench", event), EVENTS.partitions)
        seconds[int(planned.offset)].append((partition, codec.encode(event)))
        made += 1
        if made == options.events:
            break
    for second in range(max(seconds) + 1):
        at = _START + timedelta(seconds=second)
        beat = codec.encode(Event(id=f"h{second}", type=HEARTBEAT, time=at, user_id="hubbub", tenant=""))
        seconds[second] += [(partition, beat) for partition in range(EVENTS.partitions)]
    return [seconds[second] for second in range(max(seconds) + 1)]


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The figures."""
    log = log_of(options)
    file = SnapshotFile(folder, EVENTS.name)
    gc.collect()
    gc.freeze()
    before, process = _resident(), time.process_time
    books = Books(dict.fromkeys(range(EVENTS.partitions), 0))
    spent: dict[str, float] = defaultdict(float)
    rows = boards = size = 0
    largest: dict[str, int] = {}

    def timed(what: str, began: float) -> float:
        now = process()
        spent[what] += now - began
        return now

    for number, second in enumerate(log):
        mark = process()
        for partition, value in second:
            books.take(partition, books.lanes[partition].offset, read(value, partition, _FUTURE))
        mark = timed("read", mark)
        books.settle()
        mark = timed("settle", mark)
        rows += len(books.windows.changed)
        boards += sum(len(msgspec.json.encode(board)) > 0 for _, _, board in books.boards())
        books.windows.stored(books.watermark)
        books.shown()
        mark = timed("what changed", mark)
        if number % 30 == 29:
            size = max(size, file.save(books.snapshot()))
            timed("snapshots", mark)
        largest = {kind: max(kept, largest.get(kind, 0)) for kind, kept in books.sizes.items()}
    return {
        "events": options.events,
        "log_seconds": len(log),
        "cpu_seconds": {what: round(seconds, 2) for what, seconds in spent.items()},
        "microseconds_an_event": round(sum(spent.values()) / options.events * 1e6, 1),
        "share_of_a_core": round(sum(spent.values()) / len(log), 4),
        "window_rows": rows,
        "board_rows": boards,
        "most_kept": largest,
        "snapshot_bytes": size,
        "state_mib": round((_resident() - before) / _MIB, 1),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def _resident() -> int:
    return int(psutil.Process().memory_info().rss)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--rate", type=float, default=50.0, help="a second")
    parser.add_argument("--users", type=int, default=2_000)
    parser.add_argument("--channels", type=int, default=100)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(options, Path(folder)), indent=2))


if __name__ == "__main__":
    main()
