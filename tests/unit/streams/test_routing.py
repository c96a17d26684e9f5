"""Routing: one outcome for each element, the outputs that belong to it, and a count that adds up."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.contracts import codec
from infra.contracts import headers as h
from infra.contracts.events import MAX_EVENT_BYTES, Event
from infra.contracts.headers import Src
from infra.contracts.records import OUTCOMES, Accounting, Held, Judged
from infra.contracts.rules import BlockList, Flood, Rules
from infra.contracts.topics import BACKFILL, INGEST
from infra.runtime.settings import Kafka
from streams.router.book import RuleBook
from streams.router.deliveries import Output
from streams.router.routing import Record, Routed, Router
from streams.router.steps.memory import Memory

APPENDED = datetime(2026, 3, 14, 9, 27, tzinfo=UTC)
RECEIVED = APPENDED - timedelta(milliseconds=5)
KAFKA = Kafka(topic_prefix="t-")
BOOK = RuleBook()
LIVE, HISTORICAL = Router(INGEST, KAFKA, BOOK), Router(BACKFILL, KAFKA, BOOK)


def event(number: int = 0, **fields: Any) -> Event:
    return Event(
        **{
            "id": f"e-{number}",
            "type": "message.sent",
            "time": RECEIVED - timedelta(seconds=1),
            "channel_id": "general",
            "user_id": "ada",
            "text": "hello",
            "tenant": "acme",
            "received_at": RECEIVED,
            "request_id": "r",
            **fields,
        }
    )


def record(value: bytes | None, topic: str = "ingest", headers: Any = None) -> Record:
    return Record(topic=topic, partition=3, offset=42, appended_at=APPENDED, value=value, headers=headers)


def route(*events: Event, router: Router = LIVE) -> Routed:
    return router.route(record(codec.frame([codec.encode(e) for e in events])))


def to(routed: Routed, topic: str) -> list[Output]:
    return [output for output in routed.outputs if output.topic == f"t-{topic}"]


def accounting(routed: Routed) -> Accounting:
    (output,) = to(routed, "accounting")
    assert output.key == b"ingest/3/42"
    assert output.headers == [(h.SRC, b"ingest/3/42/-1")]
    return msgspec.json.decode(output.value or b"", type=Accounting)


def test_what_ingest_stamped_travels_as_the_bytes_it_came_in() -> None:
    spaced = codec.encode(event()).replace(b'"id":', b'"id": ')
    (output,) = to(LIVE.route(record(b"[" + spaced + b"]")), "events")
    assert output.value == spaced
    assert output.key == b"acme:general"
    assert output.headers == [(h.SRC, b"ingest/3/42/0")]


def test_indices_name_the_element() -> None:
    routed = route(*(event(n) for n in range(12)))
    assert [Src.decode(dict(o.headers)[h.SRC] or b"").index for o in to(routed, "events")] == list(range(12))


def test_signals_are_keyed_by_user() -> None:
    (output,) = to(route(event(type="typing.started", text=None)), "signals")
    assert output.key == b"acme:ada"


def test_the_second_of_one_id_in_a_record_is_a_duplicate() -> None:
    routed = route(event(1), event(1, text="other"), event(1, tenant="other"))
    assert [codec.decode(o.value or b"").tenant for o in to(routed, "events")] == ["acme", "other"]
    assert accounting(routed).tenants == {"acme": {"events": 1, "duplicates": 1}, "other": {"events": 1}}


def test_held_keeps_the_event_as_received_with_every_verdict_noted() -> None:
    routed = route(event(text="free nitro at a@b.org"))
    (output,) = to(routed, "held")
    held = msgspec.json.decode(output.value or b"", type=Held)
    assert (held.event.text, held.verdict.rule) == ("free nitro at a@b.org", "scams")
    assert (h.RULE, b"scams@1") in output.headers
    judged = [msgspec.json.decode(o.value or b"", type=Judged) for o in to(routed, "verdicts")]
    assert [(j.verdict.rule, j.applied) for j in judged] == [("scams", True), ("email", True)]
    assert not to(routed, "events")
    assert accounting(routed).tenants == {"acme": {"held": 1}}


def test_edits_are_judged_and_masked() -> None:
    routed = route(event(type="message.edited", message_id="m", text="shit"))
    (output,) = to(routed, "events")
    assert codec.decode(output.value or b"").text == "***"
    assert (h.RULE, b"profanity@1") in output.headers


def ruled(*rules: Any) -> Router:
    return Router(INGEST, KAFKA, RuleBook(Rules(rules=rules)))


def test_a_rule_in_shadow_leaves_a_verdict_and_the_bytes_as_they_came() -> None:
    bad = BlockList(id="bad", version=3, action="block", reason="r", terms=("bad",), shadow=True)
    spaced = codec.encode(event(text="bad")).replace(b'"id":', b'"id": ')
    routed = ruled(bad).route(record(b"[" + spaced + b"]"))
    (output,) = to(routed, "events")
    assert (output.value, output.headers) == (spaced, [(h.SRC, b"ingest/3/42/0")])
    (judged,) = [msgspec.json.decode(o.value or b"", type=Judged) for o in to(routed, "verdicts")]
    assert (judged.applied, judged.verdict.shadow, judged.verdict.action) == (False, True, "block")
    assert routed.verdicts == [("bad", "shadow")]
    assert accounting(routed).tenants == {"acme": {"events": 1}}


def test_severity_travels_with_the_verdict() -> None:
    (output,) = to(route(event(text="kys")), "held")
    assert msgspec.json.decode(output.value or b"", type=Held).verdict.severity == "critical"


def test_what_is_only_remembered_counts_as_what_is_routed_and_leaves_nothing() -> None:
    flood = Flood(id="flood", version=1, action="hold", reason="r", messages=3, seconds=10)
    frames = [codec.frame([codec.encode(event(10 * n + i)) for i in range(2)] + [b"{}"]) for n in range(4)]
    once, again = Memory(ruled(flood)._book.reach(0)), Memory(ruled(flood)._book.reach(0))
    router = ruled(flood)
    held = [to(router.route(record(value), once), "held") for value in frames]
    assert [len(outputs) for outputs in held] == [0, 1, 2, 2]
    for value in frames[:2]:
        router.remember(record(value), again)
    router.remember(record(b"no frame"), again)
    assert [to(router.route(record(value), again), "held") for value in frames[2:]] == held[2:]


def test_without_a_memory_rules_that_count_say_nothing() -> None:
    flood = Flood(id="flood", version=1, action="hold", reason="r", messages=1, seconds=10)
    assert not to(route(event(1), event(2), event(3), router=ruled(flood)), "held")


def test_historical_events_take_their_lane_unchanged_and_verdicts_are_only_noted() -> None:
    old = event(time=APPENDED - timedelta(days=900), text="kill yourself a@b.org", historical=True)
    value = codec.frame([codec.encode(old)])
    routed = HISTORICAL.route(record(value, "backfill"))
    (output,) = to(routed, "events.backfill")
    assert output.value == codec.encode(old)
    assert (h.RULE, b"threats@1") in output.headers
    judged = [msgspec.json.decode(o.value or b"", type=Judged) for o in to(routed, "verdicts")]
    assert {j.applied for j in judged} == {False}


@pytest.mark.parametrize(
    ("value", "code", "stage"),
    [
        (None, b"invalid_field", b"split"),
        (b"", b"invalid_field", b"split"),
        (b"null", b"invalid_field", b"split"),
        (b"\xff\xfe", b"invalid_field", b"split"),
        (b'[{"id":', b"invalid_field", b"split"),
        (b"[" * 100_000, b"invalid_field", b"split"),
        (b'[{"id":"a"},{"id":NaN}]', b"invalid_field", b"split"),
        (b'[{"id":"a"},{"id":"\\ud800"}]', b"invalid_field", b"split"),
    ],
)
def test_a_record_that_cannot_be_split_is_one_dead_letter(value: bytes | None, code: bytes, stage: bytes) -> None:
    routed = LIVE.route(record(value))
    (letter,) = to(routed, "dlq")
    headers = dict(letter.headers)
    assert letter.key == b"ingest/3/42/-1"
    assert letter.value == (value or b"")
    assert (headers[h.CODE], headers[h.STAGE], headers[h.ATTEMPTS]) == (code, stage, b"1")
    assert headers[h.FIRST_SEEN] == b"2026-03-14T09:27:00.000+00:00"
    assert accounting(routed).tenants == {"": {"dlq": 1}}
    assert routed.unexpected == 0


@pytest.mark.parametrize(
    ("bad", "code", "tenant"),
    [
        (b"5", "invalid_field", ""),
        (b'{"id":"x"}', "missing_field", ""),
        (codec.encode(event(type="hubbub.heartbeat")), "forbidden_type", "acme"),
        (codec.encode(event(tenant=None)), "missing_field", ""),
        (codec.encode(event(tenant="No Tenant")), "invalid_field", ""),
        (codec.encode(event(user_id="null")), "bad_user", "acme"),
        (codec.encode(event(text="x" * 9_000)), "too_large", "acme"),
        (codec.encode(event(text="x" * (MAX_EVENT_BYTES + 1))), "too_large", "acme"),
        (codec.encode(event(received_at=None, time=APPENDED + timedelta(hours=2))), "bad_time", "acme"),
        (codec.encode(event()).replace(b'"hello"', b'"hello","properties":' + b'{"a":' * 40 + b"1" + b"}" * 40),
         "too_deep", "acme"),
    ],
)  # fmt: skip
def test_one_bad_element_is_one_dead_letter_and_its_neighbours_are_untouched(
    bad: bytes, code: str, tenant: str
) -> None:
    good = [codec.encode(event(1)), codec.encode(event(2))]
    routed = LIVE.route(record(codec.frame([good[0], bad, good[1]])))
    assert [o.value for o in to(routed, "events")] == good
    (letter,) = to(routed, "dlq")
    assert letter.key == b"ingest/3/42/1"
    assert letter.value == bad
    assert dict(letter.headers)[h.CODE] == code.encode()
    assert accounting(routed).tenants.get(tenant, {}).get("dlq") == 1
    assert routed.unexpected == 0


def test_no_message_text_in_a_dead_letters_error() -> None:
    routed = route(event(text="secret " * 2_000))
    assert b"secret" not in (dict(to(routed, "dlq")[0].headers)[h.ERROR] or b"")


EARLIER: list[tuple[str, str | bytes | None]] = [
    (h.REPLAY_OF, b"ingest/1/1/0"),
    (h.ATTEMPTS, b"2"),
    (h.FIRST_SEEN, b"2026-01-01T00:00:00.000+00:00"),
]


@pytest.mark.parametrize("value", [b"{", b'{"id":"x"}'], ids=["whole", "element"])
def test_a_replay_that_fails_again_is_the_same_dead_letter(value: bytes) -> None:
    (letter,) = to(LIVE.route(record(value, headers=EARLIER)), "dlq")
    headers = dict(letter.headers)
    assert letter.key == b"ingest/1/1/0"
    assert headers[h.ATTEMPTS] == b"3"
    assert headers[h.FIRST_SEEN] == b"2026-01-01T00:00:00.000+00:00"
    assert headers[h.SRC] in (b"ingest/3/42/-1", b"ingest/3/42/0")  # the ledger counts it by the record it came in


def test_parts_of_a_replay_that_fail_are_letters_of_their_own() -> None:
    routed = LIVE.route(record(codec.frame([b'{"id":"x"}', b'{"id":"y"}']), headers=EARLIER))
    assert [letter.key for letter in to(routed, "dlq")] == [b"ingest/3/42/0", b"ingest/3/42/1"]


def test_our_own_fault_is_told_from_poison(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(BOOK.at("acme", 0).judge, "judge", fail)
    routed = route(event(1), event(2, type="session.started", channel_id=None, text=None))
    assert routed.unexpected == 1
    assert len(to(routed, "events")) == 1
    headers = dict(to(routed, "dlq")[0].headers)
    assert (headers[h.CODE], headers[h.ERROR]) == (b"internal", b"RuntimeError")


elements = st.one_of(
    st.builds(
        lambda n, text, kind, tenant: codec.encode(event(n, text=text, type=kind, tenant=tenant)),
        st.integers(0, 5),
        st.sampled_from(["hello", "shit", "kill yourself", "free nitro", "a@b.org"]),
        st.sampled_from(["message.sent", "typing.started", "custom.thing"]),
        st.sampled_from(["acme", "beta", None]),
    ),
    st.sampled_from([b"1", b"{}", b'"x"', b"[1]", b'{"id":"q","tenant":"acme"}']),
)


@settings(deadline=None)  # phonenumbers loads as it is used
@given(st.lists(elements, max_size=12))
def test_the_count_always_adds_up_and_the_same_record_becomes_the_same(parts: list[bytes]) -> None:
    routed = LIVE.route(record(codec.frame(parts)))
    account = accounting(routed)
    assert account.accepted == len(parts)
    assert account.balanced
    totals = {outcome: sum(t.get(outcome, 0) for t in account.tenants.values()) for outcome in OUTCOMES}
    assert len(to(routed, "events")) == totals["events"]
    assert len(to(routed, "signals")) == totals["signals"]
    assert len(to(routed, "dlq")) == totals["dlq"]
    assert len(to(routed, "held")) == totals["held"] + totals["blocked"]
    assert LIVE.route(record(codec.frame(parts))).outputs == routed.outputs


@given(st.binary(max_size=200))
def test_no_bytes_are_unexpected(value: bytes) -> None:
    routed = LIVE.route(record(value))
    assert routed.unexpected == 0
    assert accounting(routed).balanced
