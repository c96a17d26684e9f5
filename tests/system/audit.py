"""Holds a Hubbub to its promises after a run: topics, history, held messages, archive and metrics compared.

`python -m tests.system.audit [--ledger FILE]` prints one line a claim and exits 1 when one does not hold. The ledger is
what `hubbub simulate --ledger FILE` wrote: every event with the outcome its sender was told.
"""

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from infra.contracts import archive, events, metrics, placement, review, topics, windows
from infra.contracts.events import Event, from_ms
from infra.contracts.records import Accounting, Held
from infra.contracts.review import Decision, Verb
from infra.runtime.archive import ArchiveReader
from infra.runtime.cassandra import Database, connect
from infra.runtime.kafka import client_config
from infra.runtime.settings import Archive, Cassandra, Kafka, Runtime

Id = tuple[str, str]
#: So far behind when it was appended that its window was closed, whatever the others did. No load here sends events
#: between this and the watermark's own delay: those could be either.
LATE: Final = 2 * windows.WATERMARK_DELAY


@dataclass
class Claim:
    """One thing that must hold."""

    name: str
    wrong: list[str] = field(default_factory=list)
    figure: str = ""


@dataclass
class Log:
    """What the topics hold, each event once: its first copy."""

    outcome: dict[Id, set[str]] = field(default_factory=lambda: defaultdict(set))
    first: dict[Id, Event] = field(default_factory=dict)
    #: The first copy that was not late; an event may come again and be stamped by another clock.
    timely: dict[Id, Event] = field(default_factory=dict)
    #: Records in `events` and `held` that were late.
    late: int = 0
    backfilled: dict[Id, Event] = field(default_factory=dict)
    held: dict[Id, Held] = field(default_factory=dict)
    #: Of those that a rule stopped, as `timely`.
    timely_held: dict[Id, Held] = field(default_factory=dict)
    #: Records in `held` by event.
    held_copies: Counter[Id] = field(default_factory=Counter)
    #: What moderators decided, by id.
    decisions: dict[str, Decision] = field(default_factory=dict)
    #: Records in `events` and its backfill by event.
    copies: Counter[Id] = field(default_factory=Counter)
    accounting: dict[bytes, Accounting] = field(default_factory=dict)
    dead: dict[bytes, bytes] = field(default_factory=dict)


#: Offsets by topic (without prefix) and partition; nothing stands for the beginning.
Since = Mapping[tuple[str, int], int]
#: What the router writes.
OUTPUTS = (topics.EVENTS, topics.EVENTS_BACKFILL, topics.SIGNALS, topics.HELD, topics.ACCOUNTING, topics.DLQ)


def ends_of(kafka: Kafka) -> dict[tuple[str, int], int]:
    """Where the topics the router writes end now."""
    consumer = Consumer({**client_config(kafka, "audit"), "group.id": "audit"})
    found = {}
    for topic in OUTPUTS:
        name = kafka.topic(topic.name)
        for number in consumer.list_topics(name).topics[name].partitions:
            found[topic.name, number] = consumer.get_watermark_offsets(TopicPartition(name, number))[1]
    consumer.close()
    return found


def records(kafka: Kafka, topic: topics.Topic, since: Since) -> Iterator[tuple[bytes, bytes, datetime]]:
    """Key, value and append time of every record of a topic from `since` up to its present end."""
    name = kafka.topic(topic.name)
    consumer = Consumer({**client_config(kafka, "audit"), "group.id": "audit", "enable.auto.commit": False})
    partitions = [
        TopicPartition(name, p, since.get((topic.name, p), OFFSET_BEGINNING))
        for p in consumer.list_topics(name).topics[name].partitions
    ]
    ends = {p.partition: consumer.get_watermark_offsets(p) for p in partitions}
    waiting = {p for p, (low, high) in ends.items() if high > max(low, since.get((topic.name, p), 0))}
    consumer.assign(partitions)
    while waiting:
        for message in consumer.consume(5_000, timeout=5):
            error, partition, offset = message.error(), message.partition(), message.offset()
            if error is not None or partition is None or offset is None:
                raise RuntimeError(f"{name}: {error}")
            yield message.key() or b"", message.value() or b"", from_ms(message.timestamp()[1])
            if offset >= ends[partition][1] - 1:
                waiting.discard(partition)
    consumer.close()


def read_log(kafka: Kafka, since: Since | None = None, tenant: str | None = None) -> Log:
    """Read every topic the router writes, as far as it is about one tenant, if one is named."""
    log = Log()
    since = since or {}
    for topic, into in ((topics.EVENTS, log.first), (topics.EVENTS_BACKFILL, log.backfilled)):
        for _, value, appended_at in records(kafka, topic, since):
            event = msgspec.json.decode(value, type=Event)
            if event.type == events.HEARTBEAT or tenant not in (None, event.tenant):
                continue
            key = (event.tenant or "", event.id)
            into.setdefault(key, event)
            if topic is topics.EVENTS and appended_at - event.time > LATE:
                log.late += 1
            elif topic is topics.EVENTS:
                log.timely.setdefault(key, event)
            log.outcome[key].add("events")
            log.copies[key] += 1
    for _, value, _ in records(kafka, topics.SIGNALS, since):
        event = msgspec.json.decode(value, type=Event)
        if tenant not in (None, event.tenant):
            continue
        log.outcome[event.tenant or "", event.id].add("signals")
    for _, value, appended_at in records(kafka, topics.HELD, since):
        try:
            held = msgspec.json.decode(value, type=Held)
        except msgspec.ValidationError:
            decision = review.decode(value)
            if tenant in (None, decision.tenant):
                log.decisions[decision.id] = decision
            continue
        if tenant not in (None, held.event.tenant):
            continue
        key = (held.event.tenant or "", held.event.id)
        log.held.setdefault(key, held)
        if appended_at - held.event.time > LATE:
            log.late += 1
        else:
            log.timely_held.setdefault(key, held)
        log.held_copies[key] += 1
        log.outcome[key].add("held" if held.verdict.action == "hold" else "blocked")
    for record, value, _ in records(kafka, topics.ACCOUNTING, since):
        log.accounting[record] = msgspec.json.decode(value, type=Accounting)
    log.dead |= {key: value for key, value, _ in records(kafka, topics.DLQ, since)}
    return log


def accounted(log: Log) -> Claim:
    """accepted = events + signals + held + blocked + dlq + duplicates, for every input record and in all."""
    claim = Claim("accounting balances")
    total: Counter[str] = Counter()
    for key, counted in log.accounting.items():
        if not counted.balanced:
            claim.wrong.append(f"{key!r}: {counted}")
        total["accepted"] += counted.accepted
        for outcomes in counted.tenants.values():
            total.update(outcomes)
    claim.figure = ", ".join(f"{name} {count:,}" for name, count in total.items())
    return claim


def one_outcome(log: Log) -> Claim:
    """No event stands under two outcomes, but for those released after they were stopped."""
    claim = Claim("every event has one outcome", figure=f"{len(log.outcome):,} events, {log.copies.total():,} copies")
    released = {(d.tenant, d.held.event.id) for d in log.decisions.values() if d.held and d.verb is Verb.RELEASE}
    for key, found in log.outcome.items():
        stopped = found & {"held", "blocked"}
        if len(found) > 1 and not (key in released and len(stopped) == 1 and found - stopped == {"events"}):
            claim.wrong.append(f"{key}: {sorted(found)}")
    claim.wrong += [f"released and not there: {key}" for key in released if "events" not in log.outcome[key]]
    return claim


def ledger_kept(log: Log, ledger: Path, tenant: str) -> Claim:
    """Every event its sender was told is stored, is; and nothing refused is anywhere."""
    claim = Claim("the sender's ledger is kept")
    told: Counter[str] = Counter()
    for line in ledger.read_bytes().splitlines():
        entry = msgspec.json.decode(line)
        told[entry["outcome"]] += 1
        there = (tenant, entry["id"]) in log.outcome
        if entry["outcome"] in ("accepted", "duplicate") and not there:
            claim.wrong.append(f"lost: {entry}")
        if entry["outcome"] == "refused" and there:
            claim.wrong.append(f"refused and there: {entry}")
    claim.figure = ", ".join(f"{name} {count:,}" for name, count in told.items())
    return claim


def history_exact(log: Log, database: Database, only: str | None = None) -> Claim:
    """Messages in history are the messages of the log: none missing, none more, each in the state its changes gave."""
    claim = Claim("history equals the log")
    everything = {**log.backfilled, **log.first}
    sent = {(t, e.target): e for (t, _), e in everything.items() if e.type == events.MESSAGE_SENT}
    deleted = {(t, e.target) for (t, _), e in everything.items() if e.type == events.MESSAGE_DELETED}
    blocked = {(t, e.target) for (t, _), e in everything.items() if e.type == events.MESSAGE_BLOCKED}
    edited: dict[Id, Event] = {}
    for (t, _), e in everything.items():
        if e.type == events.MESSAGE_EDITED and ((t, e.target) not in edited or edited[t, e.target].time < e.time):
            edited[t, e.target] = e
    seen: Counter[Id] = Counter()
    rows = database.session.execute(
        "SELECT tenant, channel_id, bucket, sent_at, message_id, envelope, edit, deleted_at, blocked_at FROM messages",
        timeout=120,
    )
    for tenant, channel_id, bucket, sent_at, message_id, envelope, edit, deleted_at, blocked_at in rows:
        key = (tenant, message_id)
        if envelope is None or only not in (None, tenant):
            continue  # a change whose message was never sent: hidden from readers
        event = sent.get(key)
        if event is None:
            if deleted_at is None:
                claim.wrong.append(f"in history only: {key}")
            continue
        seen[key] += 1
        place = placement.sent_at(event)
        if (channel_id, bucket, sent_at.replace(tzinfo=UTC)) != (event.channel_id, placement.bucket(place), place):
            claim.wrong.append(f"misplaced: {key}")
        if (deleted_at is not None) != (key in deleted):
            claim.wrong.append(f"deleted or not: {key}")
        if (blocked_at is not None) != (key in blocked):
            claim.wrong.append(f"blocked or not: {key}")
        if deleted_at is None:
            if msgspec.json.decode(envelope, type=Event).id != event.id:
                claim.wrong.append(f"another envelope: {key}")
            shown = msgspec.json.decode(edit)["text"] if edit else event.text
            if shown != (edited[key].text if key in edited else event.text):
                claim.wrong.append(f"another text: {key}")
    claim.wrong += [f"missing: {key}" for key in sent if key not in seen]
    claim.wrong += [f"{count} times: {key}" for key, count in seen.items() if count > 1]
    claim.figure = f"{len(seen):,} messages, {len(deleted):,} deleted, {len(edited):,} edited"
    return claim


def held_exact(log: Log, database: Database, only: str | None = None) -> Claim:
    """What is listed as held is what the router held."""
    claim = Claim("held messages equal the log", figure=f"{len(log.held):,} held or blocked")
    rows = database.session.execute("SELECT tenant, held_id FROM held_messages", timeout=60)
    found = {(tenant, held_id) for tenant, held_id in rows if only in (None, tenant)}
    claim.wrong = [f"{key}" for key in found ^ set(log.held)]
    return claim


def archive_exact(log: Log, reader: ArchiveReader, only: str | None = None) -> Claim:
    """Each record of the log is in the archive once, and a reader of the archive is given each event once."""
    claim = Claim("the archive equals the log")
    total = 0
    for table, copies in ((archive.EVENTS, log.copies), (archive.HELD, log.held_copies)):
        found = {
            every: Counter(
                (row["tenant"], row["id"])
                for row in reader.rows(table, tenant=only, columns=["tenant", "id"], copies=every)
            )
            for every in (True, False)
        }
        for key in found[True].keys() | copies.keys():
            if found[True][key] != copies[key]:
                claim.wrong.append(f"{table.name} {key}: {found[True][key]} archived, {copies[key]} in the log")
        claim.wrong += [f"{table.name} {key}: read {n} times" for key, n in found[False].items() if n > 1]
        claim.wrong += [f"{table.name} {key}: not read" for key in found[True].keys() - found[False].keys()]
        total += found[True].total()
    claim.figure = f"{total:,} rows of {len(log.copies) + len(log.held_copies):,} events"
    return claim


def metrics_exact(log: Log, database: Database, only: str | None = None) -> Claim:
    """Every minute's counts equal a recount of the log, each event once, without what came late."""
    claim = Claim("metric windows equal a recount")
    recount: Counter[tuple[str, str, datetime, str]] = Counter()
    counts = [m for m in metrics.MEASURES if m.kind == "count"]
    judged = [(e, "events") for e in log.timely.values()]
    judged += [(h.event, "held" if h.verdict.action == "hold" else "blocked") for h in log.timely_held.values()]
    for event, outcome in judged:
        if event.is_bot:
            continue
        start = windows.MINUTE.start(event.time)
        scopes = [metrics.TENANT_SCOPE] + ([metrics.channel_scope(event.channel_id)] if event.channel_id else [])
        for measure in counts:
            if measure.takes(event, outcome):
                recount.update((event.tenant or "", scope, start, measure.name) for scope in scopes)
    stored: Counter[tuple[str, str, datetime, str]] = Counter()
    columns = ", ".join(m.name for m in counts)
    rows = database.session.execute(
        f"SELECT tenant, scope, window_start, {columns} FROM metric_windows"
        " WHERE grain = '1m' AND source = 'stream' ALLOW FILTERING",
        timeout=120,
    )
    for tenant, scope, start, *values in rows:
        if only not in (None, tenant):
            continue
        for measure, value in zip(counts, values, strict=True):
            if value:
                stored[tenant, scope, start.replace(tzinfo=UTC), measure.name] = value
    for key in recount.keys() | stored.keys():
        if recount[key] != stored[key]:
            claim.wrong.append(f"{key}: recount {recount[key]}, stored {stored[key]}")
    sent = sum(n for (_, scope, _, name), n in stored.items() if name == "sent" and scope == metrics.TENANT_SCOPE)
    claim.figure = f"{len(recount):,} values, {sent:,} messages counted"
    return claim


def audit(kafka: Kafka, cassandra: Cassandra, reader: ArchiveReader, ledger: Path | None, tenant: str) -> list[Claim]:
    """Every claim, after everything has been processed."""
    log = read_log(kafka)
    database = connect(cassandra, prepare=False)
    try:
        claims = [accounted(log), one_outcome(log), history_exact(log, database), held_exact(log, database)]
        claims += [archive_exact(log, reader), metrics_exact(log, database)]
    finally:
        database.close()
    if ledger:
        claims.append(ledger_kept(log, ledger, tenant))
    return claims


def main() -> int:
    """Print the claims."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ledger", type=Path)
    parser.add_argument("--tenant", default="demo")
    options = parser.parse_args()
    failed = 0
    for claim in audit(Kafka(), Cassandra(), ArchiveReader(Archive(), Runtime()), options.ledger, options.tenant):
        failed += bool(claim.wrong)
        print(f"{'FAILED' if claim.wrong else 'ok':7} {claim.name}: {claim.figure}")
        for line in claim.wrong[:10]:
            print(f"        {line}")
        if len(claim.wrong) > 10:
            print(f"        and {len(claim.wrong) - 10:,} more")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
