"""The role as a process: killed in the middle it comes to what a plain recount finds, and shows who waits at once."""

import os
import sys
from collections import Counter
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random

import msgspec

from infra.contracts import tables
from infra.contracts.events import Event, from_ms
from infra.contracts.interactions import COUNTS, INTERACTIONS_QUERY, Board
from infra.contracts.topics import EVENTS
from infra.contracts.windows import MINUTE
from infra.runtime.cassandra import Database
from infra.runtime.kafka import DeliveringProducer, producer_config
from infra.runtime.settings import Cassandra, Kafka
from tests.integration.analytics.roles import Role, running, wait_until
from tests.unit.analytics.interactions.told import (
    NINE,
    Counts,
    Log,
    community,
    event,
    fed,
    heartbeat,
    logged,
    recounted,
)

HOURS = 26.0
_COMMAND = [sys.executable, "-m", "infra.cli", "run", "interactions"]


class Stored:
    """What the role has stored."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def watermark(self) -> datetime | None:
        row = self._database.session.execute(self._database.prepared(tables.PROGRESS), (INTERACTIONS_QUERY,)).one()
        return row[1].replace(tzinfo=UTC) if row else None

    def offsets(self) -> dict[str, int]:
        row = self._database.session.execute(self._database.prepared(tables.PROGRESS), (INTERACTIONS_QUERY,)).one()
        ((_, partitions),) = msgspec.json.decode(row[2]).items() if row else [("", {})]
        return dict(partitions)

    def left_out(self) -> dict[str, int]:
        row = self._database.session.execute(self._database.prepared(tables.PROGRESS), (INTERACTIONS_QUERY,)).one()
        return {"late": row[4], "copies": row[5]}

    def counts(self) -> Counts:
        columns = f"tenant, scope, grain, window_start, {', '.join(COUNTS)}, responses"
        rows = self._database.session.execute(f"SELECT {columns} FROM interaction_windows")
        return {
            (tenant, scope, grain, start.replace(tzinfo=UTC)): Counter(
                {**{n: v for n, v in zip(COUNTS, counts, strict=True) if v}, **dict(responses or {})}
            )
            for tenant, scope, grain, start, *counts, responses in rows
        }

    def total(self) -> int:
        return sum(counts.total() for counts in self.counts().values())

    def boards(self) -> dict[tuple[str, str], Board]:
        rows = self._database.session.execute("SELECT tenant, scope, board FROM waiting")
        return {(tenant, scope): msgspec.json.decode(board, type=Board) for tenant, scope, board in rows}


class Topic:
    """The partitions of `events`, written by hand; `log` is what stands in them."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self.log: Log = {partition: [] for partition in range(EVENTS.partitions)}

    def send(self, log: Log) -> None:
        producer = DeliveringProducer(producer_config(self._kafka, "test"))
        for partition, values in log.items():
            for value in values:
                producer.produce(self._kafka.topic(EVENTS.name), value, partition=partition, wait=10)
            self.log[partition] += values
        assert producer.close(30) == 0

    def ends(self) -> dict[str, int]:
        return {str(partition): len(values) for partition, values in self.log.items()}


def started(environment: dict[str, str], log_file: Path) -> AbstractContextManager[Role]:
    return running(_COMMAND, "HUBBUB_INTERACTIONS_PORT", environment, log_file)


def moved(log: Log, by: timedelta) -> Log:
    """The same log, so much later."""

    def later(value: bytes) -> bytes:
        one = msgspec.json.decode(value, type=Event)
        return msgspec.json.encode(msgspec.structs.replace(one, time=one.time + by))

    return {partition: [later(value) for value in values] for partition, values in log.items()}


def parts(log: Log, shares: list[float]) -> list[Log]:
    """The log cut at these shares of each partition."""
    bounds = [0.0, *shares, 1.0]
    return [
        {p: values[int(len(values) * low) : int(len(values) * high)] for p, values in log.items()}
        for low, high in pairwise(bounds)
    ]


def test_killed_in_the_middle_it_counts_what_a_recount_counts(
    topics: Kafka, keyspace: Cassandra, database: Database, tmp_path: Path
) -> None:
    topic, stored, log_file = Topic(topics), Stored(database), tmp_path / "role.log"
    environment = {
        **os.environ,
        "HUBBUB_KAFKA_TOPIC_PREFIX": topics.topic_prefix,
        "HUBBUB_CASSANDRA_KEYSPACE": keyspace.keyspace,
        "HUBBUB_DATA_DIR": str(tmp_path),
        "HUBBUB_INTERACTIONS_STORE_SECONDS": "0.2",
        "HUBBUB_INTERACTIONS_SNAPSHOT_SECONDS": "0.5",
        "HUBBUB_LOG_FORMAT": "json",
    }
    begin = MINUTE.start(datetime.now(UTC)) - timedelta(hours=HOURS, minutes=10)
    by = begin - NINE
    whole = moved(logged(community(7, 6_000, HOURS * 60), partitions=EVENTS.partitions, beats=10), by)
    first, second, third, fourth = parts(whole, [0.3, 0.5, 0.8])
    snapshot = tmp_path / "interactions" / "snapshot.msgpack"

    topic.send(first)
    with started(environment, log_file) as role:
        wait_until(lambda: stored.offsets() == topic.ends() and snapshot.exists())
        before = snapshot.read_bytes()
        topic.send(second)
        wait_until(lambda: stored.offsets() == topic.ends() and snapshot.read_bytes() != before)
        before = snapshot.read_bytes()
        topic.send(third)
        # More is stored than the snapshot knows, as far as the clock allows.
        wait_until(lambda: stored.offsets() == topic.ends())
        role.kill()
    snapshot.write_bytes(before)
    total = stored.total()
    topic.send(fourth)
    end = {partition: [msgspec.json.encode(heartbeat(HOURS * 60 + 5))] for partition in topic.log}
    topic.send(moved(end, by))
    with started(environment, log_file) as role:
        while stored.offsets() != topic.ends():
            assert stored.total() >= total, "a number went back"
        counts, left_out = recounted(topic.log)
        assert stored.counts() == counts
        assert stored.left_out() == left_out
        wait_until(lambda: role.report() == {**role.report(), "ready": True, "lag": 0})

        # A question is shown in seconds, and no longer once it is answered.
        now = datetime.now(UTC)
        new = [event(0, f"new-{n}", channel_id="new", user_id=user) for n, user in enumerate(("ann", "bob"))]
        for one in new:
            topic.send(logged([msgspec.structs.replace(one, time=now)], partitions=EVENTS.partitions))
            now += timedelta(milliseconds=1)
            wait_until(lambda: _waits(stored, "channel:new") == [one.id], 10)  # noqa: B023 - called here
        assert role.terminate(20) == 0

    expected = fed(topic.log, rng=Random(1))
    boards = {(tenant, scope): board for tenant, scope, board in expected.boards()}
    assert {place: board for place, board in stored.boards().items() if board.total} == {
        place: board for place, board in boards.items() if board.total
    }

    # Without its snapshot it reads the log once more, from the first record on, and comes to the same.
    snapshot.unlink()
    with started(environment, log_file) as role:
        wait_until(snapshot.exists)
        assert stored.counts() == counts
        assert role.terminate(20) == 0
    lines = [msgspec.json.decode(line) for line in log_file.read_bytes().splitlines() if line.startswith(b"{")]
    assert [line["resumed"] for line in lines if line["event"] == "interactions.started"] == [False, True, False]
    assert {line["level"] for line in lines} <= {"info", "debug"}
    assert from_ms(0) < (stored.watermark() or from_ms(0))


def _waits(stored: Stored, scope: str) -> list[str]:
    board = stored.boards().get(("acme", scope))
    return [wait.message_id for wait in board.longest] if board else []
