"""The rows of review: what a rule stopped, what a moderator decided about it, whose it was and which days it changes.

Everything a decision writes carries the time of the decision, so a replay ends in the same cells. Of several copies of
one decision the first counts, of several marks of one day the last, and of several blocks of one message the last, as
in its row.
"""

from typing import Final

import msgspec

from infra.contracts import review, tables
from infra.contracts.events import Event, from_ms, to_ms
from infra.contracts.placement import create_write_time, day
from infra.contracts.review import Decision, Verb
from infra.contracts.tables import Statement
from streams.history.rows import ROW_OVERHEAD, Row, stamp_of

_encode = msgspec.json.Encoder().encode
_HELD: Final = {Verb.RELEASE: tables.RELEASE_HELD, Verb.REJECT: tables.REJECT_HELD}
_NOTES: Final = {Verb.RELEASE: tables.NOTE_RELEASED, Verb.REJECT: tables.NOTE_REJECTED}


def stopped(event: Event, action: str, envelope: bytes, verdict: bytes, src: str | None, position: str) -> list[Row]:
    """What an event that a rule held or blocked asks for. `position` is partition/offset in `held`."""
    tenant, received_at = stamp_of(event)
    on = day(received_at)
    values = (create_write_time(received_at), envelope, verdict, src, position, tenant, on, event.id)
    return [
        Row(tables.HOLD_MESSAGE, values, (tenant, on), ROW_OVERHEAD + len(envelope) + len(verdict)),
        _note(tables.NOTE_STOPPED, create_write_time(received_at), action, event),
    ]


def decided(decision: Decision) -> list[Row]:
    """What a decision asks for, beside the event that carries it out."""
    written, line = create_write_time(decision.decided_at), _encode(review.entry_of(decision))
    on = day(decision.decided_at)
    size = ROW_OVERHEAD + len(line)
    kept = (written, line, decision.tenant, on, decision.id)
    rows = [Row(tables.KEEP_DECISION, kept, (decision.tenant, on), size)]
    if decision.held is None:
        return rows
    event = decision.held.event
    _, received_at = stamp_of(event)
    held_on = day(received_at)
    values = (written, line, decision.tenant, held_on, event.id)
    rows.append(Row(_HELD[decision.verb], values, (decision.tenant, held_on), size))
    rows.append(_note(_NOTES[decision.verb], written, to_ms(decision.decided_at), event))
    mark = dirty if decision.verb is Verb.RELEASE else removed
    rows.append(mark(decision.tenant, to_ms(event.time), to_ms(decision.decided_at)))
    return rows


def taken_out(created: Event, blocked_ms: int) -> list[Row]:
    """What is noted once a message hidden at this time is known: whose it was, and the day it had counted in."""
    tenant, _ = stamp_of(created)
    return [
        _note(tables.NOTE_BLOCKED, blocked_ms * 1000, blocked_ms, created),
        dirty(tenant, to_ms(created.time), blocked_ms),
    ]


def dirty(tenant: str, moment_ms: int, changed_ms: int) -> Row:
    """The UTC day of this moment has to be counted again. A report that was made earlier than the mark is stale."""
    return Row(tables.MARK_DIRTY, (changed_ms * 1000, changed_ms, tenant, day(from_ms(moment_ms))), (tenant,))


def removed(tenant: str, moment_ms: int, deleted_ms: int) -> Row:
    """Of the UTC day of this moment, what says what became of messages has to be counted again, and no window."""
    return Row(tables.MARK_REMOVED, (deleted_ms * 1000, deleted_ms, tenant, day(from_ms(moment_ms))), (tenant,))


def _note(statement: Statement, written: int, value: str | int, event: Event) -> Row:
    tenant, received_at = stamp_of(event)
    return Row(statement, (written, value, tenant, event.author, day(received_at), event.id), (tenant, event.author))
