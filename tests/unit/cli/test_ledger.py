"""`hubbub ledger` prints the identity, names what differs and says what to do about it."""

from typing import Any

import httpx
import msgspec
import pytest
from typer.testing import CliRunner

from infra.cli import app
from infra.cli.ledger import advice


def minute(**fields: Any) -> dict[str, Any]:
    return {
        "start": "2026-03-14T12:00:00Z",
        "end": "2026-03-14T12:01:00Z",
        "state": "balanced",
        "stage": None,
        "expected": None,
        "found": None,
        "src": None,
        "accepted": 1_482,
        "events": 1_400,
        "signals": 75,
        "held": 4,
        "blocked": 1,
        "dlq": 0,
        "duplicates": 2,
    } | fields


def reply(*minutes: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"minutes": list(minutes), "as_of": "2026-03-14T12:02:00Z", "lag_seconds": 3.0} | fields


LOST = minute(state="different", stage="router-to-topics", expected=1_480, found=1_479, src="ingest/3/9")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the command against an API that answers so."""

    def run(status: int, body: dict[str, Any], *options: str) -> Any:
        def get(url: str, **_: Any) -> httpx.Response:
            assert url == "http://api/v1/ledger?minutes=5"
            return httpx.Response(status, json=body)

        monkeypatch.setattr(httpx, "get", get)
        return CliRunner().invoke(
            app, ["ledger", "--minutes", "5", "--url", "http://api", "--key", "k", *options], env={"COLUMNS": "80"}
        )

    return run


def test_balanced_minutes_are_a_table_and_exit_0(asked):
    done = asked(200, reply(minute()))
    assert done.exit_code == 0
    assert "12:00Z" in done.stdout
    assert "1,482" in done.stdout
    assert "balanced" in done.stdout


def test_a_difference_is_named_with_what_to_do_and_exits_1(asked):
    done = asked(200, reply(minute(), LOST))
    assert done.exit_code == 1
    assert "12:00Z different at router-to-topics: 1,479 of 1,480 (ingest/3/9)" in done.output
    assert "`hubbub trace ID`" in done.output


def test_json_is_what_the_api_answered(asked):
    body = reply(LOST)
    done = asked(200, body, "--json")
    assert msgspec.json.decode(done.stdout) == body
    assert done.exit_code == 1


def test_a_key_that_may_not_is_a_failed_precondition(asked):
    done = asked(403, {"detail": "The key may not do this."})
    assert str(done.exception) == "The key may not do this."


def test_advice_is_given_once_a_stage_with_what_is_lost_first():
    late = minute(state="late", stage="topics-to-history", expected=2, found=1)
    assert [line.split(":")[0] for line in advice(reply(late, LOST, LOST))] == ["router-to-topics", "topics-to-history"]


def test_a_ledger_that_stands_still_is_told():
    assert advice(reply(minute(), lag_seconds=300.0))[0].startswith("The ledger has read nothing for 300 s")
    assert "not compared anything yet" in advice(reply(as_of=None, lag_seconds=None))[0]
    assert advice(reply()) == ["Nothing was accepted in this time."]
