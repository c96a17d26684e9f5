"""March 2026 of a small community in Berlin, written by hand, whose every number can be worked out on paper.

In it are a repetition, events out of order, an edit, a question taken back, a bot, a message that a rule held, an
answer that a moderator blocked a day later, a session over midnight, one in the night the clocks change, and a message
that came two days late. Beside it stand two days of a help desk, a tenant of its own, with what response times trip
over: a thread that is opened again, a reply to what was answered long ago, and conversations between two.
"""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from tests.integration.analytics.archived import Fact, fact

BERLIN = ZoneInfo("Europe/Berlin")


def said(number: int, local: str, who: str, channel: str, outcome: str = "events", **more: Any) -> Fact:
    """An event at this time on Berlin's clocks; a message unless told otherwise."""
    moment = datetime.fromisoformat(f"2026-03-{local}").replace(tzinfo=BERLIN).astimezone(UTC)
    return fact(number, moment, outcome, user_id=who, channel_id=channel, **more)


def later(found: Fact, **by: int) -> Fact:
    """The same, received so much later."""
    event, outcome = found
    assert event.received_at is not None
    return msgspec.structs.replace(event, received_at=event.received_at + timedelta(**by)), outcome


def again(found: Fact) -> Fact:
    """A client's repetition: received two minutes later, its time corrected to something else."""
    event, outcome = later(found, minutes=2)
    return msgspec.structs.replace(event, time=event.time + timedelta(seconds=2)), outcome


def month() -> list[Fact]:
    """The events in the order they were received."""
    edit = said(6, "02 10:20", "ann", "help", type="message.edited", message_id="e1")
    facts = [
        # Monday, 2 March.
        said(1, "02 10:00", "ann", "help"),
        said(2, "02 10:03", "ann", "help"),
        said(3, "02 10:10", "bob", "help"),
        said(4, "02 10:12", "ann", "help", type="reaction.added", message_id="e3", reaction="+1"),
        said(21, "02 10:12", "ann", "help", type="reaction.added", message_id="e3", reaction="tada"),
        said(5, "02 10:15", "robo", "help", is_bot=True),
        edit,
        again(edit),
        said(7, "02 14:00", "cem", "general"),
        said(8, "02 14:01", "cem", "general", type="message.deleted", message_id="e7"),
        said(9, "02 15:00", "dan", "general", "held"),
        said(10, "02 23:50", "ann", "general"),
        # Tuesday.
        said(11, "03 00:05", "ann", "general"),
        said(12, "03 09:00", "bob", "help", type="receipt.read", message_id="e2"),
        # Wednesday of the next week; what eve says is taken down a day later.
        said(13, "11 12:00", "ann", "help"),
        later(said(14, "11 12:30", "bob", "help", reply_to="e13"), seconds=1),
        said(15, "11 12:10", "eve", "help"),
        said(16, "12 10:00", "hubbub", "help", type="message.blocked", message_id="e15"),
        # Sunday, 29 March: at two o'clock it is three. Dan was on a train until Tuesday.
        said(17, "29 01:45", "ann", "general"),
        said(18, "29 03:10", "ann", "general"),
        later(said(19, "29 12:00", "dan", "general"), days=2),
        # Tuesday, the last of the month.
        said(20, "31 23:30", "cem", "general"),
        *desk(),
    ]
    return sorted(facts, key=lambda found: found[0].received_at or found[0].time)


def desk() -> list[Fact]:
    """Tuesday, 17 March, and the day after, of the tenant `other`."""
    first, second = ({"tenant": "other", "thread_id": thread} for thread in ("t1", "t2"))
    direct: dict[str, Any] = {"tenant": "other", "properties": {"channel_type": "direct"}}
    return [
        # Kim is answered after 20 minutes, comes back to the thread the day after, and is answered after 5.
        said(101, "17 09:00", "kim", "desk", **first),
        said(102, "17 09:20", "sam", "desk", **first),
        said(103, "18 10:00", "kim", "desk", **first),
        said(104, "18 10:05", "sam", "desk", **first),
        # Lee is answered after 10 minutes; half an hour later max replies to the question, too.
        said(105, "17 11:00", "lee", "desk", **second),
        said(106, "17 11:10", "sam", "desk", **second),
        said(107, "17 11:40", "max", "desk", reply_to="e105", **second),
        # Between two, an answer may take 24 hours: one takes 21, one 24 and a half.
        said(108, "17 12:00", "kim", "kim-sam", **direct),
        said(109, "18 09:00", "sam", "kim-sam", **direct),
        said(110, "17 13:00", "kim", "kim-lee", **direct),
        said(111, "18 13:30", "lee", "kim-lee", **direct),
    ]
