"""`hubbub rules` without a broker: files are checked, tried on messages, and told what is wrong with them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from infra.cli import app, rules, trials
from infra.cli.rules import expired
from infra.contracts.rules import EVERYONE, RuleSet
from infra.runtime import control
from infra.runtime.control import Directory
from infra.runtime.rules import Published, RuleLog

DAY = 86_400_000
AT = datetime(2026, 3, 14, 9, 27, tzinfo=UTC)
RULE = {"kind": "block_list", "id": "x", "version": 1, "action": "hold", "reason": "r", "terms": ["bad"]}


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> RuleLog:
    """A control topic in memory: what is published is stored at once."""
    log = RuleLog()
    now = iter(range(1_790_000_000_000, 1_790_000_100_000, 10_000))

    class Follower:
        def __init__(self, *_: Any, **__: Any) -> None: ...

        def start(self) -> Directory:
            directory = Directory()
            directory.apply(b"tenant/acme", b'{"kind":"tenant","id":"acme"}')
            return directory

        def stop(self) -> None: ...

    def publish(_: Any, records: Any, removed: Any = ()) -> None:
        for record in records:
            log.apply(record.record_key, msgspec.json.encode(record), next(now))
        for key in removed:
            log.apply(key, None, 0)

    monkeypatch.setattr(rules, "RuleLog", lambda: log)
    monkeypatch.setattr(control, "ControlFollower", Follower)
    monkeypatch.setattr(control, "publish", publish)
    return log


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, ["rules", *map(str, arguments)], env={"COLUMNS": "100"})


def file_of(tmp_path: Path, *found: dict[str, Any], **fields: Any) -> Path:
    file = tmp_path / "rules.json"
    file.write_bytes(msgspec.json.encode({"rules": found, **fields}))
    return file


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        ({"kind": "block_list", "id": "x"}, "version"),
        ({**RULE, "action": "mask", "replacement": "bad"}, "rule x is itself found"),
        ({"kind": "pattern", "id": "p", "version": 1, "action": "hold", "reason": "r", "patterns": ["("]}, "rule p"),
    ],
)
def test_check_says_what_is_wrong_and_exits_1(tmp_path: Path, found: dict[str, Any], problem: str) -> None:
    done = run("check", file_of(tmp_path, found))
    assert done.exit_code == 1
    assert problem in done.stderr
    assert run("check", file_of(tmp_path, RULE)).exit_code == 0


def test_what_is_shown_can_be_changed_and_applied(tmp_path: Path, topic: RuleLog) -> None:
    assert "built-in" in run("show").stderr
    shown = msgspec.json.decode(run("show", "--json").stdout)
    assert (shown["tenant"], shown["version"]) == ("*", 0)
    file = tmp_path / "rules.json"
    file.write_bytes(msgspec.json.encode(shown))
    assert "version 1 of everyone's rules judges what Kafka stores from" in run("apply", file).stderr
    assert "nothing to do" in run("apply", file).stderr
    assert "version 1 of everyone's rules, in force since" in run("show").stderr
    shown["rules"].append(RULE)
    file.write_bytes(msgspec.json.encode(shown))
    assert "made from version 0, but 1 is the newest" in run("apply", file).stderr
    shown["version"] = 1
    file.write_bytes(msgspec.json.encode(shown))
    assert run("apply", file, "--note", "one more").exit_code == 0
    history = msgspec.json.decode(run("history", "--json").stdout)
    assert [(entry["version"], entry["note"]) for entry in history] == [(1, ""), (2, "one more")]


def test_a_rule_that_changed_needs_another_version(tmp_path: Path, topic: RuleLog) -> None:
    assert run("apply", file_of(tmp_path, RULE)).exit_code == 0
    refused = run("apply", file_of(tmp_path, {**RULE, "terms": ["worse"]}))
    assert refused.exit_code == 1
    assert "rule x has changed, so its version must be above 1" in refused.stderr
    assert run("apply", file_of(tmp_path, {**RULE, "terms": ["worse"], "version": 2})).exit_code == 0


def test_a_built_in_rule_that_changed_needs_another_version(tmp_path: Path, topic: RuleLog) -> None:
    shown = msgspec.json.decode(run("show", "--json").stdout)
    shown["rules"][0]["reason"] = "another"
    for whose in ((), ("--tenant", "acme")):
        refused = run("apply", file_of(tmp_path, *shown["rules"]), *whose)
        assert refused.exit_code == 1
        assert "rule threats has changed, so its version must be above 1" in refused.stderr
    shown["rules"][0]["version"] = 2
    assert run("apply", file_of(tmp_path, *shown["rules"])).exit_code == 0


def test_a_tenants_rules_take_the_place_of_everyones_until_they_are_given_up(tmp_path: Path, topic: RuleLog) -> None:
    assert str(run("apply", file_of(tmp_path, RULE), "--tenant", "nobody").exception).startswith("there is no tenant")
    assert run("apply", file_of(tmp_path, RULE), "--tenant", "acme").exit_code == 0
    assert "acme's rules" in run("show", "--tenant", "acme").stderr
    assert "built-in" in run("show").stderr
    assert run("reset", "--tenant", "acme").exit_code == 0
    assert "built-in" in run("show", "--tenant", "acme").stderr
    assert "nothing to do" in run("reset", "--tenant", "acme").stderr
    assert "given up" in run("history", "--tenant", "acme").stdout


def test_rules_are_tried_on_labelled_messages(tmp_path: Path) -> None:
    labelled = tmp_path / "labelled.jsonl"
    labelled.write_text('{"text": "b a d", "label": "hold"}\n{"text": "good", "label": true}\n')
    done = run("test", labelled, "--rules", file_of(tmp_path, RULE))
    assert done.exit_code == 0
    assert "100.0%" in done.stdout
    assert "50.0%" in done.stdout
    found = msgspec.json.decode(run("test", labelled, "--rules", file_of(tmp_path, RULE), "--json").stdout)
    assert found["misses"] == [{"line": 2, "label": "touch", "done": "allow", "rules": ""}]
    shadow = file_of(tmp_path, {**RULE, "shadow": True})
    assert msgspec.json.decode(run("test", labelled, "--rules", shadow, "--json").stdout)["recall"] == 0
    seen = run("test", labelled, "--rules", shadow, "--with-shadow", "--json").stdout
    assert msgspec.json.decode(seen)["recall"] == 0.5
    labelled.write_text('{"text": "x"}\n')
    refused = run("test", labelled, "--rules", shadow)
    assert refused.exit_code == 1
    assert "line 1" in refused.stderr


def test_a_backtest_reads_the_archive_day_by_day(
    tmp_path: Path, topic: RuleLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class Reader:
        def __init__(self, *_: Any) -> None: ...

        def rows(self, table: Any, *, tenant: str, days: Any, columns: Any) -> Any:
            asked.append((table.name, tenant, days[1] - days[0]))
            assert set(columns) <= set(table.names)
            known = dict.fromkeys(columns)
            for number, text in enumerate(["b a d", "fine", None] if table.name == "events" else ["kys"]):
                yield known | {
                    "id": f"{table.name}-{number}",
                    "type": "message.sent",
                    "time": AT,
                    "received_at": AT - timedelta(seconds=number),
                    "channel_id": "c",
                    "user_id": "u",
                    "text": text,
                }

    archive = SimpleNamespace(ArchiveReader=Reader, Archive=lambda: None)
    monkeypatch.setattr(trials, "import_module", lambda _: archive)
    file = tmp_path / "rule.json"
    file.write_bytes(msgspec.json.encode(RULE))
    done = run("backtest", file, "--days", "2", "--tenant", "acme", "--json")
    found = msgspec.json.decode(done.stdout)
    assert (found["messages"], found["today"]) == (6, {"allow": 4, "block": 2})
    assert found["changes"] == [{"today": "allow", "proposed": "hold", "messages": 2}]
    assert found["rules"] == {"x": 2, "threats": 2}
    assert asked == [(name, "acme", timedelta()) for _ in range(2) for name in ("events", "held")]
    assert "SUCH AS" in run("backtest", file, "--tenant", "acme").stdout
    file.write_bytes(msgspec.json.encode({"rules": [RULE | {"kind": "flood"}]}))
    assert run("backtest", file).exit_code == 1


def test_a_backtest_counts_a_released_message_once(
    tmp_path: Path, topic: RuleLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Reader:
        def __init__(self, *_: Any) -> None: ...

        def rows(self, table: Any, *, columns: Any, **_: Any) -> Any:
            known = dict.fromkeys(columns) | {"type": "message.sent", "time": AT, "received_at": AT, "channel_id": "c"}
            yield known | {"id": "released", "text": "bad", "late": True if table.name == "events" else None}
            yield known | {"id": f"in {table.name}", "text": "fine"}

    archive = SimpleNamespace(ArchiveReader=Reader, Archive=lambda: None)
    monkeypatch.setattr(trials, "import_module", lambda _: archive)
    file = file_of(tmp_path, RULE)
    found = msgspec.json.decode(run("backtest", file, "--days", "1", "--json").stdout)
    assert (found["messages"], found["rules"]) == (3, {"x": 1})


def test_without_an_archive_the_command_says_so(
    tmp_path: Path, topic: RuleLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError("No module named 'deltalake'")

    monkeypatch.setattr(trials, "import_module", missing)
    assert "cannot be read here" in str(run("backtest", file_of(tmp_path, RULE)).exception)


def test_only_sets_that_judge_nothing_any_more_are_deleted() -> None:
    sets = [
        Published(rules=RuleSet(tenant=EVERYONE, version=n, rules=()), key=b"%d" % n, appended_ms=day * DAY)
        for n, day in enumerate((0, 3, 10, 30))
    ]
    assert expired(sets, 17 * DAY) == []
    assert expired(sets, 19 * DAY) == [b"0"]
    assert expired(sets, 90 * DAY) == [b"0", b"1", b"2"]
