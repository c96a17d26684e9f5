"""`hubbub import` reads each format, and says what is wrong with what it was told."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from infra.cli import app
from infra.runtime.errors import PreconditionError
from tests.unit.ingest import slack_workspace as ws

pytestmark = pytest.mark.unit


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["import", "--dry-run", *map(str, words)])


def test_a_log_is_summed_up_by_type_and_by_what_is_left_out(tmp_path: Path) -> None:
    told, silent = tmp_path / "2005-01-01.txt", tmp_path / "2005-01-02.txt"
    told.write_text("=== ada [~a@host]  has joined #c\n[10:00] <ada> hi\n=== ada is now known as eve\n?\n")
    silent.write_text("[10:00] <ada> hi\n")
    result = run(told, silent, "--format", "irc")
    assert result.exit_code == 1
    assert "1 logs name no channel: taken to be of #c" in result.stderr
    assert f"{told}:4: invalid_field" in result.stderr
    figures = dict(line.rsplit(None, 1) for line in result.stdout.splitlines()[1:])
    assert figures["events: channel.joined"] == "1"
    assert figures["events: message.sent"] == "2"
    assert figures["left out: rename"] == "1"
    assert figures["refused"] == "1"


def test_settings_of_a_log_are_taken(tmp_path: Path) -> None:
    log = tmp_path / "2005-01-01.txt"
    log.write_text("[10:00] <ada> hi\n=== ada waves\n")
    found = run(log, "--format", "irc", "--channel", "#c", "--bots", "ada, eve", "--untimed-actions", "--json")
    assert found.exit_code == 0
    assert json.loads(found.stdout)["events"] == {"message.sent": 2}


def test_an_export_may_be_a_folder(tmp_path: Path) -> None:
    found = run(ws.unpacked(tmp_path / "export", ws.export()), "--format", "slack", "--json")
    assert found.exit_code == 0
    assert json.loads(found.stdout)["events"]["message.sent"] == 11


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--format", "xml"), "one of jsonl, irc, slack"),
        (("--channel", "#c"), "need --format irc"),
        (("--format", "slack", "--untimed-actions"), "need --format irc"),
    ],
)
def test_usage_is_told(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    log = tmp_path / "2005-01-01.txt"
    log.write_text("")
    result = run(log, *words)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    result = run(tmp_path)
    assert result.exit_code == 2
    assert "is a folder" in result.stderr


def test_a_log_without_a_channel_is_a_precondition(tmp_path: Path) -> None:
    log = tmp_path / "2005-01-01.txt"
    log.write_text("[10:00] <ada> hi\n")
    assert isinstance(run(log, "--format", "irc").exception, PreconditionError)
