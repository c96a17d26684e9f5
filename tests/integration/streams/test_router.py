"""The router on a real Kafka: every element ends in exactly one place, and a stop leaves nothing behind."""

from collections import Counter
from typing import IO

import msgspec

from infra.contracts import codec, topics
from infra.contracts import headers as h
from infra.contracts.records import Accounting, Held, Judged
from infra.runtime.settings import Kafka
from tests.integration.streams.running import event, framed, read, router, send


def test_each_element_of_every_kind_ends_in_one_place_and_a_stop_is_clean(
    own_kafka: Kafka, log_file: IO[bytes]
) -> None:
    plain = [event(n) for n in range(2_000)]
    masked = event(2_001, text="write to ada@example.org")
    held = event(2_002, text="F\u200bree nitro for everybody")
    blocked = event(2_003, text="kill yourself")
    typing = event(2_004, type="typing.started", text=None)
    twice = event(2_005)
    odd = [
        codec.encode(twice),
        codec.encode(twice),
        b'{"id":"bad"}',
        *map(codec.encode, (masked, held, blocked, typing)),
    ]
    send(own_kafka, [*framed(plain, 20), (3, codec.frame(odd))])
    with router(own_kafka, log_file) as worker:
        worker.wait_idle()
        assert worker.terminate() == 0

    arrived = Counter(m.id for m in read(own_kafka, topics.EVENTS))
    assert arrived == Counter([e.id for e in plain] + ["e-2001", "e-2005"])
    by_id = {m.id: m for m in read(own_kafka, topics.EVENTS)}
    assert codec.decode(by_id["e-2001"].value).text == "write to [email]"
    assert by_id["e-2001"].headers[h.RULE] == b"email@1"
    assert by_id["e-5"].value == codec.encode(plain[5])
    assert by_id["e-5"].src.topic == "ingest"

    stopped = [msgspec.json.decode(m.value, type=Held) for m in read(own_kafka, topics.HELD)]
    assert {(s.event.id, s.verdict.action, s.event.text) for s in stopped} == {
        ("e-2002", "hold", held.text),
        ("e-2003", "block", blocked.text),
    }
    assert [m.id for m in read(own_kafka, topics.SIGNALS)] == ["e-2004"]
    verdicts = [msgspec.json.decode(m.value, type=Judged) for m in read(own_kafka, topics.VERDICTS)]
    assert {(v.event_id, v.verdict.rule) for v in verdicts} == {
        ("e-2001", "email"),
        ("e-2002", "scams"),
        ("e-2003", "threats"),
    }
    letters = read(own_kafka, topics.DLQ)
    assert [(m.value, m.headers[h.CODE]) for m in letters] == [(b'{"id":"bad"}', b"missing_field")]

    accounts = [msgspec.json.decode(m.value, type=Accounting) for m in read(own_kafka, topics.ACCOUNTING)]
    assert all(a.balanced for a in accounts)
    totals: Counter[str] = Counter()
    for account in accounts:
        for outcomes in account.tenants.values():
            totals.update(outcomes)
    assert totals == {"events": 2_002, "held": 1, "blocked": 1, "signals": 1, "dlq": 1, "duplicates": 1}

    with router(own_kafka, log_file) as again:
        again.wait_idle()
    assert sum(arrived.values()) == len(read(own_kafka, topics.EVENTS))
