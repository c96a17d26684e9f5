"""What a record tells the ledger agrees with what the router makes of the same input."""

from datetime import UTC, datetime
from typing import Any

import pytest

from infra.contracts import codec, headers, topics
from infra.contracts.events import Event
from infra.contracts.ledger import State
from infra.runtime.settings import Kafka
from streams.ledger.books import Books, Evidence
from streams.ledger.observations import OUTPUTS, TOPICS, claim_of, elements_by_tenant, output_of
from streams.router.book import RuleBook
from streams.router.heartbeats import heartbeat
from streams.router.routing import Record, Router

AT = datetime(2026, 3, 14, 12, tzinfo=UTC)


class Kept:
    """A record as a consumer hands it over."""

    def __init__(self, value: bytes | None, key: bytes | None = None, found: Any = ()) -> None:
        self._value, self._key, self._headers = value, key, list(found)

    def value(self) -> bytes | None:
        return self._value

    def key(self) -> bytes | None:
        return self._key

    def headers(self) -> Any:
        return self._headers


def event(number: int, **fields: Any) -> bytes:
    known: dict[str, Any] = {
        "id": f"e-{number}",
        "type": "message.sent",
        "time": AT,
        "channel_id": "general",
        "user_id": "ada",
        "text": "hello",
        "tenant": "acme",
    }
    return codec.encode(Event(**known | fields))


@pytest.mark.parametrize(
    "value",
    [
        codec.frame([event(0), event(1, tenant="other"), event(0), event(2, type="typing.started", text=None)]),
        codec.frame([event(0), b'{"id":"x","tenant":"acme"}', b'{"tenant":"No Tenant"}', b'{"tenant":7}']),
        codec.frame([event(0, text="my card is 4111 1111 1111 1111"), event(1, text="you are scum")]),
        event(0),
        b"[]",
        b"not json",
        b'"text"',
        None,
    ],
)
def test_what_the_router_makes_of_any_record_balances(value):
    books = Books({("ingest", 0): 0}, settle_seconds=0, horizon_seconds=60)
    accepted = elements_by_tenant(value)
    books.take_input(("ingest", 0), 0, round(AT.timestamp() * 1000), accepted, 0)
    router = Router(topics.INGEST, Kafka(), RuleBook())
    routed = router.route(Record(topic="ingest", partition=0, offset=0, appended_at=AT, value=value))
    for number, made in enumerate(routed.outputs):
        record = Kept(made.value, made.key, made.headers)
        if made.topic == topics.ACCOUNTING.name:
            claim = claim_of(record)
            books.take_claim(claim.src, claim.accounting)
        elif made.topic in OUTPUTS:
            output = output_of(made.topic, record)
            assert output is not None
            books.take_output(output.src, output.outcome, output.tenant, (made.topic, 0), number)
    assert books.open_records == 0
    done = {(name, 0): 100 for name in TOPICS}
    books.learn(Evidence(read_until_ms=10**15, router=done, history=done, analytics=done))
    minutes = list(books.minutes(10**15))
    assert {m.tenant: m.accepted for m in minutes} == accepted
    for m in minutes:
        assert m.state is State.BALANCED
        assert m.accepted == m.events + m.signals + m.held + m.blocked + m.dlq + m.duplicates


def test_heartbeats_and_letters_of_ingest_and_history_are_no_outputs_of_an_input_record():
    beat = Kept(codec.encode(heartbeat(0, AT)), None, [(headers.KIND, headers.HEARTBEAT)])
    assert output_of("events", beat) is None
    for key, src, stage in (
        (b"events/0/1/-1", b"ingest/0/1/0", b"history"),
        (b"segment/acme/m-1/0a1b2c", b"ingest/0/-1/-1", b"ingest"),
    ):
        assert output_of("dlq", Kept(b"x", key, [(headers.SRC, src), (headers.STAGE, stage)])) is None


@pytest.mark.parametrize(
    ("topic", "record"),
    [
        ("events", Kept(b"{}", b"acme:general")),
        ("events", Kept(b"{}", b"acme:general", [(headers.SRC, b"what")])),
        ("events", Kept(b"{}", None, [(headers.SRC, b"ingest/0/1/0")])),
        ("held", Kept(b"{}", b"acme:general", [(headers.SRC, b"ingest/0/1/0")])),
        ("held", Kept(None, b"acme:general", [(headers.SRC, b"ingest/0/1/0")])),
    ],
)
def test_a_record_that_nobody_of_ours_wrote_is_refused(topic, record):
    with pytest.raises(ValueError):  # noqa: PT011 - each library words it differently
        output_of(topic, record)


def test_accounting_that_is_none_is_refused():
    with pytest.raises(ValueError):  # noqa: PT011 - as above
        claim_of(Kept(b"{}", b"ingest/0/1", [(headers.SRC, b"ingest/0/1/-1")]))
