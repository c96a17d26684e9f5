"""`hubbub rules`: the rules messages are judged by, as data in the control topic."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer

from infra.cli.output import AsJson, note, print_json, print_table
from infra.contracts.events import Event, from_ms, to_ms
from infra.contracts.records import Action
from infra.contracts.rules import EVERYONE, AllowList, Rule, Rules, RuleSet
from infra.contracts.topics import INGEST
from infra.runtime import control
from infra.runtime.errors import PreconditionError, Unreachable
from infra.runtime.rules import Published, RuleLog
from infra.runtime.settings import Kafka, Runtime

if TYPE_CHECKING:
    from streams.router.trials import Difference, Said, Score

app = typer.Typer(name="rules", help="Moderation rules.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="A file of rules, as JSON.")]
Whose = Annotated[str, typer.Option("--tenant", help="A tenant; by default everyone without rules of their own.")]
Note = Annotated[str, typer.Option("--note", help="What changed and why, for `hubbub rules history`.")]

#: Kafka deletes whole segments, so a record may be read again for twice its topic's retention. Sets that judged one
#: are kept as long, and a day.
_KEPT: Final = 2 * timedelta(milliseconds=INGEST.retention_ms) + timedelta(days=1)
_MAX_BYTES: Final = 1_000_000
_STORED_SECONDS: Final = 10.0


@app.command("show")
def show(tenant: Whose = EVERYONE, as_json: AsJson = False) -> None:
    """Show the rules in force, their version and since when. With --json, a file to change and apply."""
    with _followed() as (_, log):
        found = log.in_force(tenant, to_ms(datetime.now(UTC)))
    rules = _rules_of(found)
    since = from_ms(found.effective_ms) if found else None
    if as_json:
        version = found.rules.version if found else 0
        whose = found.rules.tenant if found else EVERYONE
        print_json(Rules(rules=rules, version=version, tenant=whose, since=since))
        return
    note(_title(found))
    print_table(("RULE", "VERSION", "KIND", "ACTION", "SEVERITY", "WHY"), [_row(rule) for rule in rules])


@app.command("check")
def check(file: File) -> None:
    """Check a file of rules as `apply` would. Exit 1 and the reason if it cannot be applied."""
    rules = _load(file)
    _compiled(file, rules.rules)
    note(f"{file}: {len(rules.rules)} rules can be applied")


@app.command("apply")
def apply(file: File, tenant: Whose = EVERYONE, why: Note = "") -> None:
    """Put a file of rules into force, everywhere, within about a second and without a restart."""
    rules = _load(file)
    _compiled(file, rules.rules)
    with _followed() as (directory, log):
        if tenant != EVERYONE and tenant not in directory.tenants:
            raise PreconditionError(f"there is no tenant {tenant}. See `hubbub keys list`.")
        history = log.history(tenant)
        newest = history[-1].rules if history else None
        if newest is not None and newest.rules == rules.rules:
            note(f"nothing to do: these are the rules of version {newest.version}")
            return
        _check_versions(file, rules, tenant, newest, _newest_rules(log, tenant))
        _publish(log, tenant, rules.rules, why)


@app.command("reset")
def reset(tenant: Whose = EVERYONE, why: Note = "") -> None:
    """Give a tenant's own rules up for everyone's, or everyone's for the built-in ones."""
    with _followed() as (_, log):
        history = log.history(tenant)
        if not history or history[-1].rules.rules is None:
            note("nothing to do: there are no rules to give up")
            return
        _publish(log, tenant, None, why)


@app.command("history")
def history(tenant: Whose = EVERYONE, as_json: AsJson = False) -> None:
    """Show which versions were in force, and from when on."""
    with _followed() as (_, log):
        sets = log.history(tenant)
    if as_json:
        print_json(
            [
                {
                    "version": found.rules.version,
                    "since": from_ms(found.effective_ms),
                    "rules": None if found.rules.rules is None else len(found.rules.rules),
                    "note": found.rules.note,
                }
                for found in sets
            ]
        )
        return
    print_table(
        ("VERSION", "IN FORCE SINCE", "RULES", "NOTE"),
        [
            (s.rules.version, _moment(s), "given up" if s.rules.rules is None else len(s.rules.rules), s.rules.note)
            for s in reversed(sets)
        ],
    )


@app.command("test")
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
        rules = _load(rules_file).rules
    else:
        with _followed() as (_, log):
            rules = _rules_of(log.in_force(tenant, to_ms(datetime.now(UTC))))
    judge = _compiled(rules_file or "the rules in force", out_of_shadow(rules) if shadow else rules)
    try:
        score = try_on(judge, read_examples(file))
    except ValueError as error:
        raise _refused(file, error) from None
    _show_score(score, as_json)


@app.command("backtest")
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

    with _followed() as (_, log):
        today = _rules_of(log.in_force(tenant, to_ms(datetime.now(UTC))))
    proposed = _proposed(file, today)
    judge = _compiled(file, proposed)
    last = datetime.now(UTC).date()
    said = _archived(tenant, last - timedelta(days=days - 1), last, in_order=bool(judge.reach.counters))
    _show_difference(trials.backtest(_compiled("the rules in force", today), judge, said), days, as_json)


@contextmanager
def _followed() -> Iterator[tuple[control.Directory, RuleLog]]:
    log = RuleLog()
    follower = control.ControlFollower(Kafka(), "hubbub-cli", log)
    try:
        yield follower.start(), log
    finally:
        follower.stop()


def _load(file: Path) -> Rules:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Rules)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _refused(file, error) from None


def _compiled(what: Path | str, rules: tuple[Rule, ...]) -> Any:
    """A judge by these rules; exit 1 with the reason if there cannot be one."""
    from streams.router.steps.judging import Judge

    try:
        return Judge(rules)
    except ValueError as error:
        raise _refused(what, error) from None


def _refused(what: Path | str, error: Exception) -> typer.Exit:
    note(f"{what}: {error}")
    return typer.Exit(1)


def _rules_of(found: Published | None) -> tuple[Rule, ...]:
    from streams.router.book import built_in

    return built_in().rules if found is None else found.rules.rules or ()


def _newest_rules(log: RuleLog, tenant: str) -> tuple[Rule, ...]:
    """The rules that a new set of this tenant takes the place of: its own, everyone's or the built-in ones."""
    from streams.router.book import built_in

    for whose in (tenant, EVERYONE):
        history = log.history(whose)
        if history and (rules := history[-1].rules.rules) is not None:
            return rules
    return built_in().rules


def _check_versions(file: Path, rules: Rules, tenant: str, newest: RuleSet | None, replaced: tuple[Rule, ...]) -> None:
    """What a verdict names must stay one thing, and nobody's change may get lost. Exit 1 otherwise."""
    version = newest.version if newest and newest.rules is not None else 0
    if rules.version not in (None, version) and rules.tenant in (None, tenant):
        raise _refused(file, ValueError(f"made from version {rules.version}, but {version} is the newest by now"))
    known = {(rule.id, rule.version): rule for rule in replaced}
    for rule in rules.rules:
        if known.get((rule.id, rule.version), rule) != rule:
            raise _refused(file, ValueError(f"rule {rule.id} has changed, so its version must be above {rule.version}"))


def _publish(log: RuleLog, tenant: str, rules: tuple[Rule, ...] | None, why: str) -> None:
    """Store the next version, delete those that judge nothing any more, and tell from when on it holds."""
    history = log.history(tenant)
    version = max((known.rules.version for known in history), default=0) + 1
    made = RuleSet(tenant=tenant, version=version, rules=rules, note=why[:200])
    if (size := len(msgspec.json.encode(made))) > _MAX_BYTES:
        raise _refused("the rules", ValueError(f"{size} bytes are more than the control topic takes, {_MAX_BYTES}"))
    control.publish(Kafka(), [made], removed=expired(history, to_ms(datetime.now(UTC))))
    deadline = time.monotonic() + _STORED_SECONDS
    while (stored := log.get(made.record_key)) is None:
        if time.monotonic() > deadline:
            raise Unreachable("Kafka", Kafka().bootstrap, "The rules are stored; see `hubbub rules history`.")
        time.sleep(0.05)
    note(f"version {version} of {_whose(tenant)} judges what Kafka stores from {_moment(stored)} on")


def expired(history: list[Published], now_ms: int) -> list[bytes]:
    """Keys of the sets that were replaced so long ago that no record they judged can be read again."""
    before = now_ms - _KEPT // timedelta(milliseconds=1)
    return [old.key for old, new in pairwise(history) if new.effective_ms < before]


def _proposed(file: Path, today: tuple[Rule, ...]) -> tuple[Rule, ...]:
    from streams.router.trials import out_of_shadow, with_rule

    try:
        found = msgspec.json.decode(file.read_bytes(), type=dict[str, msgspec.Raw])
        if "rules" in found:
            return out_of_shadow(_load(file).rules)
        rule: Any = msgspec.json.decode(file.read_bytes(), type=Rule)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _refused(file, error) from None
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


def _title(found: Published | None) -> str:
    if found is None:
        return "the built-in rules: none are published"
    return f"version {found.rules.version} of {_whose(found.rules.tenant)}, in force since {_moment(found)}"


def _whose(tenant: str) -> str:
    return "everyone's rules" if tenant == EVERYONE else f"{tenant}'s rules"


def _moment(found: Published) -> str:
    return f"{from_ms(found.effective_ms):%Y-%m-%d %H:%M:%S.%f}"[:-3] + "Z"


def _row(rule: Rule) -> tuple[Any, ...]:
    kind = rule.__struct_config__.tag
    if isinstance(rule, AllowList):
        return rule.id, rule.version, kind, "allow", "", rule.reason
    action = f"{rule.action} (shadow)" if rule.shadow else rule.action
    return rule.id, rule.version, kind, action, rule.severity, getattr(rule, "reason", getattr(rule, "finds", ""))


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
