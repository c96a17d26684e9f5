"""The auditor's loop: reads, asks every stage how far it is, compares, stores what changed, tells what differs."""

import threading
from collections import Counter
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import structlog
from confluent_kafka import KafkaException, Message

from infra.contracts.events import from_ms, to_ms
from infra.contracts.ledger import Minute, Stage, State
from infra.contracts.topics import ACCOUNTING, SIGNALS
from infra.contracts.windows import MINUTE
from infra.runtime.cassandra import PASSING
from infra.runtime.clock import Clock
from infra.runtime.health import Check, Progress
from infra.runtime.telemetry import LEDGER_LAG, LEDGER_MINUTES, LEDGER_OPEN
from streams.ledger.books import TP, Books, Evidence
from streams.ledger.observations import INPUTS, claim_of, elements_by_tenant, output_of
from streams.ledger.reader import Reader
from streams.ledger.settings import LedgerSettings
from streams.ledger.store import Store

log = structlog.get_logger("hubbub.ledger")

_READ_SECONDS: Final = 0.5
#: How far a broker's clock may be behind ours.
_SKEW: Final = timedelta(seconds=2)
#: Signals are forgotten first. Those this old may be gone before they are read.
_SIGNALS_KEPT: Final = timedelta(milliseconds=SIGNALS.retention_ms) - timedelta(minutes=5)


class _Snapshot(NamedTuple):
    """What the stages said at one moment, and where the log ended after that."""

    taken_at: datetime
    evidence: Evidence
    ends: dict[TP, int]


class Auditor:
    """One process's ledger. `run` returns once told to stop, or when Kafka's client is beyond repair."""

    def __init__(self, reader: Reader, store: Store, settings: LedgerSettings, clock: Clock) -> None:
        self._reader = reader
        self._store = store
        self._settings = settings
        self._clock = clock
        self._books: Books | None = None
        self._snapshot: _Snapshot | None = None
        self._read_until: datetime | None = None
        self._told: dict[tuple[str, datetime], tuple[State, Stage | None]] = {}
        self._unreadable = 0
        self._inputs_wait = self._outputs_wait = False
        self.progress = Progress(settings.stall_seconds)

    @property
    def lag(self) -> int | None:
        """Records that the last look at the log showed and that are not read yet."""
        if self._snapshot is None:
            return None
        ends = self._snapshot.ends
        return sum(max(0, end - self._reader.positions.get(tp, 0)) for tp, end in ends.items())

    def check_differences(self) -> Check:
        """Holds always: what differs is news, not a fault of the ledger. The detail says how many minutes do."""
        number = sum(state is State.DIFFERENT for state, _ in self._told.values())
        return Check(True, f"{number} minutes differ")

    def run(self, stopping: threading.Event) -> None:
        """Compare until told to stop."""
        self.start()
        last = self._clock.monotonic()
        while not stopping.is_set() and self._reader.fatal is None:
            self.read()
            if self._clock.monotonic() - last >= self._settings.check_seconds:
                last = self._clock.monotonic()
                self.check()

    def start(self) -> None:
        """Begin where the process before was done. Raises `Unreachable`, or one of `PASSING`."""
        now = self._clock.now()
        resume = self._store.resume_from()
        earliest = now - timedelta(hours=self._settings.catch_up_hours)
        since = resume or now - timedelta(minutes=self._settings.first_minutes)
        if since < earliest:
            log.warning("ledger.gap", since=since.isoformat(), until=earliest.isoformat())
            since = earliest
        since = MINUTE.start(min(since, now))
        starts = self._reader.start(since)
        self._books = Books(
            starts,
            settle_seconds=self._settings.settle_seconds,
            horizon_seconds=self._settings.horizon_minutes * 60,
            signals_from_ms=to_ms(now - _SIGNALS_KEPT),
        )
        log.info("ledger.started", since=since.isoformat(), resumed=resume is not None)

    def read(self) -> None:
        """Take what Kafka has."""
        books = self._books
        assert books is not None
        now = self._clock.monotonic()
        for tp, message in self._reader.read(_READ_SECONDS):
            try:
                self._take(books, tp, message, now)
            except ValueError as error:  # not written by the router, so it belongs to no input record
                self._unreadable += 1
                if self._unreadable == 1:
                    log.warning("ledger.unreadable", topic=tp[0], partition=tp[1], error=type(error).__name__)
            if self._read_until is None:
                self.progress.beat()  # catching up after a stop is progress, too
        most = self._settings.open_records
        # Read again at half of that, since each pause drops what was fetched. Never both sides wait, or neither could
        # settle the other.
        self._inputs_wait = books.unclaimed > (most // 2 if self._inputs_wait else most)
        self._outputs_wait = not self._inputs_wait and books.unread > (most // 2 if self._outputs_wait else most)
        self._reader.pace(inputs=not self._inputs_wait, outputs=not self._outputs_wait)

    @staticmethod
    def _take(books: Books, tp: TP, message: Message, now: float) -> None:
        topic, offset = tp[0], message.offset() or 0
        if topic in INPUTS:
            books.take_input(tp, offset, message.timestamp()[1], elements_by_tenant(message.value()), now)
        elif topic == ACCOUNTING.name:
            claim = claim_of(message)
            books.take_claim(claim.src, claim.accounting)
        else:
            output = output_of(topic, message)
            if output is not None:
                books.take_output(output.src, output.outcome, output.tenant, tp, offset)

    def check(self) -> None:
        """Compare once. An engine that does not answer is logged and asked again; readiness tells."""
        try:
            if self._snapshot is None:
                self._snapshot = self._look()
            if self._reader.fatal is not None:
                return
            if self._reader.reached(self._snapshot.ends):
                self._learn(self._snapshot)
                self._compare()
                self.progress.beat()
                self._snapshot = self._look()
            else:
                self._compare()
        except KafkaException as error:
            log.warning("kafka.unavailable", error=error.args[0].name())
        except PASSING as error:
            log.warning("cassandra.unavailable", error=type(error).__name__)

    def _look(self) -> _Snapshot:
        """Ask each stage how far it is, then where the log ends: what a stage has done stands before those ends."""
        taken_at = self._clock.now()
        evidence = Evidence(
            read_until_ms=to_ms(taken_at - _SKEW),
            router=self._reader.committed("router"),
            history=self._reader.committed("history"),
            analytics=self._reader.here(self._store.analytics_offsets()),
        )
        return _Snapshot(taken_at, evidence, self._reader.ends())

    def _learn(self, snapshot: _Snapshot) -> None:
        assert self._books is not None
        self._books.learn(snapshot.evidence)
        self._read_until = snapshot.taken_at - _SKEW

    def _compare(self) -> None:
        books, now = self._books, self._clock.now()
        assert books is not None
        if self._read_until is None:
            return  # still reading what was there at the start: a part of a minute must not replace the whole
        minutes = list(books.minutes(to_ms(now)))
        changed = books.changed(minutes)
        self._store.write(changed, now)
        books.stored(changed)
        self._tell(minutes)
        given_up = books.close(minutes, self._clock.monotonic(), self._settings.open_records)
        if given_up:
            log.warning("ledger.given_up", minutes=[from_ms(start).isoformat() for start in given_up])
        self._store.write_progress(from_ms(books.resume_from_ms), self._read_until, now)
        LEDGER_OPEN.set(books.open_records)
        LEDGER_LAG.set(max(0.0, (now - self._read_until).total_seconds()))

    def _tell(self, minutes: list[Minute]) -> None:
        """Log what became late or different, or healed, once; count both by stage."""
        numbers: Counter[tuple[State, Stage]] = Counter()
        told = {}
        for minute in minutes:
            key, verdict = (minute.tenant, minute.start), (minute.state, minute.stage)
            before = self._told.get(key, (State.OPEN, None))
            if minute.stage is not None:
                numbers[minute.state, minute.stage] += 1
            if verdict != before:
                if minute.stage is not None:
                    log.warning(
                        "ledger.stage",
                        state=minute.state,
                        tenant=minute.tenant,
                        minute=minute.start.isoformat(),
                        stage=minute.stage,
                        expected=minute.expected,
                        found=minute.found,
                        src=minute.src,
                    )
                elif before[1] is not None:
                    log.info("ledger.healed", tenant=minute.tenant, minute=minute.start.isoformat(), stage=before[1])
            told[key] = verdict
        self._told = told
        for state in (State.LATE, State.DIFFERENT):
            for stage in Stage:
                LEDGER_MINUTES.labels(state, stage).set(numbers[state, stage])
