"""What one Kafka record tells the ledger. Headers and keys suffice for most; values are read for what only they say."""

from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec

from infra.contracts import codec, headers, topics
from infra.contracts.events import Invalid
from infra.contracts.headers import Src
from infra.contracts.records import Accounting, Action, Outcome
from streams.history.dead_letters import STAGE as HISTORY_STAGE
from streams.router.steps.stamping import tenant_of

INPUTS: Final = tuple(topics.LANES)
#: The router's topics by the outcome of what stands in them; `held` has two.
OUTPUTS: Final[dict[str, Outcome]] = {
    topics.EVENTS.name: "events",
    topics.EVENTS_BACKFILL.name: "events",
    topics.SIGNALS.name: "signals",
    topics.HELD.name: "held",
    topics.DLQ.name: "dlq",
}
#: Kinds of records that no element of an input record is counted by.
_UNCOUNTED: Final = frozenset({headers.HEARTBEAT, headers.DECISION})
#: Every topic the ledger reads, by contract name.
TOPICS: Final = (*INPUTS, topics.ACCOUNTING.name, *OUTPUTS)


#: Stages that bury what the router did not: before it had it, or after.
_NOT_OF_INPUT: Final = (headers.INGEST_STAGE.encode(), HISTORY_STAGE.encode())


class Record(Protocol):
    """The part of a consumed message that matters here."""

    def value(self) -> bytes | None: ...
    def key(self) -> Any: ...
    def headers(self) -> Any: ...  # confluent types key and headers wider than they are


@dataclass(frozen=True, slots=True)
class Output:
    """One element in a topic the router writes."""

    src: Src
    outcome: Outcome
    tenant: str


@dataclass(frozen=True, slots=True)
class Claim:
    """The router's accounting of one input record."""

    src: Src
    accounting: Accounting


class _Verdict(msgspec.Struct):
    action: Action


class _Stopped(msgspec.Struct):
    """The part of a `records.Held` that tells held from blocked."""

    verdict: _Verdict


_accounting = msgspec.json.Decoder(Accounting)
_stopped = msgspec.json.Decoder(_Stopped)


def elements_by_tenant(value: bytes | None) -> dict[str, int]:
    """How many elements of whom an input record holds. One that cannot be split is one, and nobody's."""
    if value is None:
        return {"": 1}
    try:
        elements = codec.split(value)
    except Invalid:
        return {"": 1}
    found: dict[str, int] = {}
    for element in elements:
        tenant = tenant_of(element)
        found[tenant] = found.get(tenant, 0) + 1
    return found


def claim_of(record: Record) -> Claim:
    """The claim that a record of `accounting` makes. Raises ValueError for anything that is none."""
    return Claim(_src_of(record), _accounting.decode(record.value() or b""))


def output_of(topic: str, record: Record) -> Output | None:
    """The element that stands here, or None for what is none: heartbeats, decisions, letters of ingest and history.

    A decision counts once, as the event in `events` that carries it out.

    Raises ValueError for a record the router does not write.
    """
    found = dict(record.headers() or ())
    if found.get(headers.KIND) in _UNCOUNTED or found.get(headers.STAGE) in _NOT_OF_INPUT:
        return None
    src = Src.decode(found.get(headers.SRC) or b"")
    outcome = OUTPUTS[topic]
    if topic == topics.DLQ.name:
        return Output(src, outcome, "" if src.index == headers.WHOLE else tenant_of(record.value() or b""))
    if topic == topics.HELD.name and _stopped.decode(record.value() or b"").verdict.action is Action.BLOCK:
        outcome = "blocked"
    tenant, separator, _ = (record.key() or b"").partition(b":")
    if not separator:
        raise ValueError("its key names no tenant")
    return Output(src, outcome, tenant.decode())


def _src_of(record: Record) -> Src:
    return Src.decode(dict(record.headers() or ()).get(headers.SRC) or b"")
