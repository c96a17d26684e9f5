"""Moderation of a week on real Spark: against a recount in plain Python, and a week worked out by hand."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from random import Random
from statistics import median, quantiles
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from pyspark.sql import DataFrame, SparkSession

from analytics.reports import trail
from analytics.reports.registry import REPORTS
from analytics.reports.snapshot import Snapshot
from analytics.reports.spans import Span
from infra.contracts.records import Action, Judged, Verdict
from tests.integration.analytics.archived import Fact, fact, write
from tests.integration.analytics.places import Place, sections_of

MONDAY = datetime(2026, 3, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
COUNTS = ("tried", "flagged", "held", "blocked", "taken_down", "released", "rejected", "waiting", "masked")


def of_week(zone: str = "UTC") -> Span:
    (span,) = REPORTS["moderation"].spans(date(2026, 4, 1), date(2026, 4, 1), ZoneInfo(zone))
    return span


def decided(delta: SparkSession, rows: Iterable[trail.Decided]) -> dict[str, DataFrame]:
    return {trail.DECISIONS: delta.createDataFrame(list(rows), trail.SCHEMA)}


def said(number: int, hours: float, outcome: str = "events", channel: str = "general", **more: Any) -> Fact:
    """A message so many hours after Monday's midnight, received as it was sent."""
    moment = MONDAY + hours * HOUR
    return fact(number, moment, outcome, **{"channel_id": channel, "received_at": moment, **more})


def noted(about: Fact, action: Action, rule: str = "new", version: int = 1, *, shadow: bool = True) -> Judged:
    """What a rule found in an event; in shadow it did nothing about it."""
    event, _ = about
    assert event.received_at is not None
    verdict = Verdict(action=action, rule=rule, version=version, reason="listed", shadow=shadow)
    return Judged(
        tenant=event.tenant or "",
        event_id=event.id,
        channel_id=event.channel_id,
        received_at=event.received_at,
        verdict=verdict,
        applied=not shadow,
    )


def blocked(number: int, hours: float, message: str) -> Fact:
    return said(number, hours, type="message.blocked", user_id="hubbub", message_id=message)


def test_a_week_worked_out_by_hand(place: Place, delta: SparkSession) -> None:
    stopped = [
        said(1, 1, "held", user_id="mal"),  # released after 10 minutes
        said(2, 2, "held", user_id="mal"),  # rejected after 30, and an hour later once more by another
        said(3, 3, "held", "help", user_id="eve", message_id="m3"),  # rejected after a day, though it names another
        said(4, 30, "held", "help", user_id="mal", type="message.edited", message_id="e10"),  # still waits
        said(5, 31, "blocked", user_id="mal"),
        said(6, 31, "blocked", user_id="mal"),  # a rule was wrong: released
        said(7, 32, "held", user_id="eve"),  # released after 20 minutes, then taken down
        said(8, 33, "held", user_id="eve"),  # rejected: the trail has not got it
        said(9, 34, "held", is_bot=True),
    ]
    shown = [
        said(10, 4),
        said(11, 5, user_id="bob"),  # taken down, with its edit
        said(12, 6, type="message.edited", message_id="e11", user_id="bob"),
        said(13, 7),
        said(14, 8, historical=True),
        said(15, 9, type="reaction.added", message_id="e10"),
        # Of the week before and of the one after.
        *(said(16, -1), said(17, 7 * 24)),
        # What became of those above.
        said(1, 1, user_id="mal", late=True),
        said(6, 31, user_id="mal", late=True),
        said(7, 32, user_id="eve", late=True),
        *(blocked(20, 2.5, "e2"), blocked(21, 27, "e3"), blocked(22, 40, "e7"), blocked(23, 41, "e8")),
        blocked(24, 300, "e11"),
    ]
    rules = {"e13": "swearing@3,links@1", "e14": "swearing@3", **dict.fromkeys(("e1", "e6", "e7"), "block-list@1")}
    by_id = {event.id: (event, outcome) for event, outcome in [*shown, *stopped]}
    judged = [
        # What a moderator took down, what other rules held and a moderator rejected or released, and what stood.
        *(noted(by_id[about], Action.HOLD) for about in ("e11", "e2", "e1", "e10", "e10")),
        noted(by_id["e5"], Action.BLOCK, "harsh", 2),
        noted(by_id["e13"], Action.MASK, "links", 2),
        # A bot's, imported, of the weeks beside, of another tenant, of an event that is no message, and not in shadow.
        *(noted(by_id[about], Action.HOLD) for about in ("e9", "e14", "e15", "e16", "e17")),
        msgspec.structs.replace(noted(by_id["e10"], Action.BLOCK), tenant="other"),
        noted(by_id["e13"], Action.MASK, "swearing", 3, shadow=False),
    ]
    write(place.root, [*stopped, *shown], rules, judged)
    rows: list[trail.Decided] = [
        ("acme", "e1", "release", MONDAY + HOUR + 10 * MINUTE, "ada"),
        ("acme", "e2", "reject", MONDAY + 2.5 * HOUR, "ada"),
        ("acme", "e2", "reject", MONDAY + 3.5 * HOUR, "ben"),
        ("acme", "e3", "reject", MONDAY + 27 * HOUR, "ben"),
        ("acme", "e6", "release", MONDAY + 32 * HOUR, "ben"),
        ("acme", "e7", "release", MONDAY + 32 * HOUR + 20 * MINUTE, "ada"),
        ("acme", "e7", "block", MONDAY + 40 * HOUR, "ben"),
        ("acme", "e11", "block", MONDAY + 300 * HOUR, "ada"),
        ("other", "e4", "reject", MONDAY + 40 * HOUR, "zoe"),
    ]
    document = place.document("moderation", of_week(), more=decided(delta, rows))
    figures, sections = document.figures, sections_of(document)
    # e1 to e8, e10 to e14; e9 is a bot's.
    assert {name: figures[name] for name in COUNTS} == {
        "tried": 13,
        "flagged": 9,
        "held": 6,
        "blocked": 2,
        "taken_down": 1,
        "released": 2,
        "rejected": 4,
        "waiting": 1,
        "masked": 1,
    }
    # 10, 20 and 30 minutes and a day.
    assert (figures["median"], figures["p90"]) == (1_500.0, 61_020.0)
    assert (figures["flagged_percent"], figures["released_percent"]) == (69.2, 33.3)
    assert {row["rule"]: [row[n] for n in ("held", "blocked", "masked", "released")] for row in sections["rules"]} == {
        "block-list@1": [6, 2, 0, 2],
        "swearing@3": [0, 0, 1, 0],
        "links@1": [0, 0, 1, 0],
    }
    names = ("would_hold", "would_block", "would_mask", "flagged", "taken_down", "released", "flagged_percent")
    assert [[row["rule"], *(row[n] for n in names)] for row in sections["shadows"]] == [
        ["harsh@2", 0, 1, 0, 1, 0, 0, 100.0],
        ["new@1", 4, 0, 0, 3, 1, 1, 75.0],
        ["links@2", 0, 0, 1, 0, 0, 0, 0.0],
    ]
    assert {
        row["moderator"]: [row[n] for n in ("decisions", "released", "rejected", "taken_down", "median")]
        for row in sections["moderators"]
    } == {"ada": [3, 1, 1, 1, 1_200.0], "ben": [3, 1, 2, 0, 43_800.0]}
    channels = {row["channel"]: [row[n] for n in ("tried", "flagged", "waiting")] for row in sections["channels"]}
    assert channels == {"general": [11, 7, 0], "help": [2, 2, 1]}
    assert sections["waiting"] == [
        {"event": "e4", "channel": "help", "author": "mal", "by_rule": "block-list@1", "since": "2026-03-31 06:00:00"}
    ]
    assert [row["tried"] for row in sections["days"]] == [8, 5, 0, 0, 0, 0, 0]
    assert [row["flagged"] for row in sections["days"]] == [4, 5, 0, 0, 0, 0, 0]


def chats(seed: int) -> tuple[list[Fact], dict[str, str], list[trail.Decided], list[Judged]]:
    """Three weeks of messages, some stopped, some of those decided about, and of shown ones some taken down; the rules
    that touched what was shown, the decisions, and what rules in shadow found."""
    random = Random(seed)
    facts: list[Fact] = []
    rules: dict[str, str] = {}
    rows: list[trail.Decided] = []
    judged: list[Judged] = []
    for number in range(2_500):
        moment = random.uniform(-7 * 24, 14 * 24)
        tenant, who = random.choice(("acme", "other")), f"u{random.randrange(30)}"
        fields: dict[str, Any] = {"tenant": tenant, "user_id": who, "is_bot": random.random() < 0.04 or None}
        fields |= {"message_id": f"m{number}"} if random.random() < 0.3 else {}
        outcome = random.choices(("events", "held", "blocked"), (75, 17, 8))[0]
        found = said(number, moment, outcome, f"c{random.randrange(5)}", **fields)
        facts.append(found)
        if outcome == "events" and random.random() < 0.3:
            rules[found[0].id] = random.choice(("a@1", "a@1,b@2"))
        for rule, action in (("new", Action.HOLD), ("harsh", Action.BLOCK), ("links", Action.MASK)):
            if random.random() < 0.1:
                judged += [noted(found, action, rule)] * random.randrange(1, 3)
        if random.random() < 0.04:
            again: dict[str, Any] = {**fields, "received_at": MONDAY + (moment + 0.1) * HOUR}
            facts.append(said(number, moment + 0.05, outcome, "copy", **again))
        later = moment + random.expovariate(1 / 5)
        decided_at = MONDAY + later * HOUR
        decided_at = decided_at.replace(microsecond=decided_at.microsecond // 1000 * 1000)
        block: dict[str, Any] = {
            "tenant": tenant,
            "type": "message.blocked",
            "user_id": "hubbub",
            "received_at": decided_at,
        }
        about, verb = found[0].id, random.choice(("release", "reject", "both", None))
        if outcome == "events":
            about, verb = found[0].target, "block" if random.random() < 0.06 else None
        if verb in ("release", "both"):
            rules[about] = "block-list@1"
            facts.append(said(number, moment, "events", found[0].channel_id or "", late=True, **fields))
        if verb in ("reject", "block", "both"):
            facts.append(said(10_000 + number, later + 1, message_id=about, **block))
        for n, one in enumerate(("release", "reject") if verb == "both" else (verb,) if verb else ()):
            if random.random() < 0.95:
                rows.append((tenant, about, one, decided_at + n * HOUR, random.choice(("ada", "ben", "cy"))))
    random.shuffle(facts)
    return facts, rules, rows, judged


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_moderation_is_what_a_recount_finds(place: Place, delta: SparkSession, zone: str) -> None:
    facts, rules, rows, judged = chats(seed=4)
    write(place.root, facts, rules, judged)
    span = of_week(zone)
    document = place.document("moderation", span, more=decided(delta, rows))
    figures, sections = document.figures, sections_of(document)

    first: dict[tuple[bool, str], Fact] = {}
    for event, outcome in sorted(facts, key=lambda f: f[0].received_at or f[0].time):
        if event.tenant == "acme":
            first.setdefault((outcome == "events", event.id), (event, outcome))
    down = {e.message_id for e, _ in first.values() if e.type == "message.blocked"}
    late = {e.id for e, o in first.values() if o == "events" and e.late}
    decisions: dict[str, list[tuple[datetime, str, str]]] = defaultdict(list)
    for tenant, about, verb, at, who in rows:
        if tenant == "acme":
            decisions[about].append((at, verb, who))
    counted: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    took: dict[tuple[str, str], list[float]] = defaultdict(list)
    in_shadow = {(verdict.event_id, verdict.verdict.rule) for verdict in judged if verdict.tenant == "acme"}
    waiting = set()
    for event, outcome in first.values():
        is_message = event.type == "message.sent" and not event.is_bot and span.start <= event.time < span.end
        if not is_message or (outcome == "events" and event.late):
            continue
        is_stopped = outcome != "events"
        hidden = event.id in down if is_stopped else event.target in down
        released = is_stopped and event.id in late and not hidden
        found = {
            "tried": True,
            "flagged": is_stopped or hidden,
            outcome: is_stopped,
            "taken_down": not is_stopped and hidden,
            "released": released,
            "rejected": is_stopped and hidden,
            "waiting": outcome == "held" and not hidden and not released,
            "masked": not is_stopped and event.id in rules,
        }
        made = sorted(decisions[event.id if is_stopped else event.target])
        named = [who for _, verb, who in made if (verb == "release") == released] if released or hidden else []
        places = [("", ""), ("channel", event.channel_id or "")]
        places += [("moderator", named[0])] if named else []
        places += [("shadow", rule) for about, rule in in_shadow if about == event.id]
        if found["waiting"]:
            waiting.add(event.id)
        for key in places:
            counted[key].update(name for name, holds in found.items() if holds)
            if made and outcome == "held" and not found["waiting"]:
                took[key].append((made[0][0] - event.time).total_seconds())
    whole = counted["", ""]
    assert all(whole[name] > 5 for name in COUNTS)
    assert {name: figures[name] for name in COUNTS} == {name: whole[name] for name in COUNTS}
    assert figures["median"] == pytest.approx(median(took["", ""]), abs=0.06)
    assert figures["p90"] == pytest.approx(quantiles(took["", ""], n=10, method="inclusive")[-1], abs=0.06)
    for row in sections["channels"]:
        expected = counted["channel", row["channel"]]
        assert [row[n] for n in ("tried", "flagged", "waiting")] == [
            expected[n] for n in ("tried", "flagged", "waiting")
        ]
        assert row["flagged_percent"] == pytest.approx(100 * expected["flagged"] / expected["tried"], abs=0.051)
    moderators = {row["moderator"]: row for row in sections["moderators"]}
    assert set(moderators) == {"ada", "ben", "cy"}
    for who, row in moderators.items():
        expected = counted["moderator", who]
        for name in ("released", "rejected", "taken_down"):
            assert row[name] == expected[name]
        assert row["decisions"] == expected["released"] + expected["rejected"] + expected["taken_down"]
        assert row["median"] == pytest.approx(median(took["moderator", who]), abs=0.06)
    assert {row["event"] for row in sections["waiting"]} == waiting
    assert {row["rule"] for row in sections["shadows"]} == {"new@1", "harsh@1", "links@1"}
    for row in sections["shadows"]:
        expected = counted["shadow", row["rule"].removesuffix("@1")]
        would = {"new@1": "would_hold", "harsh@1": "would_block", "links@1": "would_mask"}[row["rule"]]
        assert row[would] == sum(row[n] for n in ("would_hold", "would_block", "would_mask")) == expected["tried"]
        assert [row[n] for n in ("flagged", "taken_down", "released")] == [
            expected[n] for n in ("flagged", "taken_down", "released")
        ]
        assert row["flagged_percent"] == pytest.approx(100 * expected["flagged"] / expected["tried"], abs=0.051)
    by_rule = {row["rule"]: row for row in sections["rules"]}
    assert set(by_rule) == {"block-list@1", "a@1", "b@2"}
    assert by_rule["block-list@1"]["released"] == figures["released"]
    assert by_rule["a@1"]["masked"] == figures["masked"] > by_rule["b@2"]["masked"] > 0


def test_what_a_moderator_rejects_later_makes_the_week_again(place: Place) -> None:
    write(place.root, [said(1, 1), said(2, 2, "held"), said(3, 3, "blocked"), said(4, 24 * 7 + 1, "held")])
    span, report = of_week(), REPORTS["moderation"]
    as_of = span.end + HOUR
    assert Snapshot(place.reader, report.tables).removals([span], as_of, reviewed=True) == []
    write(place.root, [blocked(5, 24 * 9, "e2"), blocked(6, 24 * 9, "e4")])
    found = Snapshot(place.reader, report.tables).removals([span], as_of, reviewed=True)
    assert [(r.tenant, r.sent, r.removed) for r in found if span.reads(r.sent)] == [
        ("acme", MONDAY + 2 * HOUR, MONDAY + 24 * 9 * HOUR)
    ]
    # Of other reports nothing was taken away: what was held never counted.
    assert Snapshot(place.reader, report.tables).removals([span], as_of) == []


def test_a_week_without_anything(place: Place, delta: SparkSession) -> None:
    write(place.root, [said(1, -200), said(2, -200, "held")])
    document = place.document("moderation", of_week(), more=decided(delta, []))
    assert {document.figures[name] for name in COUNTS} == {0}
    assert [document.figures[name] for name in ("flagged_percent", "released_percent", "median")] == [None] * 3
    assert [len(section.rows) for section in document.sections] == [7, 0, 0, 0, 0, 0]
