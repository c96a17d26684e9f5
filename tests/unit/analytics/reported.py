"""A finished report to render: one day of a small community, its numbers made from a seed."""

from datetime import UTC, date, datetime, timedelta
from math import exp
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from analytics.reports.counting import documents
from analytics.reports.coverage import Coverage
from analytics.reports.registry import REPORTS
from analytics.reports.retention import FIRST_TIME, RECURRING
from analytics.reports.spans import Span
from analytics.reports.visits import PERIODS
from infra.contracts.reports import MEAN, OPEN, Document

CHANNELS = (
    "general",
    "random",
    "help",
    "music",
    "games",
    "photos",
    "travel",
    "dev",
    "memes",
    "books",
    "café",
    "intros",
)
PEOPLE = ("ada", "bo", "chen", "dara", "eli", "fatima", "goran", "hana", "ines", "jürgen", "kofi", "lea")


def daily(
    day: date = date(2026, 3, 14),
    zone: str = "Europe/Berlin",
    seed: int = 1,
    *,
    tenant: str = "demo",
    as_of: datetime | None = datetime(2026, 3, 15, 1, 17, 4, tzinfo=UTC),
    channels: tuple[str, ...] = CHANNELS,
    people: tuple[str, ...] = PEOPLE,
) -> Document:
    """A `daily` of this day, as counting makes it from a query's rows."""
    span = Span(day=day, zone=ZoneInfo(zone))
    random = Random(seed)
    size = 1 + 0.25 * (day.weekday() >= 5) + random.uniform(-0.1, 0.1)
    hours = [_row("step", str(n), round(size * _busy(n) * random.uniform(0.85, 1.15)), random) for n in range(24)]
    total = _row("total", "", sum(row["sent"] for row in hours), random)
    rows = [
        *hours,
        *(_row("channel", name, sent, random, len(channels)) for name, sent in _shared(total["sent"], channels, 1.0)),
        *(_row("person", name, sent, random, 260) for name, sent in _shared(total["sent"] // 3, people, 0.5)),
    ]
    peak = max(hours, key=lambda row: row["sent"])
    total |= {
        "contributors": round(size * 268),
        "active": round(size * 641),
        "present": round(size * 702),
        "messages_per_sender": round(total["sent"] / round(size * 268), 2),
        "active_channels": len(channels),
        "alive_channels": len(channels) - 1,
        "peak_hour": peak["key"],
        "peak_sent": peak["sent"],
    }
    coverage = Coverage(as_of=as_of, at=as_of or span.end)
    versions = {"events": 1_442, "held": 1_440}
    (document,) = documents(
        REPORTS["daily"], [{"tenant": tenant, **row} for row in [total, *rows]], [tenant], span, coverage, versions
    )
    return msgspec.structs.replace(document, revision=1)


def _shared(total: int, names: tuple[str, ...], steep: float) -> list[tuple[str, int]]:
    """The total among these: the first has most, the others what is left for them."""
    weights = [1 / (n + 1) ** steep for n in range(len(names))]
    parts = [int(total * weight / sum(weights)) for weight in weights]
    return list(zip(names, [parts[0] + total - sum(parts), *parts[1:]], strict=True))


def _busy(hour: int) -> float:
    """Messages in this hour of an ordinary day: a little over lunch, most in the evening."""
    return 12 + 210 * exp(-(((hour - 12.6) / 2.2) ** 2)) + 560 * exp(-(((hour - 20.3) / 2.4) ** 2))


def _row(section: str, key: str, sent: int, random: Random, of: int = 0) -> dict[str, Any]:
    def share(most: float) -> int:
        return round(sent * most * random.uniform(0.7, 1.3))

    contributors = max(1, round(sent**0.72)) if sent else 0
    return {
        "section": section,
        "key": key,
        "of": of,
        "sent": sent,
        "net": sent - share(0.02),
        "edited": share(0.05),
        "deleted": share(0.02),
        "held": share(0.006),
        "blocked": share(0.003),
        "reactions": share(0.28),
        "joins": share(0.012),
        "leaves": share(0.004),
        "active": round(contributors * 1.9),
        "contributors": contributors,
        "present": round(contributors * 2.1),
        "messages_per_sender": round(sent / contributors, 2) if contributors else None,
    }


def week(last: date = date(2026, 3, 15), count: int = 7) -> list[Document]:
    """A daily of each of so many days."""
    found = []
    for n in range(count):
        day = last - timedelta(days=count - 1 - n)
        as_of = datetime(day.year, day.month, day.day, 1, 17, 4, tzinfo=UTC) + timedelta(days=1)
        found.append(daily(day, seed=n, as_of=as_of))
    return found


def retention(day: date = date(2026, 3, 9), zone: str = "Europe/Berlin", seed: int = 1) -> Document:
    """A `retention` of the week of this day, which is not over, as counting makes it; the first cohorts are empty."""
    (span,) = REPORTS["retention"].spans(day, day, ZoneInfo(zone))
    random, count = Random(seed), PERIODS["week"]
    rows: list[dict[str, Any]] = []
    names = [f"w{n}" for n in range(count)]
    for section, share in ((FIRST_TIME, 0.42), (RECURRING, 0.71)):
        sums = {name: [0, 0] for name in names}
        for cohort in range(3, count):
            size = random.randrange(40, 160)
            shares: dict[str, Any] = dict.fromkeys(names)
            for n in range(count - cohort):
                came = size if n == 0 else round(size * share * n**-0.45 * random.uniform(0.85, 1.15))
                shares[f"w{n}"] = round(100 * came / size, 1)
                if cohort + n < count - 1:
                    sums[f"w{n}"] = [sums[f"w{n}"][0] + came, sums[f"w{n}"][1] + size]
            rows.append(
                {"section": section, "key": str(cohort), "size": size, **shares, OPEN: f"w{count - 1 - cohort}"}
            )
        means = {name: round(100 * came / size, 1) if size else None for name, (came, size) in sums.items()}
        rows.append({"section": section, "key": MEAN, "size": sums["w0"][1], **means, OPEN: None})
    total = {**rows[count - 3], "section": "total", "key": "", "r30": 311}
    moment = span.start + timedelta(days=3, hours=4)
    (document,) = documents(
        REPORTS["retention"],
        [{"tenant": "demo", "of": count + 1, **row} for row in [total, *rows]],
        ["demo"],
        span,
        Coverage(as_of=moment, at=moment),
        {"events": 1_442},
    )
    return msgspec.structs.replace(document, revision=1)


def response_times(day: date = date(2026, 3, 13), zone: str = "Europe/Berlin") -> Document:
    """A `response-times` of this day, of which two people got no answer."""
    (span,) = REPORTS["response-times"].spans(day, day, ZoneInfo(zone))
    unanswered = next(shape.section for shape in REPORTS["response-times"].shapes if shape.name == "unanswered")
    waits = [("help", "kofi", "21:14:03", 28_800), ("dev", "ines", "09:02:40", 28_800)]
    rows = [
        {
            "section": "total",
            "key": "",
            **{"waits": 412, "answered": 398, "unanswered": 14, "waiting": 0, "answered_percent": 96.6},
            **{"median": 96.0, "p90": 1_260.0, "p95": 3_120.0},
        },
        *(
            {
                **{"section": unanswered, "key": f"m{n}", "of": 14, "channel": channel, "author": author},
                **{"since": f"{day} {since}", "waited": waited},
            }
            for n, (channel, author, since, waited) in enumerate(waits)
        ),
    ]
    moment = span.until + timedelta(hours=4)
    (document,) = documents(
        REPORTS["response-times"],
        [{"tenant": "demo", **row} for row in rows],
        ["demo"],
        span,
        Coverage(as_of=moment, at=moment),
        {"events": 1_442},
    )
    return msgspec.structs.replace(document, revision=1)
