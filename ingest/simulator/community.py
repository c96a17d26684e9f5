"""A community as a function of its seed: an endless stream of events, each with the second at which it is sent.

Few channels and few people do most of it (Zipf). A person is in some channels and joins each before anything else
there; people write, answer, react, read, edit and delete; bots report; raids fill one channel for a second; some events
are sent late and some twice.
"""

import heapq
from bisect import bisect
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import accumulate, count
from random import Random
from typing import Any, Final

from infra.contracts import events
from infra.contracts.events import Event, to_ms, truncate_ms
from ingest.client.ids import TAIL_BITS, uuid7
from ingest.simulator import speech
from ingest.simulator.rhythm import arrivals

_DAILY_FROM_SECONDS: Final = 3_600.0
_RAIDERS: Final = 20
_KINDS: Final = {
    events.MESSAGE_SENT: 58,
    events.REACTION_ADDED: 15,
    events.RECEIPT_READ: 12,
    events.TYPING_STARTED: 7,
    events.MESSAGE_EDITED: 3,
    events.RECEIPT_DELIVERED: 2,
    events.MESSAGE_DELETED: 1,
    events.REACTION_REMOVED: 1,
    events.SESSION_STARTED: 0.5,
    events.SESSION_ENDED: 0.5,
}
_TOPICS: Final = ("general", "random", "help", "music", "games", "photos", "travel", "dev", "memes", "新手", "café")
_NAMES: Final = ("ada", "bo", "chen", "dara", "eli", "fatima", "goran", "hana", "ines", "jürgen", "kofi", "lea")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """How much of the plan is out of the ordinary, as shares of 1."""

    late: float = 0.01
    """Events sent five seconds to a minute after they happened."""
    duplicate: float = 0.01
    """Events sent a second time."""
    caught: float = 0.02
    """Messages with something in them that rules catch."""
    bots: float = 0.04
    """Messages written by bots."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One send. `sends` is how often this event is sent in all; `as_server` says which key it takes."""

    offset: float
    event: Event
    as_server: bool
    is_copy: bool = False
    sends: int = 1


@dataclass(frozen=True, slots=True)
class _Post:
    id: str
    author: str
    thread: str | None


@dataclass(slots=True)
class _Channel:
    id: str
    is_created: bool = False
    members: set[str] = field(default_factory=set)
    recent: deque[_Post] = field(default_factory=lambda: deque(maxlen=50))
    reactions: deque[tuple[str, str, str]] = field(default_factory=lambda: deque(maxlen=50))


class Zipf:
    """Draws indexes below `size`, the n-th with weight 1/n."""

    def __init__(self, size: int) -> None:
        self._weights = list(accumulate(1 / (n + 1) for n in range(size)))

    def draw(self, rng: Random) -> int:
        """An index."""
        return min(bisect(self._weights, rng.random() * self._weights[-1]), len(self._weights) - 1)


class Community:
    """The plan of one seed from one start. Two communities of the same arguments plan the same, ids included."""

    def __init__(
        self,
        *,
        users: int,
        channels: int,
        rate: float,
        seed: int,
        start: datetime,
        duration: float | None = None,
        shares: Shares | None = None,
    ) -> None:
        if users < 1 or channels < 1 or rate <= 0:
            raise ValueError("a community has people, channels and a rate above 0")
        self._rng = Random(seed)  # noqa: S311 - a plan that can be repeated, no secret
        self._start = truncate_ms(start)
        self._duration = duration
        self._shares = shares or Shares()
        self._users = [f"{_NAMES[n % len(_NAMES)]}-{n:04d}" for n in range(users)]
        self._bots = [f"bot-{n}" for n in range(max(1, users // 200))]
        self._channels = [_Channel(f"{_TOPICS[n % len(_TOPICS)]}-{n:03d}") for n in range(channels)]
        self._who, self._where = Zipf(users), Zipf(channels)
        self._homes: dict[str, list[_Channel]] = {}
        self._raid: tuple[int, _Channel, list[str]] | None = None
        self._counter = count(seed % 1_000 << 30)
        daily = duration is not None and duration > _DAILY_FROM_SECONDS
        hour = start.hour + start.minute / 60 if daily else None
        self._arrivals = arrivals(self._rng, rate, start_hour=hour)

    def plan(self) -> Iterator[Planned]:
        """Every send in the order of its offset; endless without a duration."""
        waiting: list[tuple[float, int, Planned]] = []
        order = count()
        for arrival in self._arrivals:
            if self._duration is not None and arrival.offset >= self._duration:
                break
            while waiting and waiting[0][0] <= arrival.offset:
                yield heapq.heappop(waiting)[2]
            planned = self._plan_one(arrival.offset, arrival.burst)
            for send in self._bend(planned):
                heapq.heappush(waiting, (send.offset, next(order), send))
        while waiting:
            yield heapq.heappop(waiting)[2]

    def _bend(self, planned: Planned) -> list[Planned]:
        """The sends of one event: at once, late, or twice."""
        if self._rng.random() < self._shares.late:
            planned = replace(planned, offset=self._later(planned.offset, 5, 60))
        if self._rng.random() >= self._shares.duplicate:
            return [planned]
        planned = replace(planned, sends=2)
        return [planned, replace(planned, offset=self._later(planned.offset, 0, 10), is_copy=True)]

    def _later(self, offset: float, least: float, most: float) -> float:
        later = offset + self._rng.uniform(least, most)
        if self._duration is None or later < self._duration:
            return later
        return self._rng.uniform(offset, max(offset, self._duration))

    def _plan_one(self, offset: float, burst: int | None) -> Planned:
        rng = self._rng
        kind = rng.choices(list(_KINDS), list(_KINDS.values()))[0]
        bot = kind == events.MESSAGE_SENT and rng.random() < self._shares.bots
        user, channel = self._meet(burst)
        if bot:
            user = rng.choice(self._bots)
        if kind.startswith("session."):
            return self._planned(offset, kind, user_id=user)
        if not channel.is_created:
            channel.is_created = True
            return self._planned(offset, events.CHANNEL_CREATED, channel_id=channel.id, user_id=user)
        if user not in channel.members:
            channel.members.add(user)
            return self._planned(offset, events.CHANNEL_JOINED, channel_id=channel.id, user_id=user, is_bot=bot or None)
        fields = self._act(kind, user, channel)
        if fields is None:
            kind, fields = events.MESSAGE_SENT, {}
        if kind == events.MESSAGE_SENT:
            return self._write(offset, user, channel, bot)
        return self._planned(offset, kind, **{"channel_id": channel.id, "user_id": user, **fields})

    def _meet(self, burst: int | None) -> tuple[str, _Channel]:
        """Who acts, and where: in a raid mostly its party in its channel, else somebody in a channel of theirs."""
        rng = self._rng
        if burst is not None and rng.random() < 0.7:
            if self._raid is None or self._raid[0] != burst:
                party = rng.sample(self._users, min(_RAIDERS, len(self._users)))
                self._raid = (burst, self._channels[self._where.draw(rng)], party)
            return rng.choice(self._raid[2]), self._raid[1]
        user = self._users[self._who.draw(rng)]
        homes = self._homes.get(user)
        if homes is None:
            drawn = {self._where.draw(rng): None for _ in range(rng.randint(1, 6))}
            homes = self._homes[user] = [self._channels[index] for index in drawn]
        return user, rng.choice(homes)

    def _act(self, kind: str, user: str, channel: _Channel) -> dict[str, Any] | None:
        """The fields of an action on what stands in the channel; None when there is nothing to act on."""
        rng = self._rng
        if kind in (events.MESSAGE_SENT, events.TYPING_STARTED):
            return {}
        if kind == events.REACTION_REMOVED:
            if not channel.reactions:
                return None
            at = rng.randrange(len(channel.reactions))
            message_id, reactor, reaction = channel.reactions[at]
            del channel.reactions[at]
            return {"message_id": message_id, "user_id": reactor, "reaction": reaction}
        if not channel.recent:
            return None
        if kind == events.RECEIPT_READ:
            return {"message_id": channel.recent[-1].id}
        post = _pick(rng, channel.recent)
        if kind == events.REACTION_ADDED:
            channel.reactions.append((post.id, user, rng.choice(speech.REACTIONS)))
            return {"message_id": post.id, "reaction": channel.reactions[-1][2]}
        if kind == events.MESSAGE_EDITED:
            return {"message_id": post.id, "user_id": post.author, "text": speech.line(rng) + " (edited)"}
        if kind == events.MESSAGE_DELETED:
            channel.recent.remove(post)
            return {"message_id": post.id, "user_id": post.author}
        return {"message_id": post.id}

    def _write(self, offset: float, user: str, channel: _Channel, bot: bool) -> Planned:
        rng = self._rng
        fields: dict[str, Any] = {}
        if channel.recent and rng.random() < 0.25:
            answered = _pick(rng, channel.recent)
            fields["reply_to"] = answered.id
            if rng.random() < 0.6:
                fields["thread_id"] = answered.thread or answered.id
        if bot:
            text = speech.bot_line(rng)
        elif rng.random() < self._shares.caught:
            text = speech.caught_line(rng)
        else:
            text = speech.line(rng)
        written = self._planned(
            offset, events.MESSAGE_SENT, channel_id=channel.id, user_id=user, text=text, is_bot=bot or None, **fields
        )
        channel.recent.append(_Post(written.event.id, user, fields.get("thread_id")))
        return written

    def _planned(self, offset: float, kind: str, **fields: Any) -> Planned:
        time = truncate_ms(self._start + timedelta(seconds=offset))
        identifier = uuid7(to_ms(time), next(self._counter), self._rng.getrandbits(TAIL_BITS))
        event = Event(id=identifier, type=kind, time=time, **fields)
        return Planned(offset=offset, event=event, as_server=kind in events.SERVER_TYPES)


def _pick(rng: Random, posts: Sequence[_Post] | deque[_Post]) -> _Post:
    """One of the posts, the newest likeliest."""
    return posts[min(int(len(posts) * rng.random() ** 0.5), len(posts) - 1)]
