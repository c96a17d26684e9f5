"""What decisions become in the router, and which cells they end in."""

import copy
import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from infra.contracts import codec, headers, review
from infra.contracts.events import Event, to_ms
from infra.contracts.placement import bucket
from infra.contracts.records import Accounting, Action, Held, Verdict
from infra.contracts.review import Decision, Entry, Verb
from infra.contracts.topics import INGEST
from infra.runtime.kafka import Headers
from infra.runtime.settings import Kafka
from streams.history.cells import Cells
from streams.history.records import steps_of
from streams.history.rows import Row
from streams.history.store import Work
from streams.ledger.observations import elements_by_tenant, output_of
from streams.router.book import RuleBook
from streams.router.deliveries import Output
from streams.router.routing import Record, Routed, Router
from tests.unit.streams.last_write_wins import LastWriteWins

SENT = datetime(2026, 3, 13, 23, 59, 59, tzinfo=UTC)
DECIDED = SENT + timedelta(hours=10)
ROUTER = Router(INGEST, Kafka(topic_prefix="t-"), RuleBook())
VERDICT = Verdict(action=Action.HOLD, rule="scams", version=3, reason="listed word")
KIND: Headers = [(headers.KIND, headers.DECISION)]


def event(**fields: Any) -> Event:
    return Event(
        **{
            "id": "019ce9a4-8418-7000-8000-000000000001",
            "type": "message.sent",
            "time": SENT,
            "channel_id": "general",
            "user_id": "ann",
            "text": "free nitro",
            "tenant": "acme",
            "received_at": SENT + timedelta(milliseconds=40),
            "request_id": "r",
            **fields,
        }
    )


def decision(verb: Verb, one: Event | None = None, **fields: Any) -> Decision:
    one = one or event()
    held = None if verb is Verb.BLOCK else Held(event=one, verdict=VERDICT)
    return Decision(
        **{
            "id": review.decision_id("acme", verb, "general", one.id),
            "tenant": "acme",
            "verb": verb,
            "decided_at": DECIDED,
            "decided_by": "desk 0123456789ab",
            "channel_id": "general",
            "message_id": review.hidden_by(held) if held else one.target,
            "held": held,
            "moderator": "eve",
            "reason": "because",
            **fields,
        }
    )


def route(value: bytes, kind: Headers | None = KIND) -> Routed:
    return ROUTER.route(Record(topic="ingest", partition=3, offset=42, appended_at=DECIDED, value=value, headers=kind))


def to(routed: Routed, topic: str) -> list[Output]:
    return [output for output in routed.outputs if output.topic == f"t-{topic}"]


def decided(verb: Verb, one: Event | None = None, **fields: Any) -> Routed:
    return route(msgspec.json.encode(decision(verb, one, **fields)))


# The router


def test_a_release_sends_the_event_on_late_and_unjudged() -> None:
    routed = decided(Verb.RELEASE)
    (output,) = to(routed, "events")
    assert codec.decode(output.value or b"") == event(late=True)
    assert output.key == b"acme:general"
    assert output.headers == [(headers.SRC, b"ingest/3/42/0"), (headers.RULE, b"scams@3")]
    assert not to(routed, "verdicts")


@pytest.mark.parametrize("verb", [Verb.REJECT, Verb.BLOCK])
def test_a_reject_and_a_block_hide_the_message(verb: Verb) -> None:
    (output,) = to(decided(verb), "events")
    hiding = codec.decode(output.value or b"")
    assert (hiding.type, hiding.message_id, hiding.channel_id) == ("message.blocked", event().id, "general")
    assert (hiding.id, hiding.time, hiding.tenant) == (decision(verb).id, DECIDED, "acme")
    assert hiding.user_id == "hubbub"  # readers are not told who the moderator is
    assert output.key == b"acme:general"


def test_a_rejected_edit_leaves_its_message_alone() -> None:
    edit = event(id="019ce9a4-8418-7000-8000-0000000000ed", type="message.edited", message_id=event().id)
    (output,) = to(decided(Verb.REJECT, one=edit), "events")
    assert codec.decode(output.value or b"").message_id == edit.id


@pytest.mark.parametrize("verb", list(Verb))
def test_every_decision_goes_to_history_and_is_counted_once(verb: Verb) -> None:
    value = msgspec.json.encode(decision(verb))
    routed = route(value)
    (kept,) = to(routed, "held")
    assert review.decode(kept.value or b"") == decision(verb)
    assert kept.headers == [(headers.SRC, b"ingest/3/42/0"), *KIND]
    (account,) = to(routed, "accounting")
    claim = msgspec.json.decode(account.value or b"", type=Accounting)
    assert claim.balanced
    assert claim.tenants == {"acme": {"events": 1}}
    assert elements_by_tenant(value) == {"acme": 1}
    assert route(value).outputs == routed.outputs


class Kept:
    def __init__(self, output: Output) -> None:
        self._output = output

    def value(self) -> bytes | None:
        return self._output.value

    def key(self) -> bytes | None:
        return self._output.key

    def headers(self) -> Any:
        return self._output.headers

    def partition(self) -> int:
        return 1

    def offset(self) -> int:
        return 7


@pytest.mark.parametrize("verb", list(Verb))
def test_the_ledger_finds_what_was_claimed_and_no_more(verb: Verb) -> None:
    routed = decided(verb)
    seen = [output_of(topic, Kept(o)) for topic in ("events", "held") for o in to(routed, topic)]
    assert [output.outcome for output in seen if output is not None] == ["events"]


@pytest.mark.parametrize(
    "broken",
    [
        {"held": None},
        {"tenant": "other"},
        {"channel_id": "elsewhere"},
        {"verb": "forgive"},
        {"decided_at": "yesterday"},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_decision_that_fits_nothing_is_a_dead_letter_of_its_stage(broken: dict[str, Any]) -> None:
    value = msgspec.to_builtins(decision(Verb.RELEASE)) | broken
    routed = route(msgspec.json.encode(value))
    (letter,) = to(routed, "dlq")
    assert dict(letter.headers)[headers.STAGE] == b"decision"
    assert not to(routed, "events")
    assert not to(routed, "held")
    assert routed.unexpected == 0


def test_nobody_can_send_what_only_a_decision_makes() -> None:
    value = codec.frame([codec.encode(event(type="message.blocked", message_id="m", text=None))])
    (letter,) = to(route(value, None), "dlq")
    assert dict(letter.headers)[headers.CODE] == b"forbidden_type"


def test_a_decision_without_its_header_is_no_event() -> None:
    assert to(route(msgspec.json.encode(decision(Verb.BLOCK)), None), "dlq")


def test_a_sender_cannot_call_its_own_event_late() -> None:
    (output,) = to(route(codec.encode(event(text="hi", late=True)), None), "events")
    assert codec.decode(output.value or b"").late is None


# History


def write(store: LastWriteWins, output: Output, *, held: bool = False) -> None:
    work = Work(steps_of(Kept(output), held=held, cells=Cells(5.0), now=0.0), None)
    while step := work.advance():
        results = []
        for part in step:
            if isinstance(part, Row):
                store.write(part.statement, part.values)
            else:
                results.append(store.read(part.statement, part.values))
        work.results = results


def write_all(store: LastWriteWins, routed: Routed) -> None:
    for topic in ("events", "held"):
        for output in to(routed, topic):
            write(store, output, held=topic == "held")


def message(store: LastWriteWins) -> dict[str, Any]:
    (row,) = store.rows("messages").values()
    return row


def created(**fields: Any) -> Output:
    return Output("t-events", codec.encode(event(**fields)), b"acme:general", [(headers.SRC, b"ingest/3/1/0")])


def test_a_release_is_created_in_its_place_and_leaves_its_marks() -> None:
    store = LastWriteWins()
    (stopped,) = to(route(codec.frame([codec.encode(event())]), None), "held")
    write(store, stopped, held=True)
    write_all(store, decided(Verb.RELEASE))
    ((key, row),) = store.rows("messages").items()
    assert dict(key)["sent_at"] == int("019ce9a48418", 16)
    assert msgspec.json.decode(row["envelope"])["late"] is True
    ((held_key, held),) = store.rows("held_messages").items()
    assert dict(held_key)["day"] == "2026-03-13"
    assert (held["position"], msgspec.json.decode(held["released"], type=Entry).reason) == ("1/7", "because")
    ((_, user),) = store.rows("user_reviews").items()
    assert user == {"action": "hold", "released": to_ms(DECIDED)}
    assert [dict(k)["day"] for k in store.rows("dirty_days")] == ["2026-03-13"]
    ((trail_key, trail),) = store.rows("review_decisions").items()
    assert dict(trail_key)["day"] == "2026-03-14"
    assert b"nitro" not in trail["decision"].encode()


@pytest.mark.parametrize("name", [event().id, "slack-1"], ids=["timed", "foreign"])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_hiding_wins_in_whatever_order_it_is_decided_and_written(order: tuple[int, ...], name: str) -> None:
    store = LastWriteWins()
    late = DECIDED + timedelta(minutes=30)
    one = event(id=name)
    routed = [
        decided(Verb.RELEASE, one=one),
        decided(Verb.REJECT, one=one),
        decided(Verb.BLOCK, one=one, decided_at=late),
    ]
    for number in order:
        write_all(store, routed[number])
    first = copy.deepcopy(store.rows("user_reviews"))
    for number in order:  # a replay
        write_all(store, routed[number])
    assert store.rows("user_reviews") == first
    row = message(store)
    assert row["blocked_at"] == to_ms(late)
    assert row["envelope"]
    (user,) = store.rows("user_reviews").values()
    assert user.keys() == {"released", "rejected", "blocked"}
    (held,) = store.rows("held_messages").values()
    assert {"released", "rejected"} <= held.keys()
    assert len(store.rows("review_decisions")) == 3


def test_of_a_decision_made_twice_the_first_is_kept() -> None:
    store = LastWriteWins()
    late = DECIDED + timedelta(minutes=30)
    write_all(store, decided(Verb.RELEASE, decided_at=late, moderator="second"))
    write_all(store, decided(Verb.RELEASE))
    (trail,) = store.rows("review_decisions").values()
    assert msgspec.json.decode(trail["decision"], type=Entry).moderator == "eve"
    assert message(store)["envelope"]
    (day,) = store.rows("dirty_days").values()
    assert day["marked_at"] == to_ms(late)  # a report made in between has to be made again


def test_a_block_notes_whose_message_it_was_and_the_day_it_had_counted_in() -> None:
    store = LastWriteWins()
    write(store, created(time=SENT - timedelta(days=2)))
    write_all(store, decided(Verb.BLOCK))
    ((key, user),) = store.rows("user_reviews").items()
    assert (dict(key)["user_id"], dict(key)["day"]) == ("ann", "2026-03-13")
    assert user == {"blocked": to_ms(DECIDED)}
    id_day = datetime.fromtimestamp(int("019ce9a48418", 16) / 1000, UTC).date().isoformat()
    assert {dict(k)["day"] for k in store.rows("dirty_days")} == {id_day, "2026-03-11"}


@pytest.mark.parametrize("block_first", [True, False])
def test_a_message_whose_id_carries_no_time_is_found_and_hidden(block_first: bool) -> None:
    store = LastWriteWins()
    foreign = event(id="slack-1")
    create = created(id="slack-1")
    if not block_first:
        write(store, create)
    write_all(store, decided(Verb.BLOCK, one=foreign))
    if block_first:
        write(store, create)
    row = message(store)
    assert row["envelope"]
    assert row["blocked_at"] == to_ms(DECIDED)
    assert "2026-03-13" in {dict(k)["day"] for k in store.rows("dirty_days")}


def test_a_reject_of_what_was_never_shown_makes_a_row_that_nobody_sees() -> None:
    store = LastWriteWins()
    write_all(store, decided(Verb.REJECT))
    assert "envelope" not in message(store)
    (key,) = store.rows("messages")
    assert dict(key)["bucket"] == bucket(datetime.fromtimestamp(int("019ce9a48418", 16) / 1000, UTC))
