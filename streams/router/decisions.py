"""What a moderator's decision becomes: one event for everybody, and the decision itself for history.

A released event goes on as it was received, marked late and judged no more. A reject or block becomes
`message.blocked`, which hides its message wherever it may be shown, also where a release came before it.
"""

from typing import Final

import msgspec

from infra.contracts import codec
from infra.contracts import headers as h
from infra.contracts.events import MESSAGE_BLOCKED, Event, Invalid
from infra.contracts.review import Decision, Verb
from infra.runtime.kafka import Headers
from streams.router.deliveries import Output

#: The stage of a dead letter that is a decision.
STAGE: Final = h.DECISION.decode()
#: Who sends what a decision becomes, and the `source` of it.
_AUTHOR: Final = "hubbub"
_SOURCE: Final = "review"

_encode = msgspec.json.Encoder().encode


def is_decision(headers: Headers | None) -> bool:
    """Whether a record of `ingest` holds decisions; clients cannot set the header that says so."""
    return any(name == h.KIND and value in (h.DECISION, STAGE) for name, value in headers or ())


def event_of(decision: Decision) -> Event:
    """The event that carries the decision out."""
    if decision.verb is not Verb.RELEASE:
        return Event(
            id=decision.id,
            type=MESSAGE_BLOCKED,
            time=decision.decided_at,
            channel_id=decision.channel_id,
            user_id=_AUTHOR,
            message_id=decision.message_id,
            tenant=decision.tenant,
            received_at=decision.decided_at,
            source=_SOURCE,
        )
    if decision.held is None:
        raise Invalid("missing_field", "held", "a release needs what is held")
    return msgspec.structs.replace(decision.held.event, late=True)


def outputs_of(decision: Decision, src: bytes, *, events: str, held: str) -> list[Output]:
    """The records a decision becomes, given the topics as the cluster names them."""
    headers: Headers = [(h.SRC, src)]
    if decision.verb is Verb.RELEASE and decision.held is not None:
        verdict = decision.held.verdict
        headers.append((h.RULE, f"{verdict.rule}@{verdict.version}".encode()))
    return [
        Output(events, codec.encode(event_of(decision)), decision.key, headers),
        Output(held, _encode(decision), decision.key, [(h.SRC, src), (h.KIND, h.DECISION)]),
    ]
