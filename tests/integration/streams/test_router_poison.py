"""Poison straight into the topic: one dead letter each, the neighbours untouched, and a replay that adds each once."""

from collections import Counter
from typing import IO

import msgspec

from infra.contracts import codec, topics
from infra.contracts.records import Accounting
from infra.runtime.settings import Kafka
from streams import dead_letters
from tests.integration.streams.poison import KINDS, poison
from tests.integration.streams.running import event, framed, read, router, send

COPIES = 100


def test_a_thousand_poison_records_are_a_thousand_dead_letters(own_kafka: Kafka, log_file: IO[bytes]) -> None:
    neighbours = [event(n, id=f"neighbour-{n}") for n in range(3_000)]
    frames = list(framed(neighbours, 10))
    bad = [record for number in range(COPIES) for record in poison(number)]
    mixed = [record for pair in zip(frames, bad, strict=False) for record in pair] + bad[len(frames) :]
    send(own_kafka, mixed)
    with router(own_kafka, log_file) as worker:
        worker.wait_idle(90)
        assert worker.running

        arrived = Counter(m.id for m in read(own_kafka, topics.EVENTS))
        expected = [e.id for e in neighbours] + [f"good-{n}-{i}" for n in range(COPIES) for i in range(2)]
        assert arrived == Counter(expected)
        letters = dead_letters.list_letters(own_kafka, limit=2_000)
        assert len(letters) == len(read(own_kafka, topics.DLQ)) == KINDS * COPIES
        codes = {"invalid_field", "missing_field", "bad_time", "too_large", "forbidden_type"}
        assert {letter.code for letter in letters} == codes
        originals = Counter(value or b"" for _, value in bad if value is None or not value.startswith(b'[{"id":"good'))
        found = Counter(letter.value for letter in letters)
        assert found - originals == Counter({b'{"id":"bad","type":"message.sent"}': COPIES})

        ill = next(letter for letter in letters if letter.value.startswith(b'{"id":5'))
        cured = codec.encode(event(1, id="cured"))
        for _ in range(2):
            assert dead_letters.replay(own_kafka, ill.key, cured).keys == (ill.key,)
        worker.wait_idle()
        again = Counter(m.id for m in read(own_kafka, topics.EVENTS))
        assert again - arrived == Counter({"cured": 2})

        only = dead_letters.Filter(code="forbidden_type")
        assert len(dead_letters.replay_all(own_kafka, only).keys) == COPIES
        worker.wait_idle()
        # What failed again is the letter it was.
        assert [x.attempts for x in dead_letters.list_letters(own_kafka, 9_999, only)] == [2] * COPIES
        assert worker.terminate() == 0
    accounts = [msgspec.json.decode(m.value, type=Accounting) for m in read(own_kafka, topics.ACCOUNTING)]
    assert all(account.balanced for account in accounts)
