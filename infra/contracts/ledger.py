"""The ledger people see: per tenant and minute, what was accepted and where all of it is.

`accepted = events + signals + held + blocked + dlq + duplicates`. A minute is that of the input record's append time.
"""

from datetime import datetime
from enum import StrEnum

import msgspec


class State(StrEnum):
    """What is known of a minute."""

    #: Records may still arrive, or it is too early to expect every stage to have followed.
    OPEN = "open"
    #: Every stage agrees. This does not change any more.
    BALANCED = "balanced"
    #: A stage has not followed in the time it has for that. Nothing is missing as far as is known.
    LATE = "late"
    #: A stage says that it is done, and its result is not what it should be.
    DIFFERENT = "different"


class Stage(StrEnum):
    """A step of an event's way, in the order in which it is taken."""

    #: Every element of an input record is claimed by the router's accounting of it.
    ROUTER = "ingest-to-router"
    #: Every outcome claimed stands in its topic.
    TOPICS = "router-to-topics"
    #: Everything in the topics has been read by the ledger.
    LEDGER = "topics-to-ledger"
    #: Every record of events and held is confirmed in conversation history.
    HISTORY = "topics-to-history"
    #: Every record of live events and held is counted in a metric window.
    ANALYTICS = "topics-to-analytics"


class Minute(msgspec.Struct, frozen=True, kw_only=True):
    """One minute of one tenant. What cannot be told to be a tenant's stands under the empty one.

    `accepted` is counted in the input records themselves, `duplicates` is the router's claim, the rest is counted in
    the topics it writes. Of a minute that is late or different, `stage` is the first to be so, with how many elements
    it was to have and has, and `src` an input record that shows it.
    """

    tenant: str
    start: datetime
    accepted: int
    events: int
    signals: int
    held: int
    blocked: int
    dlq: int
    duplicates: int
    state: State
    stage: Stage | None = None
    expected: int | None = None
    found: int | None = None
    src: str | None = None
