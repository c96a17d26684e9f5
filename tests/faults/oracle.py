"""Holds ledger, topics, history, held messages, archive, metrics and live readers against one another after the faults.

Each claim carries the invariant's number, its figure and what contradicts it; I8 and I9 are measured by the rows.
"""

from collections import Counter

from infra.contracts import events
from infra.contracts.tables import METRICS_QUERY
from infra.runtime.archive import ArchiveReader
from infra.runtime.cassandra import connect
from infra.runtime.settings import Cassandra, Kafka
from tests.faults.load import Ledger, outcome_of, seq_of
from tests.faults.subscriber import Subscriber
from tests.system import audit
from tests.system.audit import Claim, Log, Since


def judge(
    kafka: Kafka,
    cassandra: Cassandra,
    archive: ArchiveReader,
    *,
    tenant: str,
    since: Since,
    ledger: Ledger,
    subscribers: list[Subscriber],
    dead_letters: int,
    late_before: int,
) -> list[Claim]:
    """Every claim about one tenant, from the offsets at which its run began."""
    log = audit.read_log(kafka, since, tenant)
    database = connect(cassandra, prepare=False)
    try:
        sinks = [
            _named("I1 the router's accounting balances", audit.accounted(log)),
            _named("I1 each event has one outcome", audit.one_outcome(log)),
            _named("I1 history is exact", audit.history_exact(log, database, tenant)),
            _named("I1 held messages are exact", audit.held_exact(log, database, tenant)),
            _named("I1 the archive is exact", audit.archive_exact(log, archive, tenant)),
            _named("I6 metrics equal a recount", audit.metrics_exact(log, database, tenant)),
        ]
    finally:
        database.close()
    if log.late:
        # The count is of all tenants: the canary's may be late, too.
        sinks.append(late_counted(audit.read_log(kafka, since), late_events(cassandra) - late_before))
    sinks.append(buried(log, dead_letters))
    return [
        lost(log, ledger, tenant),
        stopped(log, ledger, tenant),
        *sinks,
        in_order(log, ledger, tenant),
        payload(log, ledger, tenant),
    ] + [claim for subscriber in subscribers for claim in shown(log, subscriber)]


def lost(log: Log, ledger: Ledger, tenant: str) -> Claim:
    """I1, I2, I3: what was acknowledged is there, what was refused is nowhere."""
    claim = Claim("I1-I3 acknowledged is stored, refused is not")
    told: Counter[str] = Counter()
    for line in ledger.lines.values():
        there = (tenant, line.id) in log.outcome
        told[line.outcome] += 1
        if line.outcome in ("accepted", "duplicate") and not there:
            claim.wrong.append(f"lost: {line.type} {line.id} of {line.sender} in {line.channel}, told at {line.at:.2f}")
        if line.outcome == "refused" and there:
            claim.wrong.append(f"refused and there: {line.id}")
    for key in log.outcome:
        if key[1] not in ledger.lines:
            claim.wrong.append(f"nobody sent it: {key}")
    claim.figure = ", ".join(f"{name} {count:,}" for name, count in sorted(told.items()))
    return claim


def stopped(log: Log, ledger: Ledger, tenant: str) -> Claim:
    """I1: what the rules stop is held or blocked, and nothing else is."""
    claim = Claim("I1 what rules stop is stopped")
    there: Counter[str] = Counter()
    for line in ledger.lines.values():
        expected, found = outcome_of(line.text), log.outcome.get((tenant, line.id), set())
        there.update(found)
        if found and found != {expected}:
            claim.wrong.append(f"{line.id}: {sorted(found)}, and not {expected}")
    claim.figure = ", ".join(f"{there[name]:,} {name}" for name in ("events", "held", "blocked"))
    return claim


def late_events(cassandra: Cassandra) -> int:
    """How many events the metrics query says it has left out as late, in its whole life."""
    database = connect(cassandra, prepare=False)
    try:
        row = database.session.execute(
            "SELECT late_events FROM analytics_progress WHERE query = %s", (METRICS_QUERY,)
        ).one()
    finally:
        database.close()
    return int(row[0] or 0) if row else 0


def late_counted(log: Log, counted: int) -> Claim:
    """I6: what was left out of the windows is counted as late, each copy of it."""
    claim = Claim("I6 late events are counted as late", figure=f"{log.late:,} late, {counted:,} counted")
    if counted != log.late:
        claim.wrong.append(claim.figure)
    return claim


def buried(log: Log, expected: int) -> Claim:
    """I1: what could not be processed is a dead letter, once, and nothing else is."""
    claim = Claim("I1 dead letters are those expected", figure=f"{len(log.dead):,} dead letters")
    if len(log.dead) != expected:
        claim.wrong.append(f"{len(log.dead)} dead letters, {expected} expected: {sorted(log.dead)[:3]}")
    return claim


def in_order(log: Log, ledger: Ledger, tenant: str) -> Claim:
    """I4: the first copies of a sender's messages stand in the order they were sent, in each channel."""
    claim = Claim("I4 order by channel and sender")
    last: dict[tuple[str, str], int] = {}
    for (_, identifier), event in log.first.items():
        line = ledger.lines.get(identifier)
        if event.type != events.MESSAGE_SENT or line is None or line.seq is None:
            continue
        place = (line.channel, line.sender)
        if line.seq <= last.get(place, 0):
            claim.wrong.append(f"{place}: {line.seq} after {last[place]}")
        last[place] = max(line.seq, last.get(place, 0))
    claim.figure = f"{len(last):,} pairs"
    return claim


def payload(log: Log, ledger: Ledger, tenant: str) -> Claim:
    """I10: the text in the log is the text that was sent; that history has the log's is its own claim."""
    claim = Claim("I10 payload unchanged")
    compared = 0
    for (_, identifier), event in log.first.items():
        line = ledger.lines.get(identifier)
        if line is not None and line.text is not None:
            compared += 1
            if (event.text, event.channel_id, event.user_id) != (line.text, line.channel, line.sender):
                claim.wrong.append(f"{identifier} differs")
    claim.figure = f"{compared:,} texts"
    return claim


def shown(log: Log, subscriber: Subscriber) -> list[Claim]:
    """I5, and I4 once more: a live reader was shown everything once, in order, unless a gap was announced."""
    whole, once = Claim("I5 live: no gap"), Claim("I5 live: nothing twice, in order")
    seen = Counter(event["id"] for event in subscriber.shown)
    missing = [identifier for _, identifier in log.first if identifier not in seen]
    if not subscriber.gaps:
        whole.wrong = [f"never shown: {identifier}" for identifier in missing]
    whole.figure = f"{len(seen):,} shown, {subscriber.resumed} resumed, {subscriber.gaps} gaps announced"
    once.wrong = [f"{count} times: {identifier}" for identifier, count in seen.items() if count > 1]
    last: dict[tuple[str, str], int] = {}
    for event in subscriber.shown:
        seq = seq_of(event.get("text"))
        if event["type"] == events.MESSAGE_SENT and seq is not None:
            place = (event["channel_id"], event["user_id"])
            if seq < last.get(place, 0):
                once.wrong.append(f"{place}: {seq} after {last[place]}")
            last[place] = seq
    once.figure = f"{len(last):,} pairs"
    return [whole, once]


def _named(name: str, claim: Claim) -> Claim:
    claim.name = name
    return claim
