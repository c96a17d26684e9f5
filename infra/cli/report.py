"""`hubbub report`: count a report exactly from the archive for a range of days, and show it."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from infra.cli.access import read_directory
from infra.cli.checkup import running_addresses
from infra.cli.output import AsJson, note, print_table
from infra.contracts.control import CANARY
from infra.contracts.reports import OPEN, Column, Document, Section, columns_of
from infra.runtime.errors import PreconditionError
from infra.runtime.settings import Cassandra, Kafka, Runtime

if TYPE_CHECKING:
    from analytics.reports.job import Job
    from analytics.reports.runs import Runs

#: Rows of a list that a terminal shows.
_ROWS = 20
#: Reports that stand side by side.
_BESIDE = 3


class Form(StrEnum):
    """How a report is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    HTML = "html"
    PARQUET = "parquet"


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    app.command()(report)


def report(
    name: Annotated[
        str,
        typer.Argument(
            help="Which: daily, weekly, monthly, retention, retention-daily, retention-monthly, lifecycle, "
            "lifecycle-daily, lifecycle-monthly, response-times, sessions, channels, moderation, churn, "
            "next-channel, parity, backfill."
        ),
    ],
    first: Annotated[
        datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day; yesterday unless given.")
    ] = None,
    last: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day, included; the first unless given.")
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant; every one unless given.")] = None,
    form: Annotated[Form, typer.Option("--format", help="How to print it.")] = Form.TABLE,
    out: Annotated[Path | None, typer.Option(help="Write it to this file instead.", dir_okay=False)] = None,
    again: Annotated[bool, typer.Option("--again", help="Count finished periods once more.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a report of each day, week or month, where it is not made yet, and print it.

    A period is counted again when the archive has more of it; a killed report goes on where it stopped. Of `parity`,
    exit 1 if a final day has a metric that is off.
    """
    from analytics.reports.registry import REPORTS

    if name not in REPORTS:
        raise typer.BadParameter(f"one of {', '.join(REPORTS)}", param_hint="NAME")
    since = (first or datetime.now(UTC) - timedelta(days=1)).date()
    until = (last or first or datetime.now(UTC) - timedelta(days=1)).date()
    if until < since:
        raise typer.BadParameter("is before --from", param_hint="--to")
    kafka, cassandra = running_addresses() or (Kafka(), Cassandra())
    tenants = _zones(kafka, tenant)
    with _job(kafka, cassandra) as (job, runs):
        from ingest.progress import bar

        plan = job.plan(REPORTS[name], since, until, tenants, again=again)
        with bar(f"report {name}") as progress:
            for done, _ in enumerate(job.make(plan), start=1):
                if progress is not None:
                    progress(done, len(plan.tasks))
        documents = [
            runs.document(one, name, span.day)
            for one, zone in tenants.items()
            for span in REPORTS[name].spans(since, until, zone)
        ]
    _print(documents, Form.JSON if as_json else form, out)
    made = sum(len(task.tenants) for task in plan.tasks)
    note(f"{name}: {made} counted, {len(documents) - made} as they were")
    if any(document.final and document.figures.get("off") for document in documents):
        raise typer.Exit(1)


def _print(documents: Sequence[Document], form: Form, out: Path | None) -> None:
    import msgspec

    from analytics.reports.page import page
    from analytics.reports.sheet import sheet, write_parquet

    if form is Form.TABLE and out is None:
        _tables(documents)
        return
    match form:
        case Form.JSON:
            text = msgspec.json.format(msgspec.json.encode(documents), indent=2).decode() + "\n"
        case Form.CSV:
            text = sheet(documents)
        case Form.HTML:
            text = page(documents)
        case Form.PARQUET:
            if out is None:
                raise typer.BadParameter("name a file for it with --out", param_hint="--format parquet")
            write_parquet(documents, out)
            note(f"written to {out}")
            return
        case Form.TABLE:
            raise typer.BadParameter("takes json, csv, html or parquet, not a table", param_hint="--out")
    if out is None:
        sys.stdout.write(text)
        return
    out.write_text(text)
    note(f"written to {out}")


def _tables(documents: Sequence[Document]) -> None:
    """The figures of each report, then its lists."""
    from analytics.reports.page import key_of, shown, state_of

    columns = columns_of(documents)
    facts: Mapping[str, Callable[[Document], str]] = {
        "AS OF": lambda document: "" if document.as_of is None else f"{document.as_of:%Y-%m-%d %H:%MZ}",
        "STATE": lambda document: state_of(document)[0],
    }
    # A few are compared side by side; of many the first figures have to do, a line each.
    if len(documents) <= _BESIDE:
        figures = [columns[name] for name in dict.fromkeys(name for document in documents for name in document.figures)]
        print_table(
            ("", *(f"{document.period} {document.tenant}" for document in documents)),
            [
                *((label, *map(fact, documents)) for label, fact in facts.items()),
                *((c.label, *(shown(c, document.figures.get(c.name)) for document in documents)) for c in figures),
            ],
        )
    else:
        figures = [columns[name] for name in documents[0].headline]
        print_table(
            ("DAY", "TENANT", *facts, *(column.label.upper() for column in figures)),
            [
                (
                    *(document.period, document.tenant, *(fact(document) for fact in facts.values())),
                    *(shown(column, document.figures.get(column.name)) for column in figures),
                )
                for document in documents
            ],
        )
    for document in documents:
        for section in document.sections:
            rows = section.rows[:_ROWS] if section.kind != "series" else section.rows
            if not rows:
                continue
            typer.echo(f"\n{document.period} {document.tenant}: {section.title.lower()}")
            if section.kind == "heatmap":
                _heatmap(section, columns)
                continue
            print_table(
                (section.key.upper(), *(columns[name].label.upper() for name in section.columns)),
                [
                    (key_of(section, row), *(shown(columns[name], row[name]) for name in section.columns))
                    for row in rows
                ],
            )
            if more := section.omitted + len(section.rows) - len(rows):
                typer.echo(f"and {more} more")


def _heatmap(section: Section, columns: Mapping[str, Column]) -> None:
    """Shares in percent; what is not over yet has an asterisk."""
    from analytics.reports.heatmap import tiles

    of_section = [columns[name] for name in section.columns]
    print_table(
        (section.key.upper(), *(column.label.upper() for column in of_section if column.name != OPEN)),
        [
            (row[section.key], *(f"{tile.text}*" if tile.open else tile.text for tile in tiles(of_section, row)))
            for row in section.rows
        ],
    )
    if any(row[OPEN] for row in section.rows):
        typer.echo("* not over yet, and not in the mean")


def _zones(kafka: Kafka, tenant: str | None) -> dict[str, ZoneInfo]:
    known = read_directory(kafka).tenants
    if tenant is not None and tenant not in known:
        raise PreconditionError(f"there is no tenant {tenant}. See `hubbub keys list`.")
    found = {}
    for one in sorted(known.keys() - {CANARY.id}) if tenant is None else [tenant]:
        zone = known[one].timezone
        try:
            found[one] = ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise PreconditionError(
                f"tenant {one} has the time zone {zone}, which this machine does not know"
            ) from error
    if not found:
        raise PreconditionError("there are no tenants. Make one with `hubbub keys create --new-tenant`.")
    return found


@contextmanager
def _job(kafka: Kafka, cassandra: Cassandra) -> Iterator[tuple["Job", "Runs"]]:
    from analytics.reports.connections import open_job
    from infra.runtime import logs

    logs.configure(Runtime(), "report")  # standard output is the report's
    with open_job(kafka, cassandra, lambda: spark_session(os.environ)) as opened:
        yield opened


def spark_session(environ: Mapping[str, str]) -> Any:
    """A session that reads Delta, with the jars of the settings, else those of the lock, fetched if need be."""
    import asyncio

    from analytics.session import DELTA, find_java, start_session
    from analytics.settings import Analytics, Java

    settings, asked = Analytics(), Java().java_home
    if settings.jars:
        return start_session(settings, find_java(asked, environ), DELTA)
    from infra.local import jars
    from infra.local.errors import LocalError
    from infra.local.java import JavaError, find
    from infra.local.settings import Local
    from ingest.progress import bar

    local = Local()
    try:
        home = asked or find(environ).home
        with bar("jars", unit_bytes=True) as progress:
            asyncio.run(
                jars.ensure(
                    jars.locked("spark"),
                    cache=local.jar_cache,
                    url=local.maven_url,
                    maven_local=local.maven_local,
                    progress=progress or (lambda done, total: None),
                )
            )
    except (LocalError, JavaError) as error:
        raise PreconditionError(str(error)) from error
    paths = ",".join(map(str, jars.spark_jars(local.jar_cache)))
    return start_session(settings.model_copy(update={"jars": paths}), home, DELTA)
