"""`hubbub up`, `down`, `status`, `doctor` and `run`: a whole Hubbub on this machine, or one role of it."""

import importlib
import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from infra.cli import access
from infra.cli.output import AsJson, note, print_json, print_table
from infra.runtime.errors import PreconditionError
from infra.runtime.settings import Cassandra, Kafka, Runtime


class Role(StrEnum):
    """The roles, each one process."""

    INGEST = "ingest"
    ROUTER = "router"
    HISTORY = "history"
    ARCHIVE = "archive"
    ANALYTICS = "analytics"
    INTERACTIONS = "interactions"
    REPORTS = "reports"
    LEDGER = "ledger"
    API = "api"


#: Where a role's `run() -> int` is; imported only when asked for, so that a role needs only its own extra.
ROLES = {
    Role.INGEST: "ingest.role",
    Role.ROUTER: "streams.router.role",
    Role.HISTORY: "streams.history.role",
    Role.ARCHIVE: "analytics.archive.role",
    Role.ANALYTICS: "analytics.role",
    Role.INTERACTIONS: "analytics.interactions.role",
    Role.REPORTS: "analytics.reports.role",
    Role.LEDGER: "streams.ledger.role",
    Role.API: "api.role",
}


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    for command in (up, down, status, doctor, run):
        app.command()(command)


def up(
    detach: Annotated[bool, typer.Option("--detach", help="Return once everything is ready.")] = False,
    no_demo: Annotated[bool, typer.Option("--no-demo", help="Make no demo tenant and keys.")] = False,
) -> None:
    """Start Kafka, Cassandra and every role here; Ctrl-C stops them all."""
    from infra.local import supervisor
    from infra.local.errors import AlreadyRunningError, LocalError
    from infra.local.stack import Plan, Step
    from infra.runtime import kafka, migrations

    runtime = Runtime()
    steps = [
        Step(title="topics", run=lambda env: kafka.apply_topics(_kafka(env))),
        Step(title="schema", run=lambda env: migrations.apply_schema(_cassandra(env))),
    ]
    if not no_demo:
        steps.append(Step(title="demo keys", run=lambda env: access.publish_demo(_kafka(env), runtime, _pages(env))))
    try:
        supervisor.up(Plan(steps=steps, runtime=runtime), detach=detach, ready=lambda s: _welcome(s, runtime))
    except AlreadyRunningError as running:
        note(str(running))
    except LocalError as error:
        raise PreconditionError(str(error)) from error


def down() -> None:
    """Stop everything that `up` started, roles first."""
    from infra.local import supervisor
    from infra.local.errors import LocalError

    try:
        note("stopped" if supervisor.down(Runtime().data_dir) else "nothing runs here")
    except LocalError as error:
        raise PreconditionError(str(error)) from error


def status(as_json: AsJson = False) -> None:
    """Show what runs here, whether each part is ready, and its lag. Exit 1 unless everything is ready."""
    from infra.local import supervisor

    found = supervisor.status(Runtime().data_dir)
    if found is None:
        if as_json:
            print_json({"ready": False, "roles": {}, "engines": {}})
        else:
            note("nothing runs here. Start it with `make up` or `hubbub up`.")
        raise typer.Exit(1)
    if as_json:
        print_json(describe(found))
    else:
        rows: list[tuple[Any, ...]] = [
            (
                name,
                part.pid or "-",
                "ready" if part.ready else "not ready",
                part.lag,
                part.restarts,
                part.url or part.port,
            )
            for name, part in {**found.engines, **found.roles}.items()
        ]
        print_table(("PART", "PID", "STATE", "LAG", "RESTARTS", "ADDRESS"), rows)
    if not found.ready:
        raise typer.Exit(1)


def doctor(as_json: AsJson = False) -> None:
    """Check what Hubbub needs on this machine and say how to mend what is missing. Exit 1 if anything is."""
    from infra.cli.checkup import checkup

    findings = list(checkup())
    if as_json:
        print_json([{"check": f.name, "ok": f.ok, "detail": f.detail, "hint": f.hint} for f in findings])
    else:
        print_table(
            ("", "CHECK", "FOUND", "DO"), [("ok" if f.ok else "!!", f.name, f.detail, f.hint) for f in findings]
        )
    if not all(f.ok for f in findings):
        raise typer.Exit(1)


def run(role: Annotated[Role, typer.Argument(help="Which role.")]) -> None:
    """Run one role in this process until SIGTERM. Addresses come from HUBBUB_* settings."""
    from infra.runtime.logs import configure

    configure(Runtime(), role.value)
    sys.exit(importlib.import_module(ROLES[role]).run())


def describe(found: Any) -> dict[str, Any]:
    """The document that `hubbub status --json` prints; its shape is part of the contract."""
    roles = found.roles
    return {
        "ready": found.ready,
        "ingest": {"url": roles["ingest"].url},
        "api": {"url": roles["api"].url},
        "keys": access.demo_keys(Runtime()),
        "kafka": {"bootstrap": found.kafka_bootstrap},
        "cassandra": {
            "contact_points": found.cassandra_contact_points,
            "port": found.cassandra_port,
            "keyspace": Cassandra().keyspace,
        },
        "roles": {
            name: {"pid": part.pid, "ready": part.ready, "lag": part.lag, "url": part.url, "restarts": part.restarts}
            for name, part in roles.items()
        },
        "engines": {name: {"pid": part.pid, "port": part.port} for name, part in found.engines.items()},
    }


def _welcome(found: Any, runtime: Runtime) -> None:
    keys = access.demo_keys(runtime)
    note(f"\nReady. Dashboard: {found.dashboard}")
    if keys:
        note(f"  sign in with   {keys['read']}")
        note(f"  send events to {found.roles['ingest'].url}/v1/events with key {keys['write']}")
        note(f"  every demo key is in {access.keys_file(runtime)}")
    note("Try: uv run hubbub simulate --rate 50 --duration 60")


def _pages(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The origins under which a browser on this machine opens the dashboard."""
    port = environment["HUBBUB_API_PORT"]
    return tuple(f"http://{host}:{port}" for host in ("127.0.0.1", "localhost"))


def _kafka(environment: Mapping[str, str]) -> Kafka:
    return Kafka().model_copy(update={"bootstrap": environment.get("HUBBUB_KAFKA_BOOTSTRAP", Kafka().bootstrap)})


def _cassandra(environment: Mapping[str, str]) -> Cassandra:
    port = environment.get("HUBBUB_CASSANDRA_PORT")
    return Cassandra().model_copy(update={"port": int(port)} if port else {})


def running() -> Any:
    """What runs on this machine's data directory, for commands that talk to it.

    Raises `PreconditionError` when nothing does.
    """
    from infra.local import supervisor

    found = supervisor.status(Runtime().data_dir)
    if found is None:
        raise PreconditionError("nothing runs here. Start it with `hubbub up`, or give the address and a key.")
    return found
