"""`hubbub topics` and `hubbub schema`: bring Kafka and Cassandra to the contract, or say where they differ."""

import typer

from infra.cli.output import AsJson, note, print_json
from infra.runtime.settings import Cassandra, Kafka

topics_app = typer.Typer(name="topics", help="Kafka topics of the contract.", no_args_is_help=True)
schema_app = typer.Typer(name="schema", help="Cassandra tables of the contract.", no_args_is_help=True)


@topics_app.command("apply")
def apply_topics() -> None:
    """Create missing topics and set the configuration of the others."""
    from infra.runtime import kafka

    created = kafka.apply_topics(Kafka())
    note(f"created {len(created)} topics" + (f": {', '.join(sorted(created))}" if created else ""))


@topics_app.command("check")
def check_topics(as_json: AsJson = False) -> None:
    """Say where the cluster differs from the contract; exit 1 if it does."""
    from infra.runtime import kafka

    _report([str(problem) for problem in kafka.check_topics(Kafka())], as_json)


@schema_app.command("apply")
def apply_schema() -> None:
    """Create the keyspace and apply missing migrations."""
    from infra.runtime import migrations

    applied = migrations.apply_schema(Cassandra())
    note(f"applied {len(applied)} migrations" + (f": {', '.join(applied)}" if applied else ""))


@schema_app.command("check")
def check_schema(as_json: AsJson = False) -> None:
    """Say which migrations are missing; exit 1 if any is."""
    from infra.runtime import migrations

    _report(migrations.check_schema(Cassandra()), as_json)


def _report(problems: list[str], as_json: bool) -> None:
    if as_json:
        print_json({"ok": not problems, "problems": problems})
    else:
        note("\n".join(problems) or "as the contract says")
    if problems:
        raise typer.Exit(1)
