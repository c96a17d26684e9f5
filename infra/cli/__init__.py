"""The `hubbub` command. Exit codes: 0 ok, 1 failure, 2 usage, 3 a precondition (a broker unreachable, say)."""

import sys

import typer

from infra.cli import (
    access,
    archive,
    data,
    ledger,
    letters,
    report,
    review,
    rules,
    schema,
    stack,
    tenants,
    trials,
)
from infra.runtime.errors import PreconditionError

app = typer.Typer(
    name="hubbub",
    help="Chat events in; history, a live stream and engagement numbers out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
stack.register(app)
app.add_typer(schema.topics_app)
app.add_typer(schema.schema_app)
app.add_typer(access.app)
app.add_typer(tenants.app)
data.register(app)
app.add_typer(letters.app)
trials.register(rules.app)
app.add_typer(rules.app)
review.register(app)
ledger.register(app)
app.add_typer(archive.app)
report.register(app)


def main() -> None:
    """Run the command line; a failed precondition is one line that says what to do next, and exit code 3."""
    try:
        app()
    except PreconditionError as error:
        typer.echo(f"hubbub: {error}", err=True)
        sys.exit(3)
