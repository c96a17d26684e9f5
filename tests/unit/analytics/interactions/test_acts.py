"""What is read of a record: who did it on which device, what was said or taken back, and what is nobody's doing."""

from typing import Any

import msgspec
import pytest

from analytics.interactions.acts import Act, Unreadable, read
from tests.unit.analytics.interactions.told import at, event


def act(*args: Any, **fields: Any) -> Act | None:
    return read(msgspec.json.encode(event(*args, **fields)), 3, at(100)).act


def test_a_message_is_said_by_its_author_where_it_says() -> None:
    fields = {"thread_id": "t", "reply_to": "q", "message_id": "m", "properties": {"channel_type": "direct", "x": [1]}}
    assert act(0, "e", **fields) == Act(
        tenant="acme", id="e", time=at(0), partition=3, author="ann", device="", verb="say", channel_id="general",
        thread_id="t", message_id="m", reply_to="q", direct=True,
    )  # fmt: skip
    unnamed = act(0, "e", user_id=None, anonymous_id="visitor")
    assert unnamed is not None
    assert (unnamed.author, unnamed.device, unnamed.message_id, unnamed.direct) == ("visitor", "visitor", "e", False)


@pytest.mark.parametrize(
    ("context", "device"),
    [
        ({"device": {"id": "d1", "model": "x"}}, "d1"),
        ({"device": {"id": 7}}, "7"),
        ({"device": {"model": "x"}}, '{"model":"x"}'),
        ({"device": "web"}, "web"),
        ({"device": None}, "a1"),
        ({"os": "linux"}, "a1"),
        (None, "a1"),
    ],
)
def test_a_device_is_what_the_context_names(context: dict[str, Any] | None, device: str) -> None:
    found = act(0, "e", context=context, anonymous_id="a1")
    assert found is not None
    assert found.device == device


@pytest.mark.parametrize("type_", ["receipt.delivered", "message.blocked"])
def test_what_devices_and_moderators_do_is_no_sign_of_a_person(type_: str) -> None:
    found = act(0, "e", type_, message_id="m")
    assert found is None or found.device is None


def test_a_bot_says_nothing_but_its_delete_takes_back() -> None:
    assert act(0, "e", is_bot=True) is None
    found = act(0, "e", "message.deleted", is_bot=True, message_id="m")
    assert found is not None
    assert (found.verb, found.device, found.message_id) == ("delete", None, "m")


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"\xff",
        b"[1]",
        b'{"id":"a","type":"x","time":"2026-03-14T09:00:00","tenant":"acme","user_id":"u"}',
        b'{"id":"a","type":"x","time":"2026-03-14T12:00:00Z","tenant":"acme","user_id":"u"}',
    ],
)
def test_what_is_no_event_or_claims_to_come_from_the_future_is_unreadable(value: bytes | None) -> None:
    with pytest.raises(Unreadable):
        read(value, 0, at(100))
