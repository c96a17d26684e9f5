"""`hubbub held` and `hubbub block`: look at what rules stopped, decide about it, and take down what was shown."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from infra.cli.data import ask, decide
from infra.cli.output import AsJson, note, print_json, print_table
from infra.contracts.control import Scope

app = typer.Typer(name="held", help="What rules held or blocked.", no_args_is_help=True)

HeldId = Annotated[str, typer.Argument(help="The id, as `hubbub held list` shows it.")]
ApiUrl = Annotated[str, typer.Option("--url", help="Address of the read API; by default of the Hubbub that runs here.")]
IngestUrl = Annotated[str, typer.Option("--url", help="Address of ingest; by default of the Hubbub that runs here.")]
Key = Annotated[
    str, typer.Option(help="Key with scope moderate; by default the demo tenant's.", envvar="HUBBUB_MODERATE_KEY")
]
Reason = Annotated[str, typer.Option(help="Why, for the audit trail.")]
Moderator = Annotated[str, typer.Option(help="Who decides, for the audit trail.")]


def register(main: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    main.add_typer(app)
    main.command()(block)


@app.command("list")
def list_held(
    day: Annotated[str, typer.Option(help="UTC day, such as 2026-03-14; today unless given.")] = "",
    state: Annotated[str, typer.Option(help="waiting, released, rejected, or all.")] = "waiting",
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many, newest ids first.")] = 20,
    url: ApiUrl = "",
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Show what rules held or blocked, and why."""
    asked = [f"limit={limit}"] + [f"day={quote(day)}"] * bool(day) + [f"state={quote(state)}"] * (state != "all")
    found = _read(f"/v1/held?{'&'.join(asked)}", url, key)
    if as_json:
        print_json(found)
        return
    print_table(
        ("ID", "RECEIVED", "STATE", "RULE", "USER", "CHANNEL", "TEXT"),
        [
            (
                entry["held_id"],
                entry["received_at"][:19],
                entry["state"],
                entry["verdict"]["rule"],
                entry.get("user_id") or entry.get("anonymous_id"),
                entry.get("channel_id"),
                (entry.get("text") or "")[:60],
            )
            for entry in found["held"]
        ],
    )


@app.command("show")
def show(held_id: HeldId, url: ApiUrl = "", key: Key = "", as_json: AsJson = False) -> None:
    """Show one with what was said before it and its user's record."""
    found = _read(f"/v1/held/{quote(held_id, safe='')}", url, key)
    if as_json:
        print_json(found)
        return
    held, record = found["held"], found["record"]
    rows: list[tuple[str, Any]] = [(name, held.get(name)) for name in ("state", "received_at", "channel_id", "text")]
    rows.insert(1, ("rule", f"{held['verdict']['rule']}@{held['verdict']['version']}: {held['verdict']['reason']}"))
    rows += [(f"before, {m['sent_at'][:19]}", m.get("text", "(deleted)")) for m in reversed(found["context"])]
    rows.append(("user", f"{record['user_id']}, in {record['days']} days:"))
    rows += [(n.replace("_", " "), record[n]) for n in ("held", "blocked", "released", "rejected", "taken_down")]
    rows += [(one["verb"], f"{one['decided_at'][:19]} by {one['decided_by']}") for one in held.get("decisions", ())]
    print_table(("WHAT", "FOUND"), rows)


@app.command("release")
def release(
    held_id: HeldId, reason: Reason = "", moderator: Moderator = "", url: IngestUrl = "", key: Key = ""
) -> None:
    """Let it through: into history at its place, and to live readers as late."""
    _decide(f"/v1/held/{quote(held_id, safe='')}/release", {"reason": reason, "moderator": moderator}, url, key)


@app.command("reject")
def reject(held_id: HeldId, reason: Reason = "", moderator: Moderator = "", url: IngestUrl = "", key: Key = "") -> None:
    """Keep it away for good; if it was released before, it disappears."""
    _decide(f"/v1/held/{quote(held_id, safe='')}/reject", {"reason": reason, "moderator": moderator}, url, key)


def block(
    message_id: Annotated[str, typer.Argument(help="The message's id.")],
    channel: Annotated[str, typer.Option(help="The channel it stands in.")],
    reason: Reason = "",
    moderator: Moderator = "",
    url: IngestUrl = "",
    key: Key = "",
) -> None:
    """Take a message down everywhere, after it was shown."""
    body = {"channel_id": channel, "reason": reason, "moderator": moderator}
    _decide(f"/v1/messages/{quote(message_id, safe='')}/block", body, url, key)


def _read(path: str, url: str, key: str) -> Any:
    reply = ask(path, url, key, Scope.MODERATE)
    if reply.status_code != 200:
        note(reply.json()["detail"])
        raise typer.Exit(1)
    return reply.json()


def _decide(path: str, body: dict[str, str], url: str, key: str) -> None:
    reply = decide(path, {name: value for name, value in body.items() if value}, url, key)
    if reply.status_code != 200:
        note(reply.json()["detail"])
        raise typer.Exit(1)
    note("decided" if reply.json()["accepted"] else "this was decided before")
