"""One input record in, every record it becomes out: each element ends in exactly one outcome, and all are counted.

Nothing here waits, reads a clock or keeps state, so the same record, after the same records, always becomes the same
outputs.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import msgspec
import structlog

from infra.contracts import codec, placement, review, topics
from infra.contracts import headers as h
from infra.contracts.dead_letters import INTERNAL, MAX_BYTES, letter_headers
from infra.contracts.events import Event, Invalid, check_type, to_ms
from infra.contracts.headers import Src
from infra.contracts.records import Accounting, Action, Held, Judged, Outcome
from infra.contracts.topics import Topic
from infra.runtime.kafka import Headers
from infra.runtime.settings import Kafka
from infra.runtime.telemetry import RULES_VERSION
from streams.router.book import RuleBook, Ruling
from streams.router.decisions import STAGE as DECISION
from streams.router.decisions import is_decision, outputs_of
from streams.router.deliveries import Output
from streams.router.steps.folding import fold
from streams.router.steps.judging import JUDGED, Judgement
from streams.router.steps.memory import Memory
from streams.router.steps.stamping import check_tenant, stamp, tenant_of

log = structlog.get_logger("hubbub.router")

_encode = msgspec.json.Encoder().encode
#: Indices as they stand at the end of a `src` header.
_INDEX: Final = tuple(b"%d" % number for number in range(4_096))


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record of an input topic, by the topic's contract name."""

    topic: str
    partition: int
    offset: int
    appended_at: datetime
    value: bytes | None
    headers: Headers | None = None


@dataclass(slots=True)
class Routed:
    """What a record became."""

    outputs: list[Output] = field(default_factory=list)
    #: How many elements of which tenant ended how.
    tally: dict[tuple[str, Outcome], int] = field(default_factory=lambda: defaultdict(int))
    #: Rule and action of each; what is only noted is `shadow`.
    verdicts: list[tuple[str, str]] = field(default_factory=list)
    accepted: int = 0
    #: Elements that failed by our own fault.
    unexpected: int = 0


class Router:
    """Routes the records of one input topic, judged by what the rule book says of their time.

    `memory` is that of the record's partition, up to the record; historical lanes have none.
    """

    def __init__(self, source: Topic, kafka: Kafka, book: RuleBook) -> None:
        self._source = source.name
        self._historical = source is topics.BACKFILL
        self._book = book
        #: By whose it is, the version that judged last.
        self._versions: dict[str, int] = {}
        self._events = kafka.topic(topics.LANES[source.name].name)
        self._signals = kafka.topic(topics.SIGNALS.name)
        self._held = kafka.topic(topics.HELD.name)
        self._verdicts = kafka.topic(topics.VERDICTS.name)
        self._dlq = kafka.topic(topics.DLQ.name)
        self._accounting = kafka.topic(topics.ACCOUNTING.name)

    def route(self, record: Record, memory: Memory | None = None) -> Routed:
        """Everything this record becomes. Never raises for what is in it."""
        routed = Routed()
        prefix = b"%s/%d/%d/" % (record.topic.encode(), record.partition, record.offset)
        try:
            elements = self._split(record)
        except Invalid as refused:
            routed.accepted = 1
            self._bury(routed, record, h.WHOLE, record.value or b"", "split", refused)
        except Exception as error:
            routed.accepted = 1
            self._blame(routed, record, h.WHOLE, record.value or b"", error)
        else:
            routed.accepted = len(elements)
            if is_decision(record.headers):
                self._route_decisions(routed, record, elements, prefix)
            else:
                self._route_elements(routed, record, elements, prefix, memory)
        routed.outputs.append(self._account(routed, record, prefix))
        return routed

    def remember(self, record: Record, memory: Memory) -> None:
        """Take the record into the memory as `route` does, without outputs."""
        if is_decision(record.headers):
            return  # what it lets through was remembered when it was said
        try:
            elements = self._split(record)
        except Invalid:
            return
        self._route_elements(Routed(), record, elements, None, memory)

    def _split(self, record: Record) -> list[msgspec.Raw]:
        if record.value is None:
            raise Invalid("invalid_field", None, "the record has no value")
        return codec.split(record.value)

    def _route_elements(
        self,
        routed: Routed,
        record: Record,
        elements: list[msgspec.Raw],
        prefix: bytes | None,
        memory: Memory | None,
    ) -> None:
        """Route each element; without a prefix for their `src`, only remember them."""
        seen: set[tuple[str, str]] = set()
        known: str | None = None
        ruling: Ruling | None = None
        appended_ms = to_ms(record.appended_at)
        for index, raw in enumerate(elements):
            stage = "decode"
            try:
                event = codec.decode(raw)
                check_type(event.type)
                stage = "stamp"
                tenant = event.tenant
                if tenant is None or tenant != known:
                    tenant = known = check_tenant(tenant)
                    ruling = self._ruling(tenant, appended_ms)
                changed = stamp(event, record.appended_at, self._historical)
                identity = (tenant, event.id)
                if identity in seen:
                    routed.tally[tenant, "duplicates"] += 1
                    continue
                seen.add(identity)
                stage = "route"
                assert ruling is not None
                judgement = None
                if event.text is not None and event.type in JUDGED and (memory is not None or not ruling.judge.idle):
                    folded = fold(event.text)
                    recall = memory.note(tenant, event, folded.text, appended_ms) if memory is not None else None
                    if prefix is not None:
                        judgement = ruling.judge.judge(event, folded, recall)
                if prefix is not None:
                    src = prefix + (_INDEX[index] if index < 4_096 else b"%d" % index)
                    self._place(routed, event, tenant, None if changed else raw, src, judgement)
            except Invalid as refused:
                self._bury(routed, record, index, bytes(raw), stage, refused)
            except Exception as error:
                self._blame(routed, record, index, bytes(raw), error)

    def _ruling(self, tenant: str, appended_ms: int) -> Ruling:
        ruling = self._book.at(tenant, appended_ms)
        if self._versions.get(ruling.tenant) != ruling.version:
            self._versions[ruling.tenant] = ruling.version
            RULES_VERSION.labels(self._source, ruling.tenant).set(ruling.version)
        return ruling

    def _route_decisions(self, routed: Routed, record: Record, elements: list[msgspec.Raw], prefix: bytes) -> None:
        """Carry decisions out. Each counts as the one event that it becomes."""
        for index, raw in enumerate(elements):
            try:
                decision = review.decode(raw)
                tenant = check_tenant(decision.tenant)
                src = prefix + b"%d" % index
                routed.outputs += outputs_of(decision, src, events=self._events, held=self._held)
                routed.tally[tenant, "events"] += 1
            except Invalid as refused:
                self._bury(routed, record, index, bytes(raw), DECISION, refused)
            except Exception as error:
                self._blame(routed, record, index, bytes(raw), error)

    def _place(
        self,
        routed: Routed,
        event: Event,
        tenant: str,
        raw: msgspec.Raw | None,
        src: bytes,
        judgement: Judgement | None,
    ) -> None:
        """Choose the topic, encode. `raw` is the event's own bytes if they may travel on as they are."""
        value = codec.encode(event) if raw is None else bytes(raw)
        if event.is_signal:
            key = f"{tenant}:{event.author}".encode()
            routed.outputs.append(Output(self._signals, value, key, [(h.SRC, src)]))
            routed.tally[tenant, "signals"] += 1
            return
        key = placement.key(tenant, event)
        if judgement is not None:
            self._apply(routed, event, tenant, key, src, value, judgement)
            return
        routed.outputs.append(Output(self._events, value, key, [(h.SRC, src)]))
        routed.tally[tenant, "events"] += 1

    def _apply(
        self, routed: Routed, event: Event, tenant: str, key: bytes, src: bytes, value: bytes, judgement: Judgement
    ) -> None:
        """What the rules decided. On historical events, and in shadow, they only leave a note."""
        headers: Headers = [(h.SRC, src)]
        if named := judgement.rule_header:
            headers.append((h.RULE, named))
        assert event.received_at is not None
        outcome: Outcome = "events"
        main = Output(self._events, value, key, headers)
        if not self._historical and judgement.stop is not None:
            outcome = "blocked" if judgement.stop.action is Action.BLOCK else "held"
            main = Output(self._held, _encode(Held(event=event, verdict=judgement.stop)), key, headers)
        elif not self._historical and judgement.text != event.text:
            event.text = judgement.text
            main = Output(self._events, codec.encode(event), key, headers)
        outputs = [main]
        for verdict in judgement.verdicts:
            judged = Judged(
                tenant=tenant,
                event_id=event.id,
                channel_id=event.channel_id,
                received_at=event.received_at,
                verdict=verdict,
                applied=not (self._historical or verdict.shadow),
            )
            outputs.append(Output(self._verdicts, _encode(judged), key, headers))
        routed.outputs += outputs
        routed.verdicts += [(v.rule, "shadow" if v.shadow else v.action) for v in judgement.verdicts]
        routed.tally[tenant, outcome] += 1

    def _bury(self, routed: Routed, record: Record, index: int, value: bytes, stage: str, error: Invalid) -> None:
        src = Src(record.topic, record.partition, record.offset, index)
        if len(value) > MAX_BYTES:
            value = value[:MAX_BYTES]
        headers = letter_headers(src, stage, error, record.appended_at, record.headers)
        # A replay that fails again is the same dead letter, not one more. Parts of one cannot share its key.
        again = dict(record.headers or ()).get(h.REPLAY_OF) if routed.accepted == 1 else None
        key = again.encode() if isinstance(again, str) else again
        routed.outputs.append(Output(self._dlq, value, key or src.encode(), headers))
        routed.tally["" if index == h.WHOLE else tenant_of(value), "dlq"] += 1

    def _blame(self, routed: Routed, record: Record, index: int, value: bytes, error: Exception) -> None:
        """An exception no rule foresaw: the element is kept like poison, but it counts against us."""
        routed.unexpected += 1
        where = f"{record.topic}/{record.partition}/{record.offset}/{index}"
        frame = error.__traceback__
        while frame is not None and frame.tb_next is not None:
            frame = frame.tb_next
        at = f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame else ""
        log.error("router.unexpected", src=where, error=type(error).__name__, at=at)
        self._bury(routed, record, index, value, "route", Invalid(INTERNAL, None, type(error).__name__))

    def _account(self, routed: Routed, record: Record, prefix: bytes) -> Output:
        tenants: dict[str, dict[str, int]] = {}
        for (tenant, outcome), number in routed.tally.items():
            tenants.setdefault(tenant, {})[outcome] = number
        value = _encode(Accounting(appended_at=record.appended_at, accepted=routed.accepted, tenants=tenants))
        return Output(self._accounting, value, prefix[:-1], [(h.SRC, prefix + b"%d" % h.WHOLE)])
