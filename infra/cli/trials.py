"""`hubbub rules test` and `backtest`: what rules do to labelled messages, and would have done to the archive."""

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from infra.cli.output import AsJson, print_json, print_table
from infra.cli.rules import Whose, compiled, followed, load, refused, rules_of
from infra.contracts.events import Event, to_ms
from infra.contracts.records import Action
from infra.contracts.rules import EVERYONE, Rule
from infra.runtime.errors import PreconditionError
from infra.runtime.settings import Runtime

if TYPE_CHECKING:
    from streams.router.trials import Difference, Said, Score


def register(rules_app: typer.Typer) -> None:
    """Add the commands of this module to `hubbub rules`."""
    rules_app.command("test")(try_rules)
    rules_app.command()(backtest)


def try_rules(
    file: Annotated[
        Path,
        typer.Argument(
            exists=True,
            dir_okay=False,
            help='JSONL of {"text": ..., "label": ...}: allow, mask, hold or block, or only true or false.',
        ),
    ],
    rules_file: Annotated[
        Path | None, typer.Option("--rules", exists=True, dir_okay=False, help="Rules to try; else those in force.")
    ] = None,
    tenant: Whose = EVERYONE,
    shadow: Annotated[bool, typer.Option("--with-shadow", help="Count rules in shadow as if they were not.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say how rules do on labelled messages: precision, recall, what was taken for what, and the lines missed."""
    from streams.router.trials import out_of_shadow, read_examples, try_on

    if rules_file is not None:
        rules = load(rules_file).rules
    else:
        with followed() as (_, log):
            rules = rules_of(log.in_force(tenant, to_ms(datetime.now(UTC))))
    judge = compiled(rules_file or "the rules in force", out_of_shadow(rules) if shadow else rules)
    try:
        score = try_on(judge, read_examples(file))
    except ValueError as error:
        raise refused(file, error) from None
    _show_score(score, as_json)


def backtest(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="One rule, or a file of rules, as JSON.")],
    days: Annotated[int, typer.Option(min=1, max=3_660, help="So many days back, today among them.")] = 7,
    tenant: Annotated[str, typer.Option(help="Whose messages.")] = "demo",
    as_json: AsJson = False,
) -> None:
    """Say what a rule would have done to the archive, and how that differs from what today's rules do.

    One rule takes the place of the one with its id, or stands behind all others. Shadow is left aside.
    """
    from streams.router import trials

    with followed() as (_, log):
        today = rules_of(log.in_force(tenant, to_ms(datetime.now(UTC))))
    proposed = _proposed(file, today)
    judge = compiled(file, proposed)
    last = datetime.now(UTC).date()
    said = _archived(tenant, last - timedelta(days=days - 1), last, in_order=bool(judge.reach.counters))
    _show_difference(trials.backtest(compiled("the rules in force", today), judge, said), days, as_json)


def _proposed(file: Path, today: tuple[Rule, ...]) -> tuple[Rule, ...]:
    from streams.router.trials import out_of_shadow, with_rule

    try:
        found = msgspec.json.decode(file.read_bytes(), type=dict[str, msgspec.Raw])
        if "rules" in found:
            return out_of_shadow(load(file).rules)
        rule: Any = msgspec.json.decode(file.read_bytes(), type=Rule)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise refused(file, error) from None
    return with_rule(today, *out_of_shadow([rule]))


def _archived(tenant: str, first: date, last: date, *, in_order: bool) -> "Iterator[Said]":
    """The messages of these days as the archive has them, day by day; those that were held among them."""
    from infra.contracts import archive as tables
    from streams.router.trials import Said

    try:
        archive: Any = import_module("infra.runtime.archive")
        settings: Any = import_module("infra.runtime.settings")
    except ModuleNotFoundError as error:
        raise PreconditionError(f"the archive cannot be read here: {error}. Install Hubbub's extras.") from error
    reader = archive.ArchiveReader(settings.Archive(), Runtime())
    names = ("id", "type", "time", "channel_id", "user_id", "anonymous_id", "message_id", "text", "is_bot")
    columns = (*names, "late", "received_at")
    for number in range((last - first).days + 1):
        day = first + timedelta(days=number)
        rows = (
            row
            for table in (tables.EVENTS, tables.HELD)
            for row in reader.rows(table, tenant=tenant, days=(day, day), columns=columns)
            if row["text"] is not None
        )
        said = (
            Said(tenant, Event(**{name: row[name] for name in names}), to_ms(row["received_at"])) for row in _once(rows)
        )
        yield from sorted(said, key=lambda message: message.at_ms) if in_order else said


def _once(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A day's rows, events before what was held: what a moderator released stands in both, and late in the first."""
    released: set[str] = set()
    for row in rows:
        if row["id"] not in released:
            yield row
        if row["late"]:
            released.add(row["id"])


def _show_score(score: "Score", as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "messages": score.messages,
                "precision": score.precision,
                "recall": score.recall,
                "confusion": score.confusion,
                "misses": [{"line": n, "label": x, "done": y, "rules": by} for n, x, y, by in score.misses],
            }
        )
        return
    print_table(("MESSAGES", "PRECISION", "RECALL"), [(score.messages, _share(score.precision), _share(score.recall))])
    print_table(
        ("LABEL", *(f"DONE: {done}" for done in Action)),
        [(label, *(row.get(done, 0) for done in Action)) for label, row in sorted(score.confusion.items())],
    )
    if score.misses:
        print_table(("LINE", "LABEL", "DONE", "BY"), score.misses)


def _show_difference(found: "Difference", days: int, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "days": days,
                "messages": found.messages,
                "today": found.today,
                "proposed": found.proposed,
                "changes": [{"today": x, "proposed": y, "messages": n} for (x, y), n in sorted(found.changes.items())],
                "rules": found.by_rule,
                "examples": [{"id": i, "today": x, "proposed": y} for i, x, y in found.named],
            }
        )
        return
    print_table(
        ("DONE", "TODAY", "PROPOSED"),
        [
            (action, found.today.get(action, 0), found.proposed.get(action, 0))
            for action in ("allow", "mask", "hold", "block")
        ],
    )
    print_table(("TODAY", "PROPOSED", "MESSAGES"), [(*pair, n) for pair, n in sorted(found.changes.items())])
    print_table(("RULE", "HAS A SAY IN"), sorted(found.by_rule.items()))
    if found.named:
        print_table(("SUCH AS", "TODAY", "PROPOSED"), found.named)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
