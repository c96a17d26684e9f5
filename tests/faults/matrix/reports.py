"""Row 52: reports and corrections, which are made by a process that may be killed at any moment."""

import time
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import psutil

from analytics.reports.runs import STATEMENTS, Runs, digest
from analytics.reports.spans import Span
from infra.contracts.metrics import MEASURES, TENANT_SCOPE, channel_scope
from infra.contracts.reports import Document, State
from infra.contracts.tables import MEASURE_COLUMNS, WINDOWS
from infra.contracts.windows import DAY, HOUR, Grain
from infra.local import supervisor
from infra.runtime.cassandra import connect
from tests.faults.load import change, message, text_of
from tests.faults.row import Row
from tests.faults.scene import Scene
from tests.integration.analytics.archived import recount
from tests.system import audit

_SENDERS = 50
_CHANNELS = 5
_DOOMED = 5
#: A correction is in the numbers so soon after its cause.
_PROMISED = 300.0
#: The role looks for what is due every few seconds here: twice that without anything is nothing left.
_IDLE = 20.0

#: An id and its channel.
Place = tuple[str, str]
#: Numbers by measure, of a window that has any.
Numbers = dict[str, int]


def killed_in_rounds(scene: Scene) -> None:
    """Reports and the archive die while messages of yesterday are counted, and more come and some go meanwhile."""
    since = audit.ends_of(scene.stack.kafka)
    span = Span(day=datetime.now(UTC).date() - timedelta(days=1), zone=ZoneInfo("UTC"))
    places = late_messages(scene, span, range(1, 7))
    for number, victim in enumerate(("reports", "archive", "reports", "archive", "reports"), start=1):
        scene.stack.wait(lambda: counting(scene), 180, "a round of reports to begin")
        scene.stay(scene.rng.uniform(0, 45))
        scene.kill(victim)
        doomed = [places.pop(scene.rng.randrange(len(places))) for _ in range(_DOOMED)]
        scene.load.send([change("message.deleted", *place) for place in doomed])
        places += late_messages(scene, span, (10 * number, 10 * number + 1))
    began = time.monotonic()
    scene.load.stop()
    scene.stack.settle()
    log = audit.read_log(scene.stack.kafka, since, scene.tenant)
    facts = [(event, "events") for event in log.first.values()]
    facts += [(held.event, "held" if held.verdict.action == "hold" else "blocked") for held in log.held.values()]
    expected = recount(facts, scene.tenant, span)
    database = connect(scene.stack.cassandra, prepare=False)
    try:
        database.prepare(STATEMENTS)
        runs = Runs(database)
        while (wrong := list(off(runs, scene.tenant, span, expected))) and time.monotonic() - began < _PROMISED:
            scene.stay(1)  # Cassandra can only be asked
        scene.claim("I6 windows are corrected within five minutes", wrong, f"{time.monotonic() - began:.0f} s")
        idle(scene)
        scene.claim("I6 reports are as their runs say", *unfinished(runs, scene.tenant, span.day))
    finally:
        database.close()
    day = span.day.isoformat()
    told = scene.stack.command("report", "daily", "--from", day, "--to", day, "--tenant", scene.tenant, "--json")
    (document,) = msgspec.json.decode(told, type=list[Document])
    figures = {name: document.figures[name] for name in expected["total"][""]}
    differ = [] if figures == expected["total"][""] else [f"{figures}, and not {expected['total']['']}"]
    scene.claim("I6 the daily report equals a recount", differ, f"{figures['sent']:,} messages")


def late_messages(scene: Scene, span: Span, numbers: Iterable[int]) -> list[Place]:
    """As many messages of the day from each sender as there are numbers, which their texts begin with."""
    places: list[Place] = []
    for number in numbers:
        messages = [
            message(
                f"late-{n}",
                f"c{n % _CHANNELS}",
                text_of(scene.rng, number),
                span.start + (span.end - span.start) * scene.rng.random(),
            )
            for n in range(_SENDERS)
        ]
        scene.load.send(messages)
        places += [(m["id"], m["channel_id"]) for m in messages]
    return places


def counting(scene: Scene) -> bool:
    """Whether the role has a round under way, which is a process of its own."""
    try:
        return bool(psutil.Process(scene.stack.pids()["reports"]).children())
    except (KeyError, psutil.NoSuchProcess):
        return False


def idle(scene: Scene) -> None:
    """Wait until the role has found nothing due for a while."""
    quiet = time.monotonic()

    def nothing_due() -> bool:
        nonlocal quiet
        found = supervisor.status(scene.stack.data)
        if found is None or found.roles["reports"].lag != 0 or not found.roles["reports"].ready:
            quiet = time.monotonic()
        return time.monotonic() - quiet > _IDLE

    scene.stack.wait(nothing_due, 600, "every report to be made")


def off(runs: Runs, tenant: str, span: Span, expected: dict[str, Any]) -> Iterator[str]:
    """What readers see of the day and its hours, where that is not what a recount finds."""
    hours = {span.start + int(n) * HOUR.width: found for n, found in expected["hour"].items()}
    scopes = {TENANT_SCOPE: expected["total"][""]}
    scopes |= {channel_scope(name): found for name, found in expected["channel"].items()}
    compared = chain(
        ((scope, DAY, {span.start: found}) for scope, found in scopes.items()), [(TENANT_SCOPE, HOUR, hours)]
    )
    for scope, grain, found in compared:
        right = {start: of_registry(numbers) for start, numbers in found.items()}
        seen = {source: stored(runs, tenant, scope, grain, source, span) for source in ("stream", "batch")}
        shown = {start: numbers for start, numbers in (seen["stream"] | seen["batch"]).items() if numbers}
        if shown != right:
            yield f"{scope} {grain.name}: {shown}, and not {right}"


def of_registry(numbers: Numbers) -> Numbers:
    return {m.name: numbers[m.name] for m in MEASURES if numbers.get(m.name)}


def stored(runs: Runs, tenant: str, scope: str, grain: Grain, source: str, span: Span) -> dict[datetime, Numbers]:
    """The windows of one source, by their start."""
    rows = runs.execute(WINDOWS, (tenant, scope, grain.name, grain.period_of(span.start), source, span.start, span.end))
    return {
        row[0].replace(tzinfo=UTC): of_registry(
            dict(zip(MEASURE_COLUMNS, row[1 : 1 + len(MEASURE_COLUMNS)], strict=True))
        )
        for row in rows
    }


def unfinished(runs: Runs, tenant: str, day: date) -> tuple[list[str], str]:
    """Runs that did not finish, or not with the numbers that are stored under their revision; how many there are."""
    found = runs.between(tenant, day - timedelta(days=31), day + timedelta(days=1))
    wrong = []
    for (name, first), run in found.items():
        document = runs.stored(tenant, name, first)
        if run.state is not State.FINISHED or document is None:
            wrong.append(f"{name} of {first}: {run.state}")
        elif (document.revision, digest(document)) != (run.revision, run.digest):
            wrong.append(f"{name} of {first}: revision {document.revision} stored, {run.revision} finished")
    return wrong, f"{len(found)} reports"


ROWS = (
    Row(
        number=52,
        what="kill -9 reports 3 times and the archive 2 times while yesterday is counted and corrected",
        body=killed_in_rounds,
        rate=20,
    ),
)
