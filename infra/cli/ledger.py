"""`hubbub ledger`: whether everything accepted is where it should be, minute by minute, and what to do if it is not."""

from datetime import datetime
from typing import Annotated, Any, Final

import typer

from infra.cli.data import Key, Url, ask
from infra.cli.output import AsJson, note, print_json, print_table
from infra.contracts.ledger import Stage, State

#: A ledger that has not compared for so long is not running.
_STALE_SECONDS: Final = 60.0
_NEXT: Final = {
    Stage.ROUTER: "See `hubbub status` for the router and its log; `hubbub dlq list` shows what it could not process.",
    Stage.TOPICS: "`hubbub trace ID` says where one event stands; the router writes it again when its group's offset"
    " is set back to the record named.",
    Stage.LEDGER: "The ledger itself is behind: see `hubbub status`.",
    Stage.HISTORY: "See `hubbub status` for the history writer's lag, and `hubbub dlq list --stage history`.",
    Stage.ANALYTICS: "See `hubbub status` for the metrics query's lag.",
}


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    app.command()(ledger)


def ledger(
    minutes: Annotated[int, typer.Option(min=1, max=1_440, help="How many, up to the one that is now.")] = 15,
    url: Url = "",
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Show by minute what was accepted and where all of it is. Exit 1 if a minute is different."""
    found = ask(f"/v1/ledger?minutes={minutes}", url, key).json()
    if as_json:
        print_json(found)
    else:
        print_table(
            ("MINUTE", "ACCEPTED", "EVENTS", "SIGNALS", "HELD", "BLOCKED", "DLQ", "DUP", "STATE"),
            [_row(minute) for minute in found["minutes"]],
        )
        for minute in found["minutes"]:
            if minute["stage"] is not None:
                typer.echo(_verdict(minute))
        for line in advice(found):
            note(line)
    if any(minute["state"] == State.DIFFERENT for minute in found["minutes"]):
        raise typer.Exit(1)


def advice(found: dict[str, Any]) -> list[str]:
    """What a person should know of this reply, and do."""
    if found["as_of"] is None:
        return ["The ledger has not compared anything yet: see `hubbub status`."]
    lines = []
    if found["lag_seconds"] > _STALE_SECONDS:
        lines.append(f"The ledger has read nothing for {found['lag_seconds']:.0f} s: see `hubbub status`.")
    if not found["minutes"]:
        lines.append("Nothing was accepted in this time.")
    worst = [m for m in found["minutes"] if m["state"] in (State.DIFFERENT, State.LATE)]
    for stage in dict.fromkeys(m["stage"] for m in sorted(worst, key=lambda m: (m["state"], m["start"]))):
        lines.append(f"{stage}: {_NEXT[Stage(stage)]}")
    return lines


def _row(minute: dict[str, Any]) -> tuple[str, ...]:
    outcomes = ("accepted", "events", "signals", "held", "blocked", "dlq", "duplicates")
    return (_at(minute), *(f"{minute[outcome]:,}" for outcome in outcomes), minute["state"])


def _verdict(minute: dict[str, Any]) -> str:
    """A line for a minute that is late or different: at which stage, and by how much."""
    line = f"{_at(minute)} {minute['state']} at {minute['stage']}"
    if minute["expected"] is not None:
        line += f": {minute['found']:,} of {minute['expected']:,}"
    return line if minute["src"] is None else f"{line} ({minute['src']})"


def _at(minute: dict[str, Any]) -> str:
    return f"{datetime.fromisoformat(minute['start']):%H:%MZ}"
