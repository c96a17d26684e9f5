"""The reference pages and `.env.example`, made from the commands and settings themselves.

`python -m infra.cli.reference` rewrites them; `make check` fails while they differ.
"""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import typer
from pydantic_core import PydanticUndefined
from typer.core import TyperGroup

from infra.contracts.interactions import BUCKET_ERROR, INTERACTIONS, Interaction
from infra.contracts.metrics import METRICS
from infra.contracts.windows import WATERMARK_DELAY
from infra.runtime.settings import Section

_SETTINGS_MODULES = (
    "infra.runtime.settings",
    "infra.local.settings",
    "ingest.settings",
    "streams.router.settings",
    "streams.history.settings",
    "streams.ledger.settings",
    "analytics.settings",
    "analytics.archive.settings",
    "analytics.interactions.settings",
    "analytics.reports.settings",
    "api.settings",
)
_WIDTH = 100


def commands() -> str:
    """docs/commands.md: every command's own help."""
    from infra.cli import app

    root = typer.main.get_command(app)
    parts = ["# Commands\n\nMade from `--help` by `python -m infra.cli.reference`.\n"]
    for path, command in _walk(root, "hubbub"):
        context = typer.Context(command, info_name=path, terminal_width=_WIDTH, max_content_width=_WIDTH)
        parts.append(f"## `{path}`\n\n```text\n{command.get_help(context).strip()}\n```\n")
    return "\n".join(parts)


def settings() -> str:
    """docs/settings.md: every setting with its default and meaning."""
    parts = [
        "# Settings\n\nEvery setting is an environment variable, or a line of a `.env` file in the working directory.\n"
        "Made from the code by `python -m infra.cli.reference`.\n"
    ]
    for section in sections():
        parts.append(f"## {section.__name__}\n\n{(section.__doc__ or '').strip()}\n")
        parts.append("| variable | default | meaning |\n|---|---|---|")
        parts += [f"| `{name}` | `{default}` | {meaning} |" for name, default, meaning in _fields(section)]
        parts.append("")
    return "\n".join(parts)


def metrics() -> str:
    """docs/metrics.md: every published number and what it means."""
    from analytics.interactions.channels import MOST as MOST_WAITS
    from analytics.reports.registry import REPORTS
    from api.numbers.trending import LEAST_POSTERS, LOOK_BACK, MOST_FACTOR

    rows = [
        f"| `{m.name}` | {m.meaning} | {m.unit} | {m.formula} | {', '.join(m.scopes)} | {', '.join(m.grains)} | "
        f"{'exact' if m.error is None else f'within {m.error:.1%} (standard error)'} |"
        for m in METRICS.values()
    ]
    return f"""# Metrics

Bots count nowhere; what a rule held or blocked counts only in the metric named for it. Windows are in UTC, by corrected
event time, labelled by start and end; a window in which nothing happened has no point. A point is final once the
watermark, {WATERMARK_DELAY.seconds // 60} minutes behind the newest event, has passed its end; until then a late event
changes it and raises its `revision`. What comes behind the watermark, and what moderators decide later, is not added
live: minutes later the window is counted once more from the archive, exactly, and that count is shown from then on.

Made from the registry by `python -m infra.cli.reference`. What a metric is made of are the measures of its window; one
over several days, the different people of the UTC days that end with its day, so a day on which nobody came has one as
well. They are united from sketches, and so stay within the error when each day was counted exactly. A ratio is that of
what its window holds now; a window with nothing to divide by has no point.

| metric | meaning | unit | made of | scopes | grains | accuracy |
|---|---|---|---|---|---|---|
{chr(10).join(rows)}

# Sessions and response times

They are counted once, when the watermark passes, in whole minutes, and are not revised: what comes behind the watermark
is left to the reports. A window that it has passed is final and complete. A response time is a quantile of a histogram,
no more than {BUCKET_ERROR:.1%} off.

| metric | meaning | unit | scopes | grains | accuracy |
|---|---|---|---|---|---|
{chr(10).join(map(_interaction, INTERACTIONS.values()))}

`GET /v1/waiting` lists who waits now: first unanswered messages, by channel and thread. The list is provisional: it
takes in what came seconds ago, which a late event may still put in another light, and counts nothing.

Against the reports `sessions` and `response-times`, which count the same day exactly and hours later: a wait counts
here when it ends, there when it began; a session here ends by the clock alone, there also where a client says so; a
message that a moderator blocks later has answered here, and never was there; and of more than {MOST_WAITS} people who
wait at once in one conversation the longest are forgotten here.

# Trending

`GET /v1/trending` ranks channels by (posters + responders + messages / 2) / (hours + 2)^1.5 × factor, and returns each
part beside the score. Counted are the current quarter of an hour and the three before it.

- `posters` are distinct people who sent; below {LEAST_POSTERS} a channel is not ranked.
- `responders` are distinct people who reacted or replied, each once however often; `reactions` says how many there
  were and is in no score.
- `hours` is since the burst began. It goes back, at most {LOOK_BACK // 4} hours, as long as each quarter has at least
  half as many messages as the mean of those counted.
- `factor` is messages an hour against the same hour a week ago, {MOST_FACTOR:.0f} at most; 1 where nothing was counted
  then.

# Reports

A report is counted exactly from the archive, by calendar day in the tenant's time zone or by UTC day, and by corrected
event time. It says as of when, whether complete and whether final; a correction that comes later raises its `revision`.

{chr(10).join(map(_report, REPORTS.values()))}"""


def _interaction(metric: Interaction) -> str:
    """One live metric of sessions or response times."""
    accuracy = "exact" if metric.error is None else f"within {metric.error:.1%}"
    return (
        f"| `{metric.name}` | {metric.meaning} | {metric.unit} | {', '.join(metric.scopes)} | "
        f"{', '.join(metric.grains)} | {accuracy} |"
    )


def _report(report: Any) -> str:
    """One report of the registry, number by number."""
    rows = [f"| `{c.name}` | {c.label} | {c.meaning} | {c.unit} |" for c in report.columns]
    days = "By UTC day." if report.calendar == "UTC" else "By calendar day of the tenant."
    rule = f"{report.rule}\n\n" if report.rule else ""
    example = f"\nFor example: {report.example}" if report.example else ""
    return (
        f"## `{report.name}`\n\n{report.meaning} {days}\n\n{rule}"
        f"| number | shown as | meaning | unit |\n|---|---|---|---|\n{chr(10).join(rows)}\n{example}"
    )


def env_example() -> str:
    """.env.example: every setting, commented out, at its default."""
    lines = ["# Copy to .env and uncomment what you change. Meanings: docs/settings.md"]
    for section in sections():
        lines += ["", f"# {section.__name__}: {(section.__doc__ or '').strip().splitlines()[0]}"]
        lines += [f"#{name}={default}" for name, default, _ in _fields(section)]
    return "\n".join(lines) + "\n"


def sections() -> list[type[Section]]:
    """Every settings section of every room, in the order of the rooms."""
    found: list[type[Section]] = []
    for module in map(importlib.import_module, _SETTINGS_MODULES):
        found += [
            value
            for value in vars(module).values()
            if isinstance(value, type)
            and issubclass(value, Section)
            and value is not Section
            and value.__module__ == module.__name__
        ]
    return found


def files(root: Path) -> dict[Path, str]:
    """Every generated file and its content."""
    return {
        root / "docs" / "commands.md": commands(),
        root / "docs" / "settings.md": settings(),
        root / "docs" / "metrics.md": metrics(),
        root / ".env.example": env_example(),
    }


def stale(root: Path) -> list[Path]:
    """The files that differ from what the code says."""
    return [path for path, text in files(root).items() if not path.exists() or path.read_text() != text]


def _fields(section: type[Section]) -> Iterator[tuple[str, str, str]]:
    prefix = section.model_config.get("env_prefix", "")
    for name, field in section.model_fields.items():
        default: Any = field.get_default(call_default_factory=True)
        if default is PydanticUndefined:
            shown = ""
        elif isinstance(default, list | dict | tuple):
            shown = msgspec.json.encode(default).decode()
        else:
            shown = str(default).lower() if isinstance(default, bool) else str("" if default is None else default)
        yield (
            f"{prefix}{name}".upper(),
            shown.replace(str(Path.home()), "~"),
            " ".join((field.description or "").split()),
        )


def _walk(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    yield path, command
    if isinstance(command, TyperGroup):
        for name in command.commands:
            yield from _walk(command.commands[name], f"{path} {name}")


def main() -> int:
    """Rewrite the files; with `--check`, only say which are stale and exit 1 if any is."""
    root = Path.cwd()
    behind = stale(root)
    for path in behind:
        print(f"{path.relative_to(root)} is stale: run `python -m infra.cli.reference`")
        if "--check" not in sys.argv:
            path.parent.mkdir(exist_ok=True)
            path.write_text(files(root)[path])
    return int(bool(behind) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
