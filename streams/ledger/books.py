"""The books: input records against claims against outputs, joined by `src`, added up by tenant and minute.

An input record is open until everything it should have become is seen; then it is folded into its minute and
forgotten, so memory holds what is unsettled. Whatever comes for a record already folded is a replay and counts no more.
Nothing here waits, reads a clock or does I/O.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from infra.contracts.events import from_ms
from infra.contracts.headers import Src
from infra.contracts.ledger import Minute, Stage, State
from infra.contracts.records import OUTCOMES, Accounting, Outcome
from infra.contracts.topics import EVENTS, EVENTS_BACKFILL, HELD
from infra.contracts.windows import MINUTE

#: Topic by its contract name, and partition.
TP = tuple[str, int]
#: The topics whose records end in history, and those that are counted in windows.
HISTORY_TOPICS: Final = frozenset({EVENTS.name, EVENTS_BACKFILL.name, HELD.name})
ANALYTICS_TOPICS: Final = frozenset({EVENTS.name, HELD.name})

_WIDTH: Final = MINUTE.width // timedelta(milliseconds=1)
#: Outcomes that leave a record; a duplicate leaves none.
_WRITTEN: Final = tuple(outcome for outcome in OUTCOMES if outcome != "duplicates")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """How far each stage says it is, and how far the ledger has read since it said so. Offsets are the next to do."""

    #: Everything appended before this moment has been read, in every topic.
    read_until_ms: int = 0
    router: Mapping[TP, int] = field(default_factory=dict)
    history: Mapping[TP, int] = field(default_factory=dict)
    analytics: Mapping[TP, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Count:
    """One tenant's numbers, of a minute or of one input record."""

    accepted: int = 0
    claimed: dict[str, int] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    #: Output partition → how many records there, and the offset after the last of them.
    places: dict[TP, tuple[int, int]] = field(default_factory=dict)

    def add(self, other: "_Count") -> None:
        self.accepted += other.accepted
        for mine, theirs in ((self.claimed, other.claimed), (self.seen, other.seen)):
            for outcome, number in theirs.items():
                mine[outcome] = mine.get(outcome, 0) + number
        for place, (number, end) in other.places.items():
            before, high = self.places.get(place, (0, 0))
            self.places[place] = (before + number, max(high, end))

    @property
    def missing_at(self) -> Stage | None:
        """The first stage whose numbers differ."""
        if self.accepted != sum(self.claimed.values()):
            return Stage.ROUTER
        if any(self.claimed.get(o, 0) != self.seen.get(o, 0) for o in _WRITTEN):
            return Stage.TOPICS
        return None


class _Open:
    """One input record of which not everything has been seen."""

    __slots__ = ("by_tenant", "claimed", "minute", "seen")

    def __init__(self) -> None:
        self.minute: int | None = None
        self.claimed = False
        self.by_tenant: dict[str, _Count] = {}
        #: Index and outcome of every output seen: a replay repeats one of them.
        self.seen: set[tuple[int, Outcome]] = set()

    def of(self, tenant: str) -> _Count:
        found = self.by_tenant.get(tenant)
        if found is None:
            found = self.by_tenant[tenant] = _Count()
        return found

    @property
    def missing_at(self) -> Stage | None:
        if not self.claimed:
            return Stage.ROUTER
        stages = {count.missing_at for count in self.by_tenant.values()}
        return next((stage for stage in (Stage.ROUTER, Stage.TOPICS) if stage in stages), None)


@dataclass(slots=True)
class _Page:
    """One minute: what is settled by tenant, and the input records that are not."""

    since: float
    settled: dict[str, _Count] = field(default_factory=dict)
    open: set[Src] = field(default_factory=set)


@dataclass(slots=True)
class _Finding:
    """What is wrong with one tenant's part of a minute, so far."""

    different: dict[Stage, Src] = field(default_factory=dict)
    waiting: dict[Stage, Src] = field(default_factory=dict)


class Books:
    """The books from `starts` on: the first offset of each input partition that is in them.

    Signals of minutes before `signals_from_ms` are believed as claimed: the log may have forgotten them.
    """

    def __init__(
        self, starts: Mapping[TP, int], *, settle_seconds: float, horizon_seconds: float, signals_from_ms: int = 0
    ) -> None:
        self._starts = dict(starts)
        self._read = dict(starts)
        self._settle_ms = int(settle_seconds * 1000)
        self._horizon = horizon_seconds
        self._signals_from = signals_from_ms
        self._open: dict[Src, _Open] = {}
        self._pages: dict[int, _Page] = {}
        self._stored: dict[tuple[int, str], Minute] = {}
        self._evidence = Evidence()
        #: Open records that were read as input and that no claim has come for.
        self.unclaimed = 0
        #: Open records known by a claim or an output alone.
        self.unread = 0

    # What is read

    def take_input(self, tp: TP, offset: int, appended_ms: int, accepted: Mapping[str, int], now: float) -> None:
        """An input record: whose elements it holds. `now` is in monotonic seconds."""
        if offset < self._read.get(tp, 0):
            return
        self._read[tp] = offset + 1
        key = Src(*tp, offset, 0)
        record = self._open.get(key)
        if record is None:
            record = self._open[key] = _Open()
        else:
            self.unread -= 1
        record.minute = appended_ms // _WIDTH * _WIDTH
        for tenant, number in accepted.items():
            record.of(tenant).accepted = number
        page = self._pages.get(record.minute)
        if page is None:
            page = self._pages[record.minute] = _Page(since=now)
        page.open.add(key)
        self.unclaimed += not record.claimed
        self._settle(key, record)

    def take_claim(self, src: Src, claim: Accounting) -> None:
        """The router's accounting of an input record. A replay says the same again and changes nothing."""
        record = self._record(src)
        if record is None:
            return
        if not record.claimed:
            record.claimed = True
            self.unclaimed -= record.minute is not None
        for count in record.by_tenant.values():
            count.claimed = {}
        for tenant, outcomes in claim.tenants.items():
            record.of(tenant).claimed = dict(outcomes)
        self._settle(Src(src.topic, src.partition, src.offset, 0), record)

    def take_output(self, src: Src, outcome: Outcome, tenant: str, place: TP, offset: int) -> None:
        """One element in a topic the router writes."""
        record = self._record(src)
        if record is None or (src.index, outcome) in record.seen:
            return
        record.seen.add((src.index, outcome))
        count = record.of(tenant)
        count.seen[outcome] = count.seen.get(outcome, 0) + 1
        if place[0] in HISTORY_TOPICS:
            number, end = count.places.get(place, (0, 0))
            count.places[place] = (number + 1, max(end, offset + 1))
        self._settle(Src(src.topic, src.partition, src.offset, 0), record)

    def learn(self, evidence: Evidence) -> None:
        """What the stages said and how far was read since."""
        self._evidence = evidence

    # What is said

    @property
    def open_records(self) -> int:
        """Input records that are not settled."""
        return len(self._open)

    @property
    def resume_from_ms(self) -> int:
        """The start of the first minute that may still change."""
        read = self._evidence.read_until_ms // _WIDTH * _WIDTH
        return min((*self._pages, read))

    def minutes(self, now_ms: int) -> Iterator[Minute]:
        """Every minute in the books as it stands now, oldest first."""
        for start in sorted(self._pages):
            yield from self._minutes_of(start, self._pages[start], now_ms)

    def changed(self, minutes: Iterable[Minute]) -> list[Minute]:
        """Those of these minutes that are not stored as they are."""
        return [m for m in minutes if self._stored.get((_ms(m), m.tenant)) != m]

    def stored(self, minutes: Iterable[Minute]) -> None:
        """These are stored."""
        for minute in minutes:
            self._stored[_ms(minute), minute.tenant] = minute

    def close(self, minutes: Iterable[Minute], now: float, most_open: int) -> list[int]:
        """Forget what these minutes, all stored, say for good: minutes that are balanced for every tenant.

        Those that have not become so within the horizon are given up, the oldest also where more than `most_open`
        records stay different. Returns the minutes given up, in milliseconds since the epoch.
        """
        unbalanced = {_ms(m) for m in minutes if m.state is not State.BALANCED}
        given_up = []
        for start in sorted(self._pages):
            # A little longer than until it is read: a broker's clock may be behind ours.
            if self._evidence.read_until_ms < start + _WIDTH + self._settle_ms:
                break
            if start in unbalanced:
                crowded = len(self._open) - self.unclaimed - self.unread > most_open
                if not crowded and now - self._pages[start].since <= self._horizon:
                    continue
                given_up.append(start)
            self._forget(start)
        return given_up

    # Inside

    def _record(self, src: Src) -> _Open | None:
        """The open record that an output or a claim belongs to; None for one that is folded or before the books."""
        key = Src(src.topic, src.partition, src.offset, 0)
        record = self._open.get(key)
        if record is not None:
            return record
        tp = (src.topic, src.partition)
        if tp not in self._starts or src.offset < self._read[tp]:
            return None
        self.unread += 1
        record = self._open[key] = _Open()
        return record

    def _settle(self, key: Src, record: _Open) -> None:
        if record.minute is None:
            return
        if record.minute < self._signals_from:
            for count in record.by_tenant.values():
                count.seen["signals"] = count.claimed.get("signals", 0)
        if record.missing_at is not None:
            return
        page = self._pages[record.minute]
        for tenant, count in record.by_tenant.items():
            settled = page.settled.get(tenant)
            if settled is None:
                settled = page.settled[tenant] = _Count()
            settled.add(count)
        page.open.discard(key)
        del self._open[key]

    def _forget(self, start: int) -> None:
        page = self._pages.pop(start)
        for key in page.open:
            self.unclaimed -= not self._open.pop(key).claimed
        for found in [key for key in self._stored if key[0] == start]:
            del self._stored[found]

    def _is_read(self, start: int) -> bool:
        return self._evidence.read_until_ms >= start + _WIDTH

    def _minutes_of(self, start: int, page: _Page, now_ms: int) -> Iterator[Minute]:
        counts = {tenant: _Count() for tenant in page.settled}
        for tenant, settled in page.settled.items():
            counts[tenant].add(settled)
        findings: dict[str, _Finding] = {}
        for key in sorted(page.open):
            record = self._open[key]
            passed = self._evidence.router.get((key.topic, key.partition), 0) > key.offset
            for tenant, count in record.by_tenant.items():
                counts.setdefault(tenant, _Count()).add(count)
                stage = count.missing_at if record.claimed else Stage.ROUTER
                if stage is None:
                    continue
                finding = findings.setdefault(tenant, _Finding())
                # What the router claims is its last word; what it only began is not.
                proven = passed or (record.claimed and stage is Stage.ROUTER)
                (finding.different if proven else finding.waiting).setdefault(stage, key)
        for tenant, count in counts.items():
            yield self._minute(start, tenant, count, findings.get(tenant, _Finding()), now_ms)

    def _minute(self, start: int, tenant: str, count: _Count, finding: _Finding, now_ms: int) -> Minute:
        evidence = self._evidence
        history = {p: n for p, n in count.places.items() if p[0] in HISTORY_TOPICS}
        analytics = {p: n for p, n in count.places.items() if p[0] in ANALYTICS_TOPICS}
        state, stage = State.BALANCED, None
        late = [stage for stage in Stage if stage in finding.waiting]
        if not self._is_read(start):
            late.append(Stage.LEDGER)
        if _done(history, evidence.history) < _total(history):
            late.append(Stage.HISTORY)
        if _done(analytics, evidence.analytics) < _total(analytics):
            late.append(Stage.ANALYTICS)
        if finding.different:
            state = State.DIFFERENT
            stage = next(stage for stage in Stage if stage in finding.different)
        elif late and now_ms < start + _WIDTH + self._settle_ms:
            state = State.OPEN
        elif late:
            state, stage = State.LATE, late[0]
        expected = found = None
        if stage is Stage.ROUTER:
            expected, found = count.accepted, sum(count.claimed.values())
        elif stage is Stage.TOPICS:
            expected, found = _compare(count)
        elif stage is Stage.HISTORY:
            expected, found = _total(history), _done(history, evidence.history)
        elif stage is Stage.ANALYTICS:
            expected, found = _total(analytics), _done(analytics, evidence.analytics)
        shown = None if stage is None else finding.different.get(stage, finding.waiting.get(stage))
        return Minute(
            tenant=tenant,
            start=from_ms(start),
            accepted=count.accepted,
            duplicates=count.claimed.get("duplicates", 0),
            state=state,
            stage=stage,
            expected=expected,
            found=found,
            src=None if shown is None else f"{shown.topic}/{shown.partition}/{shown.offset}",
            **{outcome: count.seen.get(outcome, 0) for outcome in _WRITTEN},
        )


def _compare(count: _Count) -> tuple[int, int]:
    """Outputs claimed and seen. Where some are missing, what stands in a topic that claims less does not make up."""
    expected = sum(count.claimed.get(o, 0) for o in _WRITTEN)
    matched = sum(min(count.claimed.get(o, 0), count.seen.get(o, 0)) for o in _WRITTEN)
    return expected, matched if matched < expected else sum(count.seen.get(o, 0) for o in _WRITTEN)


def _total(places: Mapping[TP, tuple[int, int]]) -> int:
    return sum(number for number, _ in places.values())


def _done(places: Mapping[TP, tuple[int, int]], offsets: Mapping[TP, int]) -> int:
    """Records in partitions that are done as far as this minute goes: at least so many are."""
    return sum(number for place, (number, end) in places.items() if offsets.get(place, 0) >= end)


def _ms(minute: Minute) -> int:
    return round(minute.start.timestamp() * 1000)
