"""The rule book: which set judges a record is told from the record's time alone, whenever it is asked."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.contracts.rules import EVERYONE, BlockList, Flood, Rule, RuleSet
from infra.runtime.rules import RuleLog
from streams.router.book import RuleBook


def publish(book: RuleBook | RuleLog, at: int, tenant: str, version: int, *rules: Rule, lead_ms: int = 1_000) -> bytes:
    made = RuleSet(tenant=tenant, version=version, rules=rules or None, lead_ms=lead_ms, note=str(at))
    book.apply(made.record_key, msgspec.json.encode(made), at)
    return made.record_key


def rule(**fields: object) -> BlockList:
    known = {"kind": "block_list", "id": "x", "version": 1, "action": "hold", "reason": "r", "terms": ["xx"]}
    return msgspec.convert({**known, **fields}, BlockList)


def flood(seconds: int) -> Flood:
    return Flood(id="flood", version=1, action="hold", reason="r", messages=5, seconds=seconds)


def test_a_set_judges_from_its_lead_on_and_a_tenants_own_comes_before_everyones() -> None:
    book = RuleBook()
    publish(book, 10_000, EVERYONE, 1, rule())
    publish(book, 20_000, "acme", 1, rule())
    publish(book, 30_000, "acme", 2)
    for ms, acme, others in [
        (0, (EVERYONE, 0), (EVERYONE, 0)),
        (10_999, (EVERYONE, 0), (EVERYONE, 0)),
        (11_000, (EVERYONE, 1), (EVERYONE, 1)),
        (20_999, (EVERYONE, 1), (EVERYONE, 1)),
        (21_000, ("acme", 1), (EVERYONE, 1)),
        (31_000, (EVERYONE, 1), (EVERYONE, 1)),
    ]:
        assert [(r.tenant, r.version) for r in (book.at("acme", ms), book.at("other", ms))] == [acme, others]


def test_the_past_stays_as_it_was_when_rules_change() -> None:
    book = RuleBook()
    publish(book, 10_000, EVERYONE, 1, rule())
    before = book.at("acme", 15_000)
    publish(book, 20_000, EVERYONE, 2, rule(version=2))
    assert book.at("acme", 15_000) == before
    assert book.at("acme", 25_000).version == 2


def test_two_sets_of_one_version_are_two_sets() -> None:
    book = RuleBook()
    one = publish(book, 10_000, EVERYONE, 1, rule())
    two = publish(book, 10_001, EVERYONE, 1, rule(version=2))
    assert one != two
    assert book.at("acme", 11_000).judge is not book.at("acme", 11_001).judge


def test_a_pruned_set_gives_way_and_what_is_no_set_is_not_looked_at() -> None:
    book = RuleBook()
    key = publish(book, 10_000, EVERYONE, 1, rule())
    book.apply(b"key/abc", b"not json", 11_000)
    book.apply(key, None, 12_000)
    assert book.at("acme", 20_000).version == 0
    assert not book.refused


def test_a_set_that_cannot_be_used_is_told_and_judges_nothing() -> None:
    book = RuleBook()
    bad = RuleSet(tenant=EVERYONE, version=1, rules=(rule(action="mask", replacement="xx"),))
    book.apply(bad.record_key, msgspec.json.encode(bad), 10_000)
    book.apply(b"rules/*/2/x", b"{", 11_000)
    assert book.at("acme", 20_000).version == 0
    assert "replacement of rule x" in book.refused[bad.record_key]
    assert len(book.refused) == 2
    book.apply(bad.record_key, None, 12_000)
    assert list(book.refused) == [b"rules/*/2/x"]


def test_reach_is_that_of_the_sets_in_force() -> None:
    book = RuleBook()
    publish(book, 10_000, EVERYONE, 1, flood(30))
    publish(book, 20_000, "acme", 1, flood(300))
    publish(book, 30_000, EVERYONE, 2, rule())
    publish(book, 40_000, "acme", 2)
    asked = (0, 11_000, 21_000, 31_000, 41_000)
    assert [book.reach(ms).seconds for ms in asked] == [0, 30, 300, 300, 0]
    assert [book.reach(ms).seconds for ms in reversed(asked)] == [0, 300, 300, 30, 0]
    assert book.reach(0).horizon_seconds == 0


published = st.lists(
    st.tuples(st.integers(0, 50), st.sampled_from([EVERYONE, "acme", "beta"]), st.booleans(), st.integers(0, 5)),
    max_size=12,
)


@settings(deadline=None, max_examples=60)
@given(published, st.integers(0, 600), st.sampled_from(["acme", "beta", "gamma"]))
def test_the_book_agrees_with_the_log_of_sets(sets: list[tuple[int, str, bool, int]], ms: int, tenant: str) -> None:
    book, log = RuleBook(), RuleLog()
    at = 0
    for version, (gap, whose, given_up, lead) in enumerate(sets, start=1):
        at += gap
        for view in (book, log):
            publish(view, at, whose, version, *(() if given_up else (rule(),)), lead_ms=lead)
    found, ruling = log.in_force(tenant, ms), book.at(tenant, ms)
    assert (ruling.tenant, ruling.version) == (
        (EVERYONE, 0) if found is None else (found.rules.tenant, found.rules.version)
    )
