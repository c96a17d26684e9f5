import random
import secrets
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import Consumer, TopicPartition

from infra.contracts import codec, headers, placement, review, tables, topics
from infra.contracts.events import Event, to_ms, truncate_ms
from infra.contracts.records import Action, Held, Verdict
from infra.contracts.review import Decision, Verb
from infra.contracts.tables import Statement
from infra.runtime.cassandra import Database, connect
from infra.runtime.kafka import consumer_config
from infra.runtime.settings import Cassandra, Kafka
from streams.history.store import _bound
from streams.router.decisions import event_of
from tests.faults.proxy import CLEAR, CUT, HELD, Fault, proxied
from tests.integration.streams.running import wait_until
from tests.integration.streams.writing import HistoryProcess, history, publish, rewind, snapshot, uncommitted

NOW = truncate_ms(datetime.now(UTC))


def timed_id(moment: datetime, number: int) -> str:
    """A UUIDv7 of this moment."""
    ms = f"{to_ms(moment):012x}"
    return f"{ms[:8]}-{ms[8:]}-7000-8000-{number:012x}"


@pytest.fixture
def tenant() -> str:
    return f"t-{secrets.token_hex(6)}"


@pytest.fixture(scope="module")
def database(cassandra: Cassandra) -> Iterator[Database]:
    database = connect(cassandra)
    yield database
    database.close()


@pytest.fixture
def writer(kafka: Kafka, cassandra: Cassandra, tenant: str, tmp_path: Path) -> Iterator[HistoryProcess]:
    own = kafka.model_copy(update={"topic_prefix": f"{kafka.topic_prefix}{tenant}-"})
    with history(own, cassandra, tmp_path / "history.log") as process:
        yield process


def event(tenant: str, number: int, kind: str = "message.sent", **fields: Any) -> Event:
    moment = NOW + timedelta(milliseconds=number)
    return Event(
        **{
            "id": timed_id(moment, number),
            "type": kind,
            "time": moment,
            "channel_id": f"c{number % 7}",
            "user_id": f"u{number % 5}",
            "text": f"text {number} \0 é" if kind in ("message.sent", "message.edited") else None,
            "tenant": tenant,
            "received_at": moment,
            "source": "test",
            **fields,
        }
    )


def changes(tenant: str, number: int, target: str, channel: str) -> list[Event]:
    """An edit, a later edit, a deletion, a reaction taken back and a read mark of one message."""
    on: dict[str, Any] = {"message_id": target, "channel_id": channel, "user_id": "ann"}
    return [
        event(tenant, number, "message.edited", **{**on, "text": "first edit"}),
        event(tenant, number + 1, "message.edited", **{**on, "text": "second edit"}),
        event(tenant, number + 2, "reaction.added", reaction="+1", **on),
        event(tenant, number + 3, "reaction.removed", reaction="+1", **on),
        event(tenant, number + 4, "receipt.read", **on),
        *([event(tenant, number + 5, "message.deleted", **on)] if number % 2 else []),
    ]


def community(tenant: str) -> list[Event]:
    """Messages with and without time in their ids, changes before and after them, and all else, shuffled."""
    log = [event(tenant, number) for number in range(1500)]
    log += [event(tenant, number, message_id=f"foreign-{number}") for number in range(1500, 1560)]
    for number in [*range(0, 200, 3), *range(1500, 1560)]:
        log += changes(tenant, number * 10, log[number].target, log[number].channel_id or "")
    for number in range(40):
        log.append(event(tenant, number, "channel.joined", user_id=f"u{number}"))
        log.append(event(tenant, number + 1, "channel.left", user_id=f"u{number}", channel_id=f"c{number % 7}"))
    log += [event(tenant, n, "channel.created", channel_id=f"c{n}", properties={"name": f"Room {n}"}) for n in range(7)]
    log += [event(tenant, n, "app.custom", channel_id=None) for n in range(20)]
    random.Random(7).shuffle(log)
    return log


def decision(tenant: str, verb: Verb, held: Held) -> Decision:
    return Decision(
        id=review.decision_id(tenant, verb, held.event.channel_id, held.event.id),
        tenant=tenant,
        verb=verb,
        decided_at=NOW,
        decided_by="desk",
        channel_id=held.event.channel_id,
        message_id=review.hidden_by(held),
        held=held,
    )


def read(database: Database, statement: Statement, *values: Any) -> list[tuple[Any, ...]]:
    return list(database.session.execute(database.prepared(statement).bind(values)))


def message(database: Database, one: Event) -> tuple[Any, ...]:
    """(sent_at, message_id, envelope, src, rule, edit, edited micros, deleted_at, blocked_at)"""
    at = placement.sent_at(one)
    cell = (one.tenant, one.channel_id, placement.bucket(at), at, one.target)
    (row,) = read(database, tables.MESSAGE, *cell)
    return row


def test_values_are_packed_as_the_driver_binds_them(database: Database) -> None:
    text, number, flag = "é\0\U0001f600", -1_700_000_000_123_000, True
    for statement, values in [
        (tables.CREATE_MESSAGE, (number, text, text, "", text, text, number // 1000, 1_700_000_000_123, text)),
        (tables.SET_REACTION, (number, flag, text, text, number // 1000, text, text, text)),
        (tables.SET_MEMBERSHIP, (1, 2, False, text, text, text)),
    ]:
        prepared = database.prepared(statement)
        assert _bound(prepared, values).values == prepared.bind(values).values


def test_the_topic_read_again_leaves_every_row_and_write_time_unchanged(
    writer: HistoryProcess, database: Database, tenant: str
) -> None:
    log = community(tenant)
    publish(writer.kafka, log)
    verdict = Verdict(action=Action.BLOCK, rule="words", version=1, reason="a word")
    held = [Held(event=event(tenant, n, id=f"held-{n}"), verdict=verdict) for n in range(10)]
    publish(writer.kafka, [msgspec.json.encode(one) for one in held], topics.HELD)
    publish(writer.kafka, [event(tenant, n, historical=True) for n in range(5_000, 5_200)], topics.EVENTS_BACKFILL)
    made = [decision(tenant, Verb.RELEASE, one) for one in held[:6]]
    made += [decision(tenant, Verb.REJECT, one) for one in held[4:8]]
    publish(writer.kafka, map(event_of, made))
    publish(writer.kafka, map(msgspec.json.encode, made), topics.HELD, headers.DECISION)
    writer.wait_written()
    first = snapshot(database, tenant)
    assert len(first["messages"]) == 1500 + 60 + 200 + 6  # the released
    assert len(first["review_decisions"]) == 10
    assert len(first["dirty_days"]) >= 1
    assert len(first["held_messages"]) == 10
    assert len(first["channels"]) == 7
    assert len(first["read_marks"]) == 7
    assert writer.stop() == 0
    rewind(writer.kafka)
    assert uncommitted(writer.kafka) > 2000
    writer.start()
    writer.wait_written()
    again = snapshot(database, tenant)
    for table in first:
        assert again[table] == first[table], table


def test_changes_find_their_message_whichever_comes_first(
    writer: HistoryProcess, database: Database, tenant: str
) -> None:
    timed, foreign = event(tenant, 1), event(tenant, 2, message_id="foreign")
    both = [timed, foreign]
    early = [c for one in both for c in changes(tenant, 100, one.target, one.channel_id or "")]
    publish(writer.kafka, early)
    writer.wait_written()
    assert len(read(database, tables.PENDING, tenant, "foreign")) == len(early) // 2
    assert read(database, tables.FIND_MESSAGE, tenant, "foreign") == []
    publish(writer.kafka, both)
    writer.wait_written()
    for one in both:
        row = message(database, one)
        assert codec.decode(row[2].encode()) == one
        assert codec.decode(row[5].encode()).text == "second edit"
        assert row[7] is None
        reactions = read(
            database, tables.REACTIONS, tenant, one.channel_id, placement.bucket(placement.sent_at(one)), [one.target]
        )
        assert reactions == [(one.target, "+1", "ann", False)]
    marks = {channel: target for channel, _, target in read(database, tables.READ_MARKS, tenant, "ann")}
    assert marks == {one.channel_id: one.target for one in both}
    # The other way round: the message is there, the deletion comes, and then an older edit.
    publish(writer.kafka, [e for one in both for e in changes(tenant, 201, one.target, one.channel_id or "")[::-1]])
    writer.wait_written()
    for one in both:
        row = message(database, one)
        assert row[7] is not None
        assert row[2] == ""


def test_a_writer_killed_again_and_again_loses_nothing(writer: HistoryProcess, database: Database, tenant: str) -> None:
    log = [event(tenant, number) for number in range(30_000)]
    publish(writer.kafka, log)
    for _ in range(3):
        wait_until(lambda: writer.metric("hubbub_history_rows_total") > 3_000, 60)
        assert uncommitted(writer.kafka) > 0
        writer.kill()
        writer.start(HUBBUB_HISTORY_COMMIT_SECONDS="0.5")
    writer.wait_written(120)
    found = {
        target
        for channel in range(7)
        for (bucket,) in read(database, tables.BUCKETS, tenant, f"c{channel}")
        for _, target, *_ in read(database, tables.NEWEST, tenant, f"c{channel}", bucket, 100_000)
    }
    assert found == {one.target for one in log}
    assert sum(len(read(database, tables.BUCKETS, tenant, f"c{n}")) for n in range(7)) in (7, 14)


@pytest.mark.parametrize("fault", [CUT, HELD], ids=["cut", "held"])
def test_a_cassandra_that_is_gone_pauses_the_writer_and_loses_nothing(
    fault: Fault, kafka: Kafka, cassandra: Cassandra, database: Database, tenant: str, tmp_path: Path
) -> None:
    own = kafka.model_copy(update={"topic_prefix": f"{kafka.topic_prefix}{tenant}-"})
    with proxied(cassandra.contact_points[0], cassandra.port) as proxy:
        behind = cassandra.model_copy(update={"port": proxy.port, "request_timeout": 2.0})
        with history(own, behind, tmp_path / "history.log") as writer:
            publish(own, [event(tenant, number) for number in range(3_000)])
            writer.wait_written()
            proxy.become(fault)
            publish(own, [event(tenant, number) for number in range(3_000, 20_000)])
            wait_until(lambda: writer.metric("hubbub_history_paused_partitions") == 24, 20)
            wait_until(lambda: not writer.report()["checks"]["cassandra"]["ok"], 10)
            held_back = uncommitted(own)
            assert held_back > 0
            # Past Kafka's session timeout: only a writer that keeps polling is still a member.
            time.sleep(12)
            assert uncommitted(own) == held_back
            proxy.become(CLEAR)
            writer.wait_written()
            assert writer.metric("hubbub_history_paused_partitions") == 0
            assert len(snapshot(database, tenant)["messages"]) == 20_000
            wait_until(lambda: bool(writer.report()["ready"]), 10)
            assert writer.log.read_text().count("partitions.assigned") == 1
            assert writer.stop() == 0


def test_poison_is_one_dead_letter_each_and_delays_nobody(
    writer: HistoryProcess, database: Database, tenant: str
) -> None:
    poison: list[Event | bytes | None] = [
        None,
        b"\xff\xfe",
        b"{}",
        b"[" * 5000,
        msgspec.json.encode({"id": "x"}),
        codec.encode(msgspec.structs.replace(event(tenant, 3), tenant=None)),
    ]
    good = [event(tenant, number) for number in range(200)]
    publish(writer.kafka, [*good[:100], *poison, *good[100:]])
    writer.wait_written()
    assert len(snapshot(database, tenant)["messages"]) == 200
    consumer = Consumer(consumer_config(writer.kafka, "test", f"{writer.kafka.topic_prefix}test"))
    consumer.assign([TopicPartition(writer.kafka.topic(topics.DLQ.name), n, 0) for n in range(topics.DLQ.partitions)])
    letters = consumer.consume(100, timeout=5)
    consumer.close()
    assert sorted(letter.value() or b"" for letter in letters) == sorted(
        codec.encode(p) if isinstance(p, Event) else p or b"" for p in poison
    )
    assert {dict(letter.headers() or [])["stage"] for letter in letters} == {b"history"}
    assert writer.report()["ready"]


def test_a_stopped_writer_has_committed_what_it_wrote(writer: HistoryProcess, database: Database, tenant: str) -> None:
    publish(writer.kafka, [event(tenant, number) for number in range(5_000)])
    wait_until(lambda: writer.metric("hubbub_history_rows_total") > 500, 30)
    assert writer.stop() == 0
    left = uncommitted(writer.kafka)
    rows = len(snapshot(database, tenant)["messages"])
    assert rows == 5_000 - left
