"""A client that keeps an fsynced ledger of every event and of what it was told, and never lets go of an id.

What it was not told (a lost connection, a 5xx, a retryable refusal) is sent again with the same id until it is told;
an event follows its sender's last one into a channel only then, so the order of each sender is known.
"""

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

import httpx
import msgspec
import uuid_utils

Outcome = Literal["accepted", "duplicate", "refused", "unknown"]

_PAUSE: Final = 0.2
_CHANNELS: Final = 8
#: What the built-in rules stop, and what becomes of it: so many of the texts end with one of these.
STOPPED: Final[dict[str, Literal["held", "blocked"]]] = {"double your bitcoin": "held", "drink bleach": "blocked"}
_STOPPED_SHARE: Final = 0.05
_WORDS: Final = ("quick", "brown", "foxes", "jump", "over", "lazy", "dogs", "and", "tell", "nobody")


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One event: `seq` counts the messages of a sender in a channel; `unknown` stands until another line follows."""

    id: str
    type: str
    channel: str
    sender: str
    seq: int | None
    text: str | None
    outcome: Outcome
    at: float


class Ledger:
    """The lines in a file, each on the disk before `write` returns. Thread safe."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: dict[str, Line] = {}
        self.counts: Counter[str] = Counter()
        self._file = path.open("ab")
        self._lock = threading.Lock()

    def write(self, lines: list[Line]) -> None:
        with self._lock:
            self._file.write(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
            self._file.flush()
            os.fsync(self._file.fileno())
            for line in lines:
                # Told once that it is stored, told for ever: that a copy is a duplicate says the same.
                if line.outcome != "duplicate" or self.lines[line.id].outcome == "unknown":
                    self.lines[line.id] = line
                self.counts[line.outcome] += 1


class Load:
    """Several connections at a steady rate, until `stop`."""

    def __init__(
        self, *, ingest_url: str, key: str, ledger: Path, rate: float, seed: int, connections: int = 4
    ) -> None:
        self.ledger = Ledger(ledger)
        self._url = ingest_url + "/v1/events"
        self._headers = {"Authorization": f"Bearer {key}"}
        self._interval = max(0.1, connections / rate)
        self.batch = max(1, round(rate * self._interval / connections))
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(n, random.Random(seed * 100 + n)), name=f"load-{n}", daemon=True)
            for n in range(connections)
        ]
        #: Seconds until the last answer of a batch, and until a 503.
        self.slowest = self.slowest_refusal = 0.0
        self.retried = 0

    def start(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def stop(self, seconds: float = 120) -> None:
        """Begin nothing new, and wait until every event sent was answered."""
        self._stopping.set()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def send(self, events: list[dict[str, Any]]) -> None:
        """Send these beside the load, and return when every one has its answer."""
        with httpx.Client(timeout=10) as client:
            self._send(client, events)

    def expect(self, event: dict[str, Any]) -> None:
        """Hold the sinks to an event that reaches them by another way, as if it had been accepted here."""
        self.ledger.write([_line(event, "accepted")])

    @property
    def accepted(self) -> int:
        return sum(line.outcome in ("accepted", "duplicate") for line in self.ledger.lines.values())

    def _run(self, number: int, rng: random.Random) -> None:
        plan = self._plan(number, rng)
        due = time.monotonic()
        with httpx.Client(timeout=10) as client:
            while not self._stopping.is_set():
                events = next(plan)
                self._send(client, events)
                if rng.random() < 0.05:
                    self._send(client, events)  # as a client does that lost the answer
                due = max(due + self._interval, time.monotonic() - 1.0)
                self._stopping.wait(max(0.0, due - time.monotonic()))

    def _plan(self, number: int, rng: random.Random) -> Iterator[list[dict[str, Any]]]:
        """Batches without end; no sender is twice in one channel within a batch."""
        pairs = [(f"u{number}-{n // _CHANNELS}", f"c{n % _CHANNELS}") for n in range(max(self.batch, 8) * 2)]
        seqs: Counter[tuple[str, str]] = Counter()
        sent: list[tuple[str, str]] = []
        while True:
            events = []
            for pair in rng.sample(pairs, self.batch):
                sender, channel = pair
                time = datetime.now(UTC) - timedelta(milliseconds=rng.randrange(50))
                if sent and rng.random() < 0.1:
                    events.append(change("reaction.added", *rng.choice(sent), by=sender, time=time, reaction="+1"))
                    continue
                seqs[pair] += 1
                events.append(message(sender, channel, text_of(rng, seqs[pair]), time))
            yield events
            sent += [(e["id"], e["channel_id"]) for e in events if e["type"] == "message.sent"]
            del sent[:-500]
            if rng.random() < 0.1 and len(sent) > 50:
                target = sent.pop(rng.randrange(len(sent)))
                if rng.random() < 0.3:
                    yield [change("message.deleted", *target)]
                else:
                    yield [change("message.edited", *target, text="edited " + rng.choice(_WORDS))]

    def _send(self, client: httpx.Client, events: list[dict[str, Any]]) -> None:
        """Send until every event has its answer. What is unknown when the load stops for good stays unknown."""
        open_events = events
        self.ledger.write([_line(e, "unknown") for e in events if e["id"] not in self.ledger.lines])
        began = time.monotonic()
        while open_events:
            asked = time.monotonic()
            try:
                reply = client.post(self._url, json=open_events, headers=self._headers)
            except httpx.TransportError:
                self.retried += 1
                time.sleep(_PAUSE)  # a client's own pause between two attempts
                continue
            if reply.status_code == httpx.codes.SERVICE_UNAVAILABLE:
                self.slowest_refusal = max(self.slowest_refusal, time.monotonic() - asked)
            told, left = _read(reply, open_events)
            if told:
                self.ledger.write(told)
            if left:
                self.retried += 1
                time.sleep(_PAUSE)
            open_events = left
        self.slowest = max(self.slowest, time.monotonic() - began)


def _read(reply: httpx.Response, events: list[dict[str, Any]]) -> tuple[list[Line], list[dict[str, Any]]]:
    """What the reply says of each event, and the events it leaves open."""
    if reply.status_code == 200:
        return [_line(e, "accepted" if reply.json()["accepted"] else "duplicate") for e in events], []
    if reply.status_code == 207:
        errors = {error["index"]: error for error in reply.json()["errors"]}
        told, left = [], []
        for index, event in enumerate(events):
            if index not in errors:
                told.append(_line(event, "accepted"))
            elif errors[index]["retryable"]:
                left.append(event)
            else:
                told.append(_line(event, "refused"))
        return told, left
    if 400 <= reply.status_code < 500 and reply.status_code != 429:
        return [_line(e, "refused") for e in events], []
    return [], events


def message(sender: str, channel: str, text: str, time: datetime | None = None) -> dict[str, Any]:
    """A message with a new id."""
    return _event("message.sent", channel, sender, time) | {"text": text}


def change(
    kind: str, message_id: str, channel: str, *, by: str = "moderator", time: datetime | None = None, **fields: str
) -> dict[str, Any]:
    """An edit, a deletion or a reaction to a message."""
    return _event(kind, channel, by, time) | {"message_id": message_id} | fields


def text_of(rng: random.Random, seq: int) -> str:
    """A text that begins with a number; a share of them is stopped by the built-in rules."""
    stopped = rng.choice(list(STOPPED)) if rng.random() < _STOPPED_SHARE else ""
    return f"{seq} {' '.join(rng.choices(_WORDS, k=8))} {stopped}".rstrip()


def outcome_of(text: str | None) -> Literal["events", "held", "blocked"]:
    """What becomes of an event with this text, if it is accepted."""
    return next((outcome for words, outcome in STOPPED.items() if (text or "").endswith(words)), "events")


def seq_of(text: str | None) -> int | None:
    """The number that texts of the load begin with."""
    first = (text or "").split(" ", 1)[0]
    return int(first) if first.isdecimal() else None


def _event(kind: str, channel: str, sender: str, time: datetime | None) -> dict[str, Any]:
    return {
        "id": str(uuid_utils.uuid7()),
        "type": kind,
        "time": (time or datetime.now(UTC)).isoformat(),
        "channel_id": channel,
        "user_id": sender,
    }


def _line(event: dict[str, Any], outcome: Outcome) -> Line:
    text = event.get("text")
    return Line(
        id=event["id"],
        type=event["type"],
        channel=event["channel_id"],
        sender=event["user_id"],
        seq=seq_of(text) if event["type"] == "message.sent" else None,
        text=text,
        outcome=outcome,
        at=time.time(),
    )
