"""A community's log made from a seed, out of order and with copies, and what a plain recount finds in it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import msgspec

from analytics.interactions.acts import read
from analytics.interactions.books import Books
from analytics.responses import DIRECT_PATIENCE, GROUP_PATIENCE, Conversation, End, Said
from infra.contracts import placement
from infra.contracts.events import HEARTBEAT, Event
from infra.contracts.interactions import COUNTS, GRAINS, bucket
from infra.contracts.windows import MINUTE, WATERMARK_DELAY

NINE = datetime(2026, 3, 14, 9, tzinfo=UTC)
PARTITIONS = 4
KINDS = {
    "message.sent": 60,
    "message.deleted": 6,
    "message.blocked": 2,
    "reaction.added": 15,
    "receipt.delivered": 5,
    "screen.seen": 12,
}
#: Partition → the values of its records, in the order of the log.
Log = dict[int, list[bytes]]
#: (tenant, scope, grain, start) → name of a count, or bucket → number; zeros are left out.
Counts = dict[tuple[str, str, str, datetime], Counter[str | int]]


def at(minute: float) -> datetime:
    return NINE + timedelta(minutes=minute)


def event(minute: float, id_: str, type_: str = "message.sent", **fields: Any) -> Event:
    """An event as the router writes it: ann in general unless told otherwise."""
    known = {"tenant": "acme", "channel_id": "general", "user_id": "ann"}
    return Event(id=id_, type=type_, time=at(minute), **{**known, **fields})


def heartbeat(minute: float) -> Event:
    return Event(id="h", type=HEARTBEAT, time=at(minute), user_id="hubbub", tenant="")


def logged(
    events: Iterable[Event], until: float | None = None, *, partitions: int = PARTITIONS, beats: float = 0
) -> Log:
    """The events in this order, then a heartbeat in each partition; with `beats`, also one every so many minutes."""
    log: Log = {partition: [] for partition in range(partitions)}
    beat = 0.0
    for one in events:
        while beats and one.time >= at(beat):
            for values in log.values():
                values.append(msgspec.json.encode(heartbeat(beat)))
            beat += beats
        log[placement.partition(placement.key(one.tenant or "", one), partitions)].append(msgspec.json.encode(one))
    if until is not None:
        for values in log.values():
            values.append(msgspec.json.encode(heartbeat(until)))
    return log


def fed(log: Mapping[int, Sequence[bytes]], books: Books | None = None, rng: Random | None = None) -> Books:
    """Books that have read on to the end of the log, partition after partition or mixed as the generator has it."""
    books = books or Books(dict.fromkeys(log, 0))
    order = [partition for partition, lane in books.lanes.items() for _ in log[partition][lane.offset :]]
    if rng is not None:
        rng.shuffle(order)
    for number, partition in enumerate(order):
        offset = books.lanes[partition].offset
        books.take(partition, offset, read(log[partition][offset], partition, at(10**6)))
        if rng is not None and number % rng.randint(1, 50) == 0:
            books.settle()
    books.settle()
    return books


def community(seed: int, count: int, minutes: float) -> list[Event]:
    """People of two tenants who talk, answer, reply, delete and fall silent; some of it out of order, twice or late."""
    rng = Random(seed)
    told: list[tuple[float, Event]] = []
    said: list[tuple[str, str]] = []
    for number in range(count):
        minute = round(rng.uniform(0, minutes), 3)
        channel = rng.choice(["general", "help", "dm", "quiet"] if rng.random() < 0.97 else ["rare"])
        fields: dict[str, Any] = {
            "tenant": rng.choice(["acme", "other"]),
            "channel_id": channel,
            "user_id": rng.choice(["ann", "bob", "cem", "dan"]),
            "context": rng.choice([None, {"device": {"id": "phone"}}, {"device": "web"}]),
        }
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        if kind == "message.sent":
            fields["is_bot"] = rng.random() < 0.05 or None
            fields["thread_id"] = rng.choice([None, None, "t1", said[-1][0] if said else None])
            fields["properties"] = {"channel_type": "direct"} if channel == "dm" and rng.random() < 0.5 else None
            if said and rng.random() < 0.3:
                fields["reply_to"] = rng.choice(said[-20:])[0]
            said.append((f"e{number}", channel))
        elif kind.startswith("message.") and said:
            fields["message_id"], fields["channel_id"] = rng.choice(said[-10:])
        elif kind == "screen.seen":
            fields["channel_id"] = None
        one = event(minute, f"e{number}", kind, **fields)
        behind = rng.choices([0.0, rng.uniform(0, 1.5), rng.uniform(5, 30)], [80, 18, 2])[0]
        told.append((minute + behind, one))
        if rng.random() < 0.05:
            told.append((minute + behind + rng.uniform(0, 1), one))
    return [one for _, one in sorted(told, key=lambda pair: pair[0])]


def recounted(log: Mapping[int, Sequence[bytes]]) -> tuple[Counts, dict[str, int]]:
    """What the watermark has passed, counted in the plainest way; and how many were late, and copies."""
    kept: list[Event] = []
    left_out = {"late": 0, "copies": 0}
    newest = []
    for values in log.values():
        seen: dict[tuple[str | None, str], datetime] = {}
        high = datetime.min.replace(tzinfo=UTC)
        for one in (msgspec.json.decode(value, type=Event) for value in values):
            high = max(high, one.time)
            if not (_is_person(one) or one.type in ("message.deleted", "message.blocked")):
                continue
            first = seen.get((one.tenant, one.id))
            if one.time < high - WATERMARK_DELAY:
                left_out["late"] += 1
            elif first is not None and first >= high - WATERMARK_DELAY:
                left_out["copies"] += 1
            else:
                seen[one.tenant, one.id] = one.time
                kept.append(one)
        newest.append(high)
    until = MINUTE.start(min(newest) - WATERMARK_DELAY)
    passed = sorted((one for one in kept if one.time < until), key=lambda one: (one.time, one.id))
    counts: Counts = defaultdict(Counter)
    _count_sessions(passed, counts)
    _count_waits(passed, counts, until)
    return dict(counts), left_out


def counted(books: Books) -> Counts:
    """What the books have in their windows, in the form of `recounted`."""
    found: Counts = {}
    for key, window in books.windows.changed:
        counts = found[key.tenant, key.scope, key.grain, key.start] = Counter[str | int](window.responses)
        counts.update({name: count for name, count in zip(COUNTS, window.counts, strict=True) if count})
    return found


def _is_person(one: Event) -> bool:
    return not one.is_bot and one.type not in ("receipt.delivered", "message.blocked", HEARTBEAT)


def _add(counts: Counts, tenant: str, scopes: Sequence[str], moment: datetime, name: str | int, number: int) -> None:
    for scope in scopes:
        for grain in GRAINS:
            counts[tenant, scope, grain.name, grain.start(moment)][name] += number


def _count_sessions(passed: Sequence[Event], counts: Counts) -> None:
    devices: dict[tuple[str, str, str], list[datetime]] = defaultdict(list)
    for one in filter(_is_person, passed):
        device = (one.context or {}).get("device", "")
        name = device["id"] if isinstance(device, dict) else device
        devices[one.tenant or "", one.author, name].append(one.time)
    for (tenant, _, _), times in devices.items():
        began, last, part = times[0], datetime.min.replace(tzinfo=UTC), 0
        for time in times:
            gap, last = time - last, time
            if gap > timedelta(minutes=30):
                began, part = time, 0
                _add(counts, tenant, ["tenant"], time, "sessions", 1)
            elif (time - began) // timedelta(hours=24) != part:
                part = (time - began) // timedelta(hours=24)
                _add(counts, tenant, ["tenant"], time, "sessions", 1)
            elif gap:
                engaged = min(gap, timedelta(minutes=5)) // timedelta(milliseconds=1)
                _add(counts, tenant, ["tenant"], time, "engaged_ms", engaged)


def _count_waits(passed: Sequence[Event], counts: Counts, until: datetime) -> None:
    talks: dict[tuple[str, str, str | None], list[Event]] = defaultdict(list)
    asides: dict[tuple[str, str], list[Event]] = defaultdict(list)
    taken_back: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for one in passed:
        if one.type == "message.sent" and _is_person(one):
            talks[one.tenant or "", one.channel_id or "", one.thread_id].append(one)
            if one.thread_id not in (None, one.target):
                asides[one.tenant or "", one.channel_id or ""].append(one)
        elif one.type in ("message.deleted", "message.blocked"):
            taken_back[one.tenant or "", one.channel_id or ""].append(one)
    for (tenant, channel, thread), messages in talks.items():
        talk, ended = Conversation(GROUP_PATIENCE), []
        elsewhere = asides[tenant, channel] if thread is None else []
        steps = sorted([*messages, *elsewhere, *taken_back[tenant, channel]], key=lambda one: (one.time, one.id))
        for one in steps:
            ended += [(wait, talk.patience) for wait in talk.expire(one.time)]
            if one.type != "message.sent":
                ended += [(wait, talk.patience) for wait in talk.delete(one.target, one.time)]
                continue
            if one.thread_id != thread:
                names = Said(one.target, one.author, one.time, one.reply_to or one.thread_id)
                ended += [(wait, talk.patience) for wait in talk.answer(names)]
                continue
            if (one.properties or {}).get("channel_type") == "direct":
                talk.patience = DIRECT_PATIENCE
            elif not talk.waits:
                talk.patience = GROUP_PATIENCE
            said = Said(one.target, one.author, one.time, one.reply_to)
            ended += [(wait, talk.patience) for wait in talk.say(said)]
        ended += [(wait, talk.patience) for wait in talk.expire(until)]
        for wait, patience in ended:
            scopes = ["tenant", f"channel:{channel}"]
            if wait.answer is not None:
                _add(counts, tenant, scopes, wait.answer.time, "answered", 1)
                _add(counts, tenant, scopes, wait.answer.time, bucket(wait.seconds or 0), 1)
            else:
                assert wait.end is End.UNANSWERED
                _add(counts, tenant, scopes, wait.opened.time + patience, "unanswered", 1)
