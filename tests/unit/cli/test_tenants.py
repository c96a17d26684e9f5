"""`hubbub tenants` changes what it is told to and nothing else."""

from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from infra.cli import app, tenants
from infra.contracts.control import Limits, SlowMode, Tenant
from infra.runtime.control import Directory
from infra.runtime.errors import PreconditionError

DEMO = Tenant(id="demo", name="Demo", timezone="Europe/Berlin", cors_origins=("*",), limits=Limits(user_rate=7))


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[Tenant]:
    """What the commands publish; it is there for the next command."""
    found: list[Tenant] = []
    directory = Directory()
    directory.tenants["demo"] = DEMO

    def publish(_: Any, records: list[Tenant]) -> None:
        for record in records:
            found.append(record)
            directory.apply(record.record_key, msgspec.json.encode(record))

    monkeypatch.setattr(tenants, "read_directory", lambda _: directory)
    monkeypatch.setattr("infra.runtime.control.publish", publish)
    return found


def run(*words: str) -> Any:
    return CliRunner().invoke(app, ["tenants", *words], env={"COLUMNS": "160"})


def test_what_is_not_named_stays(published):
    assert run("set", "demo", "--channel-rate", "100").exit_code == 0
    assert published == [msgspec.structs.replace(DEMO, limits=Limits(user_rate=7, channel_rate=100))]


def test_slow_mode_is_set_changed_and_taken_away(published):
    done = run("set", "demo", "--slow-mode")
    assert "slow mode after 10 s, a message in 30 s, calm 60 s" in done.stderr
    run("set", "demo", "--slow-interval", "5")
    run("set", "demo", "--no-slow-mode")
    modes = [tenant.limits.slow_mode for tenant in published]
    assert modes == [SlowMode(), SlowMode(interval=5), None]
    assert published[-1] == DEMO


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["set", "demo"], 2),
        (["set", "demo", "--channel-rate", "0"], 2),
        (["set", "demo", "--no-slow-mode", "--slow-calm", "5"], 2),
        (["set", "demo", "--slow-calm", "999999"], 2),
    ],
)
def test_bad_usage(published, words, code):
    assert run(*words).exit_code == code
    assert not published


def test_an_unknown_tenant_is_a_precondition(published):
    assert isinstance(run("set", "nobody", "--channel-rate", "5").exception, PreconditionError)


def test_the_list(published):
    run("set", "demo", "--slow-mode")
    shown = run("list").stdout
    assert "demo" in shown
    assert "calm 60 s" in shown
    (told,) = msgspec.json.decode(run("list", "--json").stdout)
    assert (told["id"], told["limits"]["user_rate"], told["limits"]["slow_mode"]["after"]) == ("demo", 7, 10)
