"""What has become of the events of one request so far, and in the end what its sender is told."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from infra.contracts.events import Invalid
from infra.contracts.problems import EVENT_CODES, ItemError
from infra.runtime.telemetry import ACCEPTED, LIMITED
from ingest.bodies import Batch
from ingest.buckets import Refusal
from ingest.framer import Frame

_OUTCOMES: Final = {outcome: ACCEPTED.labels(outcome) for outcome in ("accepted", "duplicate", *EVENT_CODES)}


@dataclass(frozen=True, slots=True)
class Waiting:
    """A second copy, whose outcome is that of the first: `same` says whether the bodies are."""

    index: int
    id: str
    frame: Frame
    same: bool


@dataclass(frozen=True, slots=True)
class Letter:
    """An item that is being buried, and why."""

    index: int
    id: str | None
    invalid: Invalid
    done: "asyncio.Future[bool]"

    @property
    def stored(self) -> bool:
        return self.done.done() and self.done.result()


class Request:
    """One request. `settle` closes it."""

    def __init__(self, batch: Batch, request_id: str) -> None:
        self.batch = batch
        self.id = request_id
        #: Index, id and frame of each event on its way: plain tuples, one is made for every event.
        self.placed: list[tuple[int, str, Frame]] = []
        self.waiting: list[Waiting] = []
        self.letters: list[Letter] = []
        self.errors: list[ItemError] = []
        #: How many events each limit kept out.
        self.limited: Counter[Refusal] = Counter()
        self.accepted = 0
        self.duplicates = 0
        self.dead_letters = 0

    def refuse(self, index: int, event_id: str | None, invalid: Invalid) -> None:
        """This event is not stored."""
        code = invalid.code
        self.errors.append(
            ItemError(
                index=index,
                id=event_id,
                code=code,
                field=invalid.field,
                message=invalid.message,
                retryable=EVENT_CODES[code],
            )
        )

    def limit(self, index: int, event_id: str | None, refusal: Refusal) -> None:
        """This event has to wait for a limit."""
        self.limited[refusal] += 1
        self.refuse(index, event_id, Invalid("rate_limited", None, refusal.message))

    def repeat(self, index: int, event_id: str, frame: Frame | None, same: bool) -> None:
        """A second copy: told now if the first is stored, else once its outcome is known."""
        if frame is not None:
            self.waiting.append(Waiting(index, event_id, frame, same))
        elif same:
            self.duplicates += 1
        else:
            self.refuse(index, event_id, conflict())

    def bury(self, index: int, event_id: str | None, invalid: Invalid) -> None:
        """This item is not an event, but it is stored."""
        self.refuse(index, event_id, invalid)
        self.dead_letters += 1

    def pending(self) -> Iterator["asyncio.Future[bool]"]:
        """What this request waits for."""
        frames = {frame for _, _, frame in self.placed}
        frames.update(waiting.frame for waiting in self.waiting)
        yield from (frame.done for frame in frames if not frame.done.done())
        yield from (letter.done for letter in self.letters if not letter.done.done())

    def settle(self) -> None:
        """Judge what waited for Kafka: what has no report by now is unavailable."""
        if all(frame.stored for frame in {frame for _, _, frame in self.placed}):
            self.accepted = len(self.placed)
        else:
            for index, event_id, frame in self.placed:
                if frame.stored:
                    self.accepted += 1
                else:
                    self.refuse(index, event_id, _unconfirmed())
        for waiting in self.waiting:
            if not waiting.frame.stored:
                self.refuse(waiting.index, waiting.id, _unconfirmed())
            elif waiting.same:
                self.duplicates += 1
            else:
                self.refuse(waiting.index, waiting.id, conflict())
        for letter in self.letters:
            if letter.stored:
                self.bury(letter.index, letter.id, letter.invalid)
            else:
                self.refuse(letter.index, letter.id, _unconfirmed())
        self.errors.sort(key=lambda error: error.index)

    def count(self) -> None:
        """Add it to the metrics."""
        _OUTCOMES["accepted"].inc(self.accepted)
        _OUTCOMES["duplicate"].inc(self.duplicates)
        for error in self.errors:
            _OUTCOMES[error.code].inc()
        for refusal, number in self.limited.items():
            LIMITED.labels(refusal.limit).inc(number)


def conflict() -> Invalid:
    """The id is taken by another body."""
    return Invalid("conflict", "id", "this id was sent before with another body")


def _unconfirmed() -> Invalid:
    return Invalid("unavailable", None, "Kafka did not confirm it in time; send it again")
