"""Who waited for an answer, who gave it, and how long it took: one conversation, read once in the order of its times.

The rule is that of docs/metrics.md. A wait opens at the first unanswered message of a participant, and what they say
after it does not move it. It closes at the first message of somebody else. A reply that names what it answers closes
that wait alone, and none if it names something else. A wait is cancelled when its author takes back everything they
said in it, and is unanswered once it is older than the conversation's patience; then their next message opens another.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

#: How long a wait stands open among many, and between two.
GROUP_PATIENCE: Final = timedelta(hours=8)
DIRECT_PATIENCE: Final = timedelta(hours=24)


class Said(NamedTuple):
    """A message by a person that people could see."""

    id: str
    author: str
    time: datetime
    reply_to: str | None = None


class End(StrEnum):
    """How a wait ended, or that it has not."""

    ANSWERED = "answered"
    UNANSWERED = "unanswered"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Wait:
    """One wait that was not cancelled, with the message that opened it and the one that answered it, if any has."""

    opened: Said
    end: End
    answer: Said | None = None

    @property
    def seconds(self) -> float | None:
        """From the opening to the answer."""
        return None if self.answer is None else (self.answer.time - self.opened.time).total_seconds()


class Conversation:
    """The open waits of one conversation. Feed it messages and deletes by their time, those of one time by id.

    `patience` may grow while it goes on. With `most`, no more people than that wait, and no more messages are kept of
    any of them: the oldest wait gives way, and ends as `OPEN`.
    """

    def __init__(
        self, patience: timedelta, waits: Mapping[str, Sequence[Said]] | None = None, *, most: int | None = None
    ) -> None:
        self.patience = patience
        self._most = most
        #: By author, their unanswered messages, the first of which opened the wait.
        self._waits = {author: list(messages) for author, messages in (waits or {}).items()}

    @property
    def waits(self) -> Mapping[str, Sequence[Said]]:
        """Who waits: by author, their unanswered messages, the first of which opened the wait."""
        return self._waits

    def holds(self, message_id: str) -> bool:
        """Whether this message is an unanswered one."""
        return any(message.id == message_id for messages in self._waits.values() for message in messages)

    def copy(self) -> "Conversation":
        """Another that goes on from here."""
        return Conversation(self.patience, self._waits, most=self._most)

    def say(self, said: Said) -> Iterator[Wait]:
        """The waits that end by this message or before it."""
        yield from self.answer(said)
        own = self._waits.setdefault(said.author, [])
        if self._most is None or len(own) < self._most:
            own.append(said)
        if self._most is not None and len(self._waits) > self._most:
            oldest = min(self._waits, key=lambda author: self._waits[author][0].time)
            yield Wait(self._waits.pop(oldest)[0], End.OPEN)

    def answer(self, said: Said) -> Iterator[Wait]:
        """The waits that end by a message elsewhere, in a thread say, which names what it answers, or before it."""
        yield from self.expire(said.time)
        for author in [author for author in self._waits if self._is_answered(author, said)]:
            yield Wait(self._waits.pop(author)[0], End.ANSWERED, said)

    def delete(self, message_id: str, moment: datetime) -> Iterator[Wait]:
        """The waits that ended before this message was deleted; its own is cancelled, or opens at the author's next."""
        yield from self.expire(moment)
        self._waits = {
            author: kept
            for author, messages in self._waits.items()
            if (kept := [message for message in messages if message.id != message_id])
        }

    def expire(self, moment: datetime) -> Iterator[Wait]:
        """The waits that nobody had answered in time by then."""
        oldest = moment - self.patience
        for author in [author for author, messages in self._waits.items() if messages[0].time < oldest]:
            yield Wait(self._waits.pop(author)[0], End.UNANSWERED)

    def close(self, moment: datetime) -> Iterator[Wait]:
        """What is left, as of this moment, after which nothing is known."""
        yield from self.expire(moment)
        for messages in self._waits.values():
            yield Wait(messages[0], End.OPEN)
        self._waits.clear()

    def _is_answered(self, author: str, said: Said) -> bool:
        if author == said.author:
            return False
        return said.reply_to is None or any(message.id == said.reply_to for message in self._waits[author])
