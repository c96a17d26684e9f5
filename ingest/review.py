"""The doors for moderators: release or reject what a rule stopped, block what was shown.

A decision goes into the log beside the messages of its channel, so every role comes to it in its turn, and a 200 means
that it is stored. Repeating one is one decision.
"""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from infra.contracts import headers, placement, problems, review
from infra.contracts.events import ChannelId, Id, truncate_ms
from infra.contracts.problems import Accepted
from infra.contracts.records import Held
from infra.contracts.review import Decision, HeldId, Moderator, Reason, Verb
from infra.runtime.clock import Clock
from infra.runtime.control import Directory
from infra.runtime.kafka import Headers
from ingest import access, bodies
from ingest.answers import Answer
from ingest.dedupe import Seen, seen_key
from ingest.endpoint import Endpoint, Incoming
from ingest.errors import Refused
from ingest.framer import Framer
from ingest.held_log import Shelf, Unanswered
from ingest.intake import Lane
from ingest.settings import Ingest

#: By path, what is decided there.
PATHS: Final = {
    "/v1/held/{held_id}/release": Verb.RELEASE,
    "/v1/held/{held_id}/reject": Verb.REJECT,
    # An id may hold a slash, and the server decodes it before it routes.
    "/v1/messages/{message_id:path}/block": Verb.BLOCK,
}
_HEADERS: Final[Headers] = [(headers.KIND, headers.DECISION)]
_MAX_BODY: Final = 16 * 1024
_HASH_CHARS: Final = 12

_encode = msgspec.json.Encoder().encode


T = TypeVar("T")


class Why(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The body of a release or reject; it may be left out."""

    reason: Reason | None = None
    moderator: Moderator | None = None


class Block(Why, kw_only=True, forbid_unknown_fields=True):
    """The body of a block: the channel the message stands in, too."""

    channel_id: ChannelId


_why = msgspec.json.Decoder(Why)
_block = msgspec.json.Decoder(Block)
_id = msgspec.json.Decoder(Id)


class Decisions:
    """Puts decisions into the log, each as a record of its own."""

    def __init__(self, lane: Lane, shelf: Shelf, framer: Framer, seen: Seen, settings: Ingest, *, clock: Clock) -> None:
        self._lane = lane
        self._shelf = shelf
        self._framer = framer
        self._seen = seen
        self._settings = settings
        self._clock = clock

    async def held(self, tenant: str, held_id: str) -> Held:
        """What this id names. Raises `Refused` 404 for another tenant's as for none, 503 when Kafka does not say."""
        try:
            found = await self._shelf.find(HeldId.decode(held_id), self._settings.unavailable_after / 2)
        except ValueError:
            found = None
        except Unanswered:
            raise self._unavailable() from None
        if found is None or found.event.tenant != tenant:
            raise Refused(404, "nothing with this id is held, or it is no longer in the log")
        return found

    async def store(self, decision: Decision) -> bool:
        """Whether it is new; False for a repetition. Returns once it is stored. Raises `Refused` 503."""
        # Apart from events: their ids are free, and a decision's can be worked out before it is made.
        key = "/" + seen_key(decision.tenant, decision.id)
        if self._seen.stored(key) is not None:
            return False
        frame = self._seen.in_flight(key)
        first = frame is None
        if frame is None:
            partition = placement.partition(decision.key, self._lane.partitions)
            frame = self._framer.lone(self._lane.topic, partition, _encode(decision), _HEADERS)
            self._seen.sending(key, 0, frame)
            self._framer.dispatch(frame)
        if not frame.done.done():
            await asyncio.wait([frame.done], timeout=self._settings.unavailable_after)
        if not frame.stored:
            raise self._unavailable()
        return first

    def decide(
        self,
        request: Incoming,
        verb: Verb,
        why: Why,
        *,
        channel_id: str | None,
        target: str,
        message_id: str,
        held: Held | None = None,
    ) -> Decision:
        """This key's decision, now, about the held event or message `target`."""
        key, tenant = request.key, request.tenant.id
        return Decision(
            id=review.decision_id(tenant, verb, channel_id, target),
            tenant=tenant,
            verb=verb,
            decided_at=truncate_ms(self._clock.now()),
            decided_by=f"{key.name} {key.hash[:_HASH_CHARS]}",
            channel_id=channel_id,
            message_id=message_id,
            held=held,
            moderator=why.moderator,
            reason=why.reason,
        )

    def _unavailable(self) -> Refused:
        return Refused(
            503, "Kafka did not answer in time; decide again", {"Retry-After": str(self._settings.retry_after)}
        )


class ReviewDoor(Endpoint):
    """One endpoint that takes one kind of decision."""

    scopes = access.MODERATING

    def __init__(
        self,
        verb: Verb,
        decisions: Decisions,
        directory: Directory,
        settings: Ingest,
        *,
        new_id: Callable[[], str],
    ) -> None:
        super().__init__(directory, new_id=new_id)
        self._verb = verb
        self._decisions = decisions
        self._settings = settings

    async def take(self, request: Incoming) -> Answer:
        """200 once the decision is stored."""
        body = await self._body(request)
        decide = self._block if self._verb is Verb.BLOCK else self._review
        new = await self._decisions.store(await decide(request, body))
        return Answer(200, problems.encode(Accepted(accepted=int(new), duplicates=int(not new))))

    async def _review(self, request: Incoming, body: bytes) -> Decision:
        why = _read(_why, body or b"{}")
        held = await self._decisions.held(request.tenant.id, request.path["held_id"])
        event = held.event
        return self._decisions.decide(
            request,
            self._verb,
            why,
            channel_id=event.channel_id,
            target=event.id,
            message_id=review.hidden_by(held),
            held=held,
        )

    async def _block(self, request: Incoming, body: bytes) -> Decision:
        block = _read(_block, body or b"{}")
        message_id = _read(_id, _encode(request.path["message_id"]))
        return self._decisions.decide(
            request, self._verb, block, channel_id=block.channel_id, target=message_id, message_id=message_id
        )

    async def _body(self, request: Incoming) -> bytes:
        headers = request.headers
        body = await bodies.read(
            request.receive,
            length=headers.get(b"content-length"),
            encoding=headers.get(b"content-encoding"),
            seconds=self._settings.body_seconds,
        )
        if body:
            bodies.media_type(headers.get(b"content-type"), (bodies.JSON,))
        if len(body) > _MAX_BODY:
            raise Refused(413, f"a decision holds at most {_MAX_BODY} bytes")
        return body


def _read(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(400, f"not a decision: {error}") from None
