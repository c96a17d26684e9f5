"""One channel's conversations, twice: as the watermark has settled them, and as they look with what came since.

The second is what people see who ask who waits now, and nothing of it is ever counted. It is made anew from the first
each time something settles and, where that is cheap, whenever an event comes out of order.
"""

from bisect import insort
from collections.abc import Iterator
from datetime import datetime, timedelta
from operator import attrgetter, itemgetter
from typing import Final, NamedTuple

import msgspec

from analytics.interactions.acts import Act
from analytics.responses import DIRECT_PATIENCE, GROUP_PATIENCE, Conversation, End, Said, Wait
from infra.contracts.interactions import BOARD_WAITS, Board, Waiting

#: The most people that wait in one conversation, and messages that are kept of each.
MOST: Final = 100
#: With more acts than this before them, those that come out of order are put in their place within the minute.
_FEW: Final = 500
_ORDER: Final = attrgetter("order")

#: Thread → conversation; outside of threads it is None.
_Threads = dict[str | None, Conversation]


class Ended(NamedTuple):
    """A wait that has ended: how, when, and after how many seconds of waiting if it was answered."""

    end: End
    moment: datetime
    seconds: float | None


class Saved(msgspec.Struct, frozen=True, array_like=True):
    """One conversation in a snapshot."""

    thread_id: str | None
    patience: timedelta
    waits: dict[str, list[Said]]


class Channel:
    """The conversations of one channel, each of which ends when nobody waits in it."""

    __slots__ = ("_ahead", "_board", "_pending", "_settled", "id")

    def __init__(self, channel_id: str, saved: list[Saved] | None = None) -> None:
        self.id = channel_id
        self._settled: _Threads = {
            one.thread_id: Conversation(one.patience, one.waits, most=MOST) for one in saved or ()
        }
        self._pending: list[Act] = []
        self._ahead: _Threads | None = None
        self._board: Board | None = None

    def __bool__(self) -> bool:
        """Whether there is anything to remember."""
        return bool(self._settled or self._pending)

    @property
    def saved(self) -> list[Saved]:
        """What is settled, for a snapshot; what came since is kept by who feeds this."""
        return [
            Saved(thread, conversation.patience, {author: list(said) for author, said in conversation.waits.items()})
            for thread, conversation in self._settled.items()
        ]

    def hear(self, act: Act) -> None:
        """An act that is not settled yet, in whatever order they come."""
        self._board = None
        in_order = not self._pending or act.order > self._pending[-1].order
        if in_order:
            self._pending.append(act)
        else:
            insort(self._pending, act, key=_ORDER)
        if not in_order and len(self._pending) <= _FEW:
            self._ahead = None
        elif self._ahead is not None:
            _exhaust(_apply(self._ahead, act))

    def settle(self, moment: datetime) -> Iterator[Ended]:
        """The waits that are known to have ended before this moment, now that nothing can come before it."""
        count = next((n for n, act in enumerate(self._pending) if act.time >= moment), len(self._pending))
        settling, self._pending = self._pending[:count], self._pending[count:]
        for act in settling:
            yield from _apply(self._settled, act)
        for conversation in self._settled.values():
            yield from _ended(conversation, conversation.expire(moment))
        self._settled = {thread: one for thread, one in self._settled.items() if one.waits}
        self._ahead = self._board = None

    @property
    def board(self) -> Board:
        """Who waits now, as far as anybody knows."""
        if self._board is None:
            opened = [
                (messages[0].time, messages[0].id, thread, messages[0].author)
                for thread, conversation in self._newest().items()
                for messages in conversation.waits.values()
            ]
            opened.sort(key=itemgetter(0, 1))
            self._board = Board(
                total=len(opened),
                longest=[self._wait(*one) for one in opened[:BOARD_WAITS]],
                newest=[self._wait(*one) for one in opened[: -BOARD_WAITS - 1 : -1]],
            )
        return self._board

    def _wait(self, time: datetime, message_id: str, thread_id: str | None, author: str) -> Waiting:
        return Waiting(channel_id=self.id, thread_id=thread_id, message_id=message_id, author=author, since=time)

    def _newest(self) -> _Threads:
        if not self._pending:
            return self._settled
        if self._ahead is None:
            self._ahead = {thread: conversation.copy() for thread, conversation in self._settled.items()}
            for act in self._pending:
                _exhaust(_apply(self._ahead, act))
        return self._ahead


def _apply(threads: _Threads, act: Act) -> Iterator[Ended]:
    """Take in one act. A delete need not say which thread its message is in."""
    if act.verb == "delete":
        for conversation in threads.values():
            if conversation.holds(act.message_id):
                yield from _ended(conversation, conversation.delete(act.message_id, act.time))
        return
    if (root := act.thread_id) is not None and root != act.message_id and (outside := threads.get(None)) is not None:
        # The thread's first message waits outside of it.
        yield from _ended(outside, outside.answer(act.said._replace(reply_to=act.said.reply_to or root)))
    conversation = threads.get(act.thread_id) or threads.setdefault(
        act.thread_id, Conversation(GROUP_PATIENCE, most=MOST)
    )
    # A conversation in which nobody waits is as good as a new one, whether or not it was looked at in between.
    yield from _ended(conversation, conversation.expire(act.time))
    if act.direct:
        conversation.patience = DIRECT_PATIENCE
    elif not conversation.waits:
        conversation.patience = GROUP_PATIENCE
    yield from _ended(conversation, conversation.say(act.said))


def _ended(conversation: Conversation, waits: Iterator[Wait]) -> Iterator[Ended]:
    for wait in waits:
        if wait.answer is not None:
            yield Ended(wait.end, wait.answer.time, wait.seconds)
        else:
            yield Ended(wait.end, wait.opened.time + conversation.patience, None)


def _exhaust(ended: Iterator[Ended]) -> None:
    for _ in ended:
        pass
