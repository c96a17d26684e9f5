"""The figures of a contest as people read them, and as scripts do."""

import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import psutil
from rich.table import Table

from tests.bench.contest import Bar, Contest, Results, judge, median

_LIBRARIES = ("confluent-kafka", "aiokafka", "faust-streaming", "cassandra-driver", "pyspark", "fastapi", "uvicorn")
_WORDS = {
    "per_second": "events/s",
    "per_cpu_second": "events/CPU-s",
    "p50_ms": "p50, ms",
    "p99_ms": "p99, ms",
    "behind_seconds": "behind at the end, s",
    "live_p50_ms": "live p50, ms",
    "live_p99_ms": "live p99, ms",
    "history_p99_ms": "history p99, ms",
    "metric_p50_ms": "metric p50, ms",
    "metric_p99_ms": "metric p99, ms",
    "queries_a_window": "queries a window",
    "kib_per_connection": "KiB/connection",
}


def hardware() -> str:
    """The machine in a line."""
    memory = psutil.virtual_memory().total / 2**30
    system = f"{platform.system()} {platform.release()}"
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {system}, Python {platform.python_version()}"


def table(contest: Contest, results: Results) -> Table:
    """One row a contender: medians, and how each figure that a bar is about stands."""
    figures = list(next(iter(results.values()))[0])
    shown = Table(title=contest.title, title_justify="left")
    shown.add_column("")
    for figure in figures:
        shown.add_column(_WORDS.get(figure, figure), justify="right")
    for column in ("ours against it", "95 %", "bar"):
        shown.add_column(column, justify="right")
    for contender in contest.contenders:
        medians = [_number(median(results[contender.name], figure)) for figure in figures]
        bars = [bar for bar in contest.bars if (bar.against or bar.of) == contender.name]
        judged = [(bar, judge(bar, results)) for bar in bars]
        shown.add_row(
            contender.name,
            *medians,
            "\n".join(f"{ratio.value:.3g}" for _, ratio in judged),
            "\n".join(f"{ratio.low:.3g}-{ratio.high:.3g}" for _, ratio in judged),
            "\n".join(f"{_limit(bar)} {'met' if bar.is_met(ratio) else 'not met'}" for bar, ratio in judged),
        )
    return shown


def is_met(contest: Contest, results: Results) -> bool:
    """Whether every bar is."""
    return all(bar.is_met(judge(bar, results)) for bar in contest.bars)


def as_json(found: Iterable[tuple[Contest, Results]]) -> dict[str, Any]:
    """All that was measured, with what it was measured on."""
    return {
        "at": datetime.now(UTC),
        "hardware": hardware(),
        "versions": {name: version(name) for name in _LIBRARIES},
        "contests": [
            {
                "title": contest.title,
                "runs": results,
                "bars": [{**_fields(bar), **_judged(bar, results)} for bar in contest.bars],
            }
            for contest, results in found
        ],
    }


def _judged(bar: Bar, results: Results) -> dict[str, Any]:
    ratio = judge(bar, results)
    return {"value": ratio.value, "low": ratio.low, "high": ratio.high, "met": bar.is_met(ratio)}


def _fields(bar: Bar) -> dict[str, Any]:
    return {"figure": bar.figure, "of": bar.of, "against": bar.against, "least": bar.least, "most": bar.most}


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _limit(bar: Bar) -> str:
    return f"≥ {bar.least:g}" if bar.least is not None else f"≤ {bar.most:g}"
