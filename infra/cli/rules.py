"""`hubbub rules`: the rules messages are judged by, as data in the control topic."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from infra.cli.output import AsJson, note, print_json, print_table
from infra.contracts.events import from_ms, to_ms
from infra.contracts.rules import EVERYONE, AllowList, Rule, Rules, RuleSet
from infra.contracts.topics import INGEST
from infra.runtime import control
from infra.runtime.errors import PreconditionError, Unreachable
from infra.runtime.rules import Published, RuleLog
from infra.runtime.settings import Kafka

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
    with followed() as (_, log):
        found = log.in_force(tenant, to_ms(datetime.now(UTC)))
    rules = rules_of(found)
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
    rules = load(file)
    compiled(file, rules.rules)
    note(f"{file}: {len(rules.rules)} rules can be applied")


@app.command("apply")
def apply(file: File, tenant: Whose = EVERYONE, why: Note = "") -> None:
    """Put a file of rules into force, everywhere, within about a second and without a restart."""
    rules = load(file)
    compiled(file, rules.rules)
    with followed() as (directory, log):
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
    with followed() as (_, log):
        history = log.history(tenant)
        if not history or history[-1].rules.rules is None:
            note("nothing to do: there are no rules to give up")
            return
        _publish(log, tenant, None, why)


@app.command("history")
def history(tenant: Whose = EVERYONE, as_json: AsJson = False) -> None:
    """Show which versions were in force, and from when on."""
    with followed() as (_, log):
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


@contextmanager
def followed() -> Iterator[tuple[control.Directory, RuleLog]]:
    """Tenants, and every set of rules that is known, as they are now. Raises `PreconditionError` without Kafka."""
    log = RuleLog()
    follower = control.ControlFollower(Kafka(), "hubbub-cli", log)
    try:
        yield follower.start(), log
    finally:
        follower.stop()


def load(file: Path) -> Rules:
    """The rules in a file; exit 1 with the reason if it has none."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Rules)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise refused(file, error) from None


def compiled(what: Path | str, rules: tuple[Rule, ...]) -> Any:
    """A judge by these rules; exit 1 with the reason if there cannot be one."""
    from streams.router.steps.judging import Judge

    try:
        return Judge(rules)
    except ValueError as error:
        raise refused(what, error) from None


def refused(what: Path | str, error: Exception) -> typer.Exit:
    """Say why something is not taken. Returns the exit to raise."""
    note(f"{what}: {error}")
    return typer.Exit(1)


def rules_of(found: Published | None) -> tuple[Rule, ...]:
    """The rules of a set; the built-in ones where nothing is published."""
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
        raise refused(file, ValueError(f"made from version {rules.version}, but {version} is the newest by now"))
    known = {(rule.id, rule.version): rule for rule in replaced}
    for rule in rules.rules:
        if known.get((rule.id, rule.version), rule) != rule:
            raise refused(file, ValueError(f"rule {rule.id} has changed, so its version must be above {rule.version}"))


def _publish(log: RuleLog, tenant: str, rules: tuple[Rule, ...] | None, why: str) -> None:
    """Store the next version, delete those that judge nothing any more, and tell from when on it holds."""
    history = log.history(tenant)
    version = max((known.rules.version for known in history), default=0) + 1
    made = RuleSet(tenant=tenant, version=version, rules=rules, note=why[:200])
    if (size := len(msgspec.json.encode(made))) > _MAX_BYTES:
        raise refused("the rules", ValueError(f"{size} bytes are more than the control topic takes, {_MAX_BYTES}"))
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
