"""Churn and next channel on real Spark, of a community whose leavers are known, and of whom its future is as well."""

from datetime import UTC, date, datetime, timedelta
from math import expm1
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pyspark.sql import SparkSession

from analytics.reports import counting, outcomes
from analytics.reports.registry import REPORTS
from analytics.reports.snapshot import Snapshot
from infra.contracts.reports import Document
from infra.runtime.archive import ArchiveReader
from infra.runtime.settings import Archive, Runtime
from tests.integration.analytics import places
from tests.integration.analytics.archived import Fact, fact, write
from tests.integration.analytics.leavers import DAYS, LAST, START, Known, Person, Planted, auc, planted

TENANTS = ("acme", "coin", "small", "silent")
NOON = datetime(2026, 3, 29, 12, tzinfo=UTC)


def documents(spark: SparkSession, root: Path, name: str, day: date) -> dict[str, Document]:
    return places.documents(spark, root, REPORTS[name], day, TENANTS)


def section(document: Document, name: str) -> tuple[dict[str, Any], ...]:
    return next(section.rows for section in document.sections if section.name == name)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("community")


@pytest.fixture(scope="module")
def community(root: Path) -> Planted:
    return planted(root, 600)


@pytest.fixture(scope="module")
def persons(community: Planted) -> list[Person]:
    return community.persons


@pytest.fixture(scope="module")
def whole(community: Planted) -> list[Fact]:
    """Everything that will have happened a horizon after the last day, with which the archive ends."""
    return community.whole


@pytest.fixture(scope="module")
def predicted(root: Path, community: Planted, delta: SparkSession) -> dict[str, Document]:
    return documents(delta, root, "churn", LAST)


def test_its_counts_are_those_of_a_recount(predicted: dict[str, Document], whole: list[Fact]) -> None:
    document, known = predicted["acme"], Known(whole)
    figures = document.figures
    weeks = outcomes.weeks(int(figures["history"] or 0))
    assert figures["abstained"] is None
    assert (figures["history"], figures["training_weeks"], figures["held_out_weeks"]) == (outcomes.READ, 8, 4)
    assert {row["user"] for row in section(document, "people")} == known.at_risk(LAST)
    assert figures["people"] == len(known.at_risk(LAST))
    training = [LAST - timedelta(days=n) for n in weeks.training]
    assert figures["left"] == len(set().union(*map(known.left, training)))
    assert figures["stayed"] == len(set().union(*(known.at_risk(day) - known.left(day) for day in training)))
    held_out = {(LAST - timedelta(days=n)).isoformat(): LAST - timedelta(days=n) for n in weeks.held_out}
    rows = {row["known_on"]: row for row in section(document, "held_out")}
    assert rows.keys() == held_out.keys()
    for name, day in held_out.items():
        assert rows[name]["outcomes"] == len(known.at_risk(day))
        assert rows[name]["observed"] == round(100 * len(known.left(day)) / len(known.at_risk(day)), 1)
    assert figures["outcomes"] == sum(row["outcomes"] for row in rows.values())
    assert sum(row["outcomes"] for row in section(document, "calibration")) == figures["outcomes"]


def test_it_knows_who_leaves_on_held_out_weeks_and_in_the_future(
    predicted: dict[str, Document], whole: list[Fact], persons: list[Person]
) -> None:
    document = predicted["acme"]
    figures = document.figures
    assert float(figures["auc"] or 0) > 0.8
    assert float(figures["brier"] or 1) < 0.15
    assert float(figures["calibration_error"] or 100) < 5
    assert all(row["auc"] > 0.75 for row in section(document, "held_out"))
    # Small bands say little: the same few people are in them week after week.
    bands = [row for row in section(document, "calibration") if row["outcomes"] >= 30]
    assert len(bands) >= 5
    assert all(abs(row["predicted"] - row["observed"]) < 15 for row in bands)
    assert bands[0]["observed"] < 10
    assert bands[-1]["observed"] > 80
    # What the archive has not seen yet.
    risks = {row["user"]: row["risk"] for row in section(document, "people")}
    gone = Known(whole).left(LAST)
    assert len(gone) > 30
    assert auc(risks, gone) > 0.8
    assert abs(sum(risks.values()) / 100 - len(gone)) < 0.25 * len(gone)
    assert figures["expected"] == pytest.approx(sum(risks.values()) / 100, abs=1)
    assert figures["at_risk"] == sum(risk > 50 for risk in risks.values())


def test_who_fades_is_ranked_first_for_reasons_that_say_so(
    predicted: dict[str, Document], persons: list[Person]
) -> None:
    rows = section(predicted["acme"], "people")
    ranks = {row["user"]: place for place, row in enumerate(rows)}
    assert [row["risk"] for row in rows] == sorted((row["risk"] for row in rows), reverse=True)
    fading = [p.name for p in persons if p.fades and DAYS - 4 <= p.left <= DAYS + 3 and p.name in ranks]
    assert len(fading) >= 10
    assert sum(ranks[name] < len(rows) / 3 for name in fading) > 0.8 * len(fading)
    for row in rows[:20]:
        reasons = [row[f"reason_{n}"] for n in (1, 2, 3)]
        assert len({reason.split()[1] for reason in reasons}) >= 2
        assert reasons[0].startswith("↑ ")
        assert any(reason.startswith(("↑ last active", "↑ away", "↑ active on", "↑ came")) for reason in reasons)
    assert all(row["reason_1"].startswith("↓ ") for row in rows[-20:])


def test_it_says_why_it_does_not_predict(predicted: dict[str, Document], root: Path, delta: SparkSession) -> None:
    why = {tenant: str(document.figures["abstained"]) for tenant, document in predicted.items()}
    assert why["silent"] == "0 days of history; 42 are needed, three times 14"
    small = predicted["small"].figures
    assert why["small"] == (
        f"{small['left']} people left and {small['stayed']} stayed in training weeks; 100 of each are needed"
    )
    assert why["coin"].startswith("the model's AUC on held-out weeks is 0.")
    early = documents(delta, root, "churn", (START + timedelta(days=outcomes.HISTORY - 2)).date())
    why["early"] = str(early["acme"].figures["abstained"])
    assert why["early"] == "41 days of history; 42 are needed, three times 14"
    for document in (predicted["silent"], predicted["small"], predicted["coin"], early["acme"]):
        assert section(document, "people") == ()
        assert document.figures["expected"] is document.figures["at_risk"] is None
    assert len(section(predicted["coin"], "held_out")) == 4


def test_the_same_archive_gives_the_same_numbers(
    predicted: dict[str, Document], root: Path, delta: SparkSession
) -> None:
    again = documents(delta, root, "churn", LAST)
    assert {t: (d.figures, d.sections) for t, d in again.items()} == {
        t: (d.figures, d.sections) for t, d in predicted.items()
    }


def test_what_is_known_of_a_person_ends_with_the_reference_day(tmp_path: Path, delta: SparkSession) -> None:
    zone, day = ZoneInfo("Europe/Berlin"), date(2026, 3, 29)  # the clocks change

    def did(number: int, ago: int, who: str, outcome: str = "events", **more: Any) -> Fact:
        moment = datetime(2026, 3, 29, 12, tzinfo=UTC) - timedelta(days=ago)
        return fact(number, more.pop("at", moment), outcome, user_id=who, **more)

    write(
        tmp_path,
        [
            *(did(1, 9, "ann"), did(2, 7, "ann", channel_id="help"), did(3, 5, "ann"), did(4, 20, "ann")),
            # Her reply to herself, a bot's and one taken down are heard by nobody; two others' are.
            did(5, 5, "ann", reply_to="e3"),
            did(6, 4, "bot", reply_to="e3", is_bot=True),
            did(7, 4, "eve", reply_to="e3"),
            did(8, 4, "mod", type="message.blocked", message_id="e7"),
            did(9, 4, "cem", reply_to="e3", channel_id="help"),
            did(10, 3, "cem", type="reaction.added", message_id="e1"),
            # Who was active before the reference day and not after it has left; who came later did not know of it.
            *(did(11, 16, "bob"), did(12, 1, "bob", "held"), did(13, 2, "dan", type="receipt.read")),
            # Half past midnight where the tenant is: a day that is not over yet.
            did(14, 0, "fay", at=datetime(2026, 3, 29, 22, 30, tzinfo=UTC)),
            did(15, 0, "gus", at=datetime(2026, 3, 28, 23, 30, tzinfo=UTC)),
        ],
    )
    reader = ArchiveReader(Archive(location=str(tmp_path)), Runtime())
    (span,) = REPORTS["churn"].spans(day, day, zone)
    table = REPORTS["churn"].tables[0]
    versions = Snapshot(reader, (table,)).versions
    tables = {table.name: counting.read(delta, reader.root, table, versions[table.name], ["acme"])}
    logs = {feature.name for feature in outcomes.FEATURES if feature.is_log}
    found = {
        (row["ref"], row["author"]): {
            name: round(expm1(value), 6) if name in logs else value for name, value in row.asDict().items()
        }
        for row in outcomes.outcomes(tables, span).collect()
    }
    assert found.keys() == {(0, "ann"), (0, "cem"), (0, "dan"), (0, "gus"), (14, "ann"), (14, "bob")}
    names = [feature.name for feature in outcomes.FEATURES]
    assert [found[0, "ann"][name] for name in names] == [5, 2.5, 3, 1, 4, 1, 0, 2, 2]
    assert [found[0, "cem"][name] for name in names] == [3, 3, 2, -2, 1, 1, 1, 2, 0]
    assert [found[0, "dan"][name] for name in names] == [2, round(2 / 14, 6), 1, -1, 0, 0, 0, 1, 0]
    assert found[0, "gus"]["away"] == 0
    assert [found[14, "ann"][name] for name in names] == [6, round(6 / 14, 6), 1, -1, 1, 0, 0, 1, 0]
    assert {who: row["left"] for (ref, who), row in found.items() if ref == 14} == {"ann": False, "bob": True}


def test_the_next_channel_is_where_those_write_who_write_in_the_same(tmp_path: Path, delta: SparkSession) -> None:
    day = date(2026, 3, 29)
    numbers = iter(range(1_000))

    def wrote(who: str, *channels: str, ago: int = 1, **more: Any) -> list[Fact]:
        moment = datetime(2026, 3, 29, 12, tzinfo=UTC) - timedelta(days=ago)
        return [fact(next(numbers), moment, user_id=who, channel_id=channel, **more) for channel in channels]

    write(
        tmp_path,
        [
            *(f for who in ("a1", "a2", "a3", "a4") for f in wrote(who, "help", "dev", "general")),
            *(f for who in ("b1", "b2", "b3") for f in wrote(who, "music", "general")),
            # Two in common are too few, whatever else they write.
            *(f for who in ("c1", "c2") for f in wrote(who, "attic", "music")),
            *wrote("new", "help"),
            # Of equal ones the first by name; and what is not among the many one writes in is still written in.
            *(f for who in ("t1", "t2", "t3") for f in wrote(who, "tango", "zumba", "salsa")),
            *wrote("t4", "salsa"),
            *(f for _ in range(2) for f in wrote("many", "help", *(f"x{n:02}" for n in range(49)))),
            *wrote("many", "dev"),
            *wrote("old", "dev", ago=30),
            *wrote("alone", "cellar"),
            # Direct channels go with nothing, and what a bot or a held message says does not count.
            *(f for who in ("a1", "a2", "a3", "new") for f in wrote(who, "dm", properties={"channel_type": "direct"})),
            *wrote("b1", "dm"),
            *wrote("bot", "help", "dev", is_bot=True),
        ],
    )
    document = documents(delta, tmp_path, "next-channel", day)["acme"]
    rows = {row.pop("user"): row for row in section(document, "people")}
    # Of six who write in `help` four write in `dev` and in `general`, which has seven and so goes less with it.
    assert rows["new"] == {
        **{"channel": "dev", "via": "help", "together": 4, "out_of": 6},
        "score": round(4 / (5 * 6) ** 0.5, 3),
    }
    # `general` goes with `music` by three of five and seven.
    assert rows["c1"] == {
        **{"channel": "general", "via": "music", "together": 3, "out_of": 5},
        "score": round(3 / (5 * 7) ** 0.5 / 2, 3),
    }
    suggested = {who: row["channel"] for who, row in rows.items()}
    assert suggested == {
        **dict.fromkeys(("a1", "a2", "a3", "a4"), "music"),
        **dict.fromkeys(("b1", "b2", "b3"), "dev"),
        **{"c1": "general", "c2": "general", "new": "dev", "t4": "tango", "many": "general"},
    }
    assert document.figures == {"people": 16, "suggested": 12, "channels": 4}
    assert {row["channel"]: row["suggested"] for row in section(document, "channels")} == {
        **{"music": 4, "dev": 4, "general": 3, "tango": 1},
    }
    assert documents(delta, tmp_path, "next-channel", day)["silent"].figures == {
        "people": 0,
        "suggested": 0,
        "channels": 0,
    }
