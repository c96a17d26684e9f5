"""`hubbub simulate`, `import` and `trace`: put events in, and ask what became of one."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import httpx
import typer

from infra.cli import access
from infra.cli.output import AsJson, note, print_json, print_table
from infra.cli.stack import running
from infra.contracts.control import Scope
from infra.runtime.errors import PreconditionError, Unreachable
from infra.runtime.settings import Runtime

if TYPE_CHECKING:
    from ingest.importers.passages import Source

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
    files: Annotated[list[Path], typer.Argument(exists=True, readable=True, help="Files, or folders for slack.")],
    file_format: Annotated[
        str, typer.Option("--format", help="jsonl: one envelope a line; irc: logs of a channel; slack: an export.")
    ] = "jsonl",
    channel: Annotated[str, typer.Option(help="irc: the channel, where no join in the log names it.")] = "",
    bots: Annotated[str, typer.Option(help="irc: nicks of programs, with commas; by default the usual ones.")] = "",
    untimed_actions: Annotated[
        bool, typer.Option("--untimed-actions", help="irc: take lines such as '=== ada waves' for messages.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check every line, send nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Read finished files again; nothing is stored twice.")] = False,
    url: Url = "",
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Bring history in from files. Goes on where a killed import stopped; a second import adds nothing."""
    from ingest.importers.run import LineProblem, import_files
    from ingest.progress import bar

    def report(problem: LineProblem) -> None:
        note(f"{problem.path}:{problem.line}: {problem.code} {problem.field or ''}: {problem.message}")

    if file_format != "irc" and (channel or bots or untimed_actions):
        raise typer.BadParameter("--channel, --bots and --untimed-actions need --format irc", param_hint="--format")
    folder = next((file for file in files if file.is_dir()), None)
    if folder is not None and file_format != "slack":
        raise typer.BadParameter(f"{folder} is a folder", param_hint="files")
    match file_format:
        case "jsonl":
            sources = _jsonl(files)
        case "irc":
            sources = _irc(files, channel, bots, untimed_actions)
        case "slack":
            sources = _slack(files)
        case _:
            raise typer.BadParameter("one of jsonl, irc, slack", param_hint="--format")
    with bar("importing", unit_bytes=True) as progress:
        summary = import_files(
            sources,
            url=url or ("" if dry_run else _here("ingest")),
            key=key or ("" if dry_run else _demo(Scope.BACKFILL)),
            state_dir=Runtime().data_dir / "imports",
            dry_run=dry_run,
            force=force,
            report=report,
            progress=progress,
        )
    _show({**asdict(summary), "events_per_second": round(summary.events_per_second)}, as_json)
    raise typer.Exit(summary.exit_code)


def _jsonl(files: list[Path]) -> "Sequence[Source]":
    from ingest.importers.jsonl import JsonlFile

    return [JsonlFile(file) for file in files]


def _irc(files: list[Path], channel: str, bots: str, untimed_actions: bool) -> "Sequence[Source]":
    from ingest.importers.irc import BOTS, open_logs

    nicks = [nick.strip() for nick in bots.split(",") if nick.strip()] or BOTS
    logs = open_logs(files, channel=channel or None, bots=nicks, untimed_actions=untimed_actions)
    guessed = [] if channel else [log for log in logs if not log.named]
    if guessed:
        note(f"{len(guessed):,} logs name no channel: taken to be of {guessed[0].channel}, as the others are.")
    return logs


def _slack(files: list[Path]) -> "Sequence[Source]":
    from ingest.importers.slack import SlackExport

    return [SlackExport(file) for file in files]


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
        figures = {k: v for k, v in summary.items() if not isinstance(v, dict)}
        for what, parts in summary.items():
            if isinstance(parts, dict):
                figures |= {f"{what}: {part}": figure for part, figure in sorted(parts.items())}
        print_table(("WHAT", "FIGURE"), [(k.replace("_", " "), _figure(v)) for k, v in figures.items()])


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
