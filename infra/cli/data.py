"""`hubbub simulate`, `import` and `trace`: put events in, and ask what became of one."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from infra.cli import access
from infra.cli.output import AsJson, note, print_json, print_table
from infra.cli.stack import running
from infra.contracts.control import Scope
from infra.runtime.errors import PreconditionError, Unreachable
from infra.runtime.settings import Runtime

Url = Annotated[str, typer.Option(help="Address; by default of the Hubbub that runs here.")]
Key = Annotated[str, typer.Option(help="API key; by default the demo tenant's.", envvar="HUBBUB_KEY")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    app.command()(simulate)
    app.command("import")(import_)
    app.command()(trace)


def simulate(
    users: Annotated[int, typer.Option(min=1, help="People in the community.")] = 200,
    channels: Annotated[int, typer.Option(min=1, help="Channels they talk in.")] = 20,
    rate: Annotated[float, typer.Option(min=0.1, help="Events a second, on average.")] = 50,
    duration: Annotated[float, typer.Option(min=1, help="Seconds.")] = 60,
    seed: Annotated[int, typer.Option(help="The same seed makes the same community.")] = 1,
    ledger: Annotated[Path | None, typer.Option(help="Write each event's outcome to this JSONL file.")] = None,
    url: Url = "",
    key: Key = "",
    server_key: Annotated[str, typer.Option(help="Key for edits and deletes.", envvar="HUBBUB_SERVER_KEY")] = "",
    as_json: AsJson = False,
) -> None:
    """Send what a community would: messages, edits, reactions, reads, typing, bursts, mistakes."""
    from ingest.progress import bar
    from ingest.simulator.run import simulate as run_community

    with bar("simulating") as progress:
        summary = run_community(
            url or _here("ingest"),
            key or _demo(Scope.WRITE),
            server_key or _demo(Scope.SERVER),
            users=users,
            channels=channels,
            rate=rate,
            seed=seed,
            duration=duration,
            ledger=ledger,
            progress=progress,
        )
    _show(asdict(summary), as_json)


def import_(
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, readable=True, help="JSONL files.")],
    file_format: Annotated[str, typer.Option("--format", help="jsonl: one envelope a line.")] = "jsonl",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check every line, send nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Read finished files again; nothing is stored twice.")] = False,
    url: Url = "",
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Bring history in from files. Goes on where a killed import stopped; a second import adds nothing."""
    from ingest.imports import FORMATS, LineProblem, import_files
    from ingest.progress import bar

    if file_format not in FORMATS:
        raise typer.BadParameter(f"one of {', '.join(FORMATS)}", param_hint="--format")

    def report(problem: LineProblem) -> None:
        note(f"{problem.path}:{problem.line}: {problem.code} {problem.field or ''}: {problem.message}")

    with bar("importing", unit_bytes=True) as progress:
        summary = import_files(
            files,
            url=url or ("" if dry_run else _here("ingest")),
            key=key or ("" if dry_run else _demo(Scope.BACKFILL)),
            state_dir=Runtime().data_dir / "imports",
            file_format=file_format,
            dry_run=dry_run,
            force=force,
            report=report,
            progress=progress,
        )
    _show({**asdict(summary), "events_per_second": round(summary.events_per_second)}, as_json)
    raise typer.Exit(summary.exit_code)


def trace(
    event_id: Annotated[str, typer.Argument(help="The event's id.")],
    url: Url = "",
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Say what became of an event: accepted, judged, stored, counted. Exit 1 if nothing is known of it."""
    reply = ask(f"/v1/events/{event_id}/trace", url, key)
    found = reply.json()
    if as_json:
        print_json(found)
    elif reply.status_code == 404:
        note(found["detail"])
    else:
        print_table(("WHAT", "FOUND"), _flat(found))
    if reply.status_code != 200:
        raise typer.Exit(1)


def ask(path: str, url: str = "", key: str = "", scope: Scope = Scope.READ) -> httpx.Response:
    """What the read API answers to this key, else to the demo tenant's of that scope.

    Raises `PreconditionError` when it may not be asked or cannot answer now.
    """
    address = url or _here("api")
    try:
        reply = httpx.get(f"{address}{path}", headers={"Authorization": f"Bearer {key or _demo(scope)}"}, timeout=60)
    except httpx.TransportError as error:
        raise Unreachable("the read API", address, "See `hubbub status`.") from error
    if reply.status_code in (401, 403, 503):
        raise PreconditionError(reply.json()["detail"])
    return reply


def decide(path: str, body: dict[str, str], url: str = "", key: str = "") -> httpx.Response:
    """What ingest answers to a moderator. Raises `PreconditionError` when the key may not decide, or nobody answers."""
    address = url or _here("ingest")
    try:
        reply = httpx.post(
            f"{address}{path}",
            json=body,
            headers={"Authorization": f"Bearer {key or _demo(Scope.MODERATE)}"},
            timeout=60,
        )
    except httpx.TransportError as error:
        raise Unreachable("ingest", address, "See `hubbub status`.") from error
    if reply.status_code in (401, 403, 503):
        raise PreconditionError(reply.json()["detail"])
    return reply


def _here(role: str) -> str:
    url: str = running().roles[role].url
    return url


def _demo(scope: Scope) -> str:
    keys = access.demo_keys(Runtime())
    if scope not in keys:
        raise PreconditionError("there are no demo keys here. Give --key, or start with `hubbub up`.")
    return keys[scope]


def _show(summary: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(summary)
    else:
        print_table(("WHAT", "FIGURE"), [(k.replace("_", " "), _figure(v)) for k, v in summary.items()])


def _figure(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _flat(value: Any, path: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [row for k, v in value.items() for row in _flat(v, f"{path}.{k}" if path else k)]
    if isinstance(value, list):
        return [row for n, v in enumerate(value) for row in _flat(v, f"{path}[{n}]")]
    return [(path, "" if value is None else str(value))]
