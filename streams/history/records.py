"""What one Kafka record asks of history: steps, nothing, or to be a dead letter."""

from typing import Any, Final, Protocol

import msgspec

from infra.contracts import codec, headers, review, topics
from infra.contracts.events import Invalid
from streams.history import reviews
from streams.history.cells import Cells
from streams.history.rows import Step, Steps

#: The topics whose records end in history.
INPUTS: Final = (topics.EVENTS, topics.EVENTS_BACKFILL, topics.HELD)


class Record(Protocol):
    """The part of a consumed message that matters here."""

    def value(self) -> bytes | None: ...
    def headers(self) -> Any: ...  # confluent types it wider than the list of name and bytes it is
    def partition(self) -> int | None: ...
    def offset(self) -> int | None: ...


class _Stopped(msgspec.Struct):
    """A `records.Held` whose parts stay as they are written."""

    event: msgspec.Raw
    verdict: msgspec.Raw


class _Verdict(msgspec.Struct):
    action: str


_verdict = msgspec.json.Decoder(_Verdict)
_stopped = msgspec.json.Decoder(_Stopped)


def steps_of(record: Record, *, held: bool, cells: Cells, now: float) -> Steps | Step:
    """The record's steps; an empty one when history keeps nothing of it. Raises `Invalid` for poison."""
    src, rules, kind = None, [], None
    for name, value in record.headers() or []:
        if name == headers.SRC and value is not None:
            src = value.decode(errors="replace")
        elif name == headers.RULE and value is not None:
            rules.append(value.decode(errors="replace"))
        elif name == headers.KIND:
            kind = value
    if kind == headers.HEARTBEAT:
        return ()
    body = record.value()
    if body is None:
        raise Invalid("invalid_field", None, "the record has no value")
    if kind == headers.DECISION:
        return reviews.decided(review.decode(body))
    if not held:
        try:
            event = codec.decode(body)
        except Invalid as error:
            if error.code == "forbidden_type":  # Hubbub's own: the router lets no client's through
                return ()
            raise
        return cells.steps(event, body, src, ",".join(rules), now)
    try:
        stopped = _stopped.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid("invalid_field", None, f"not a held record: {error}") from None
    envelope, verdict = bytes(stopped.event), bytes(stopped.verdict)
    try:
        verdict.decode()  # no decoder looks into what it does not need
    except UnicodeDecodeError as error:
        raise Invalid("invalid_field", "verdict", f"not UTF-8: {error.reason}") from None
    try:
        action = _verdict.decode(verdict).action
    except msgspec.MsgspecError as error:
        raise Invalid("invalid_field", "verdict", f"not a verdict: {error}") from None
    position = f"{record.partition() or 0}/{record.offset() or 0}"
    return reviews.stopped(codec.decode(envelope), action, envelope, verdict, src, position)
