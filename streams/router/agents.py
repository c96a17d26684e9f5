"""The Faust app: one agent for each input topic, feeding records in the order of their partitions to a handler."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, cast

from faust.streams import Stream
from faust.types import StreamT

from infra.contracts.topics import LANES
from infra.runtime.settings import Kafka
from streams.router.frontier import TP, Frontier, Place
from streams.router.guarded_consumer import ChainedMessage, GuardedApp
from streams.router.settings import RouterSettings

#: Frames that wait in memory between the reader and an agent, at most; each may be half a megabyte.
_BUFFERED_RECORDS: Final = 64
#: A partition that stands still this long before its end has lost a record on its way to the agent.
_STRANDED_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One record as read, and its place in its partition's chain."""

    tp: TP
    generation: int
    previous: int
    offset: int
    appended_ms: int
    value: bytes | None
    headers: list[tuple[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where one assigned partition stands, and when the broker last told where it ends."""

    tp: TP
    done: int
    end: int
    known_at: datetime


#: Takes and routes records of the named topic; returns when more may come. What it raises goes to the `Failed`.
Handle = Callable[[str, Iterator[Arrival]], Awaitable[None]]
Failed = Callable[[BaseException], None]


class RouterApp(GuardedApp):
    """Reads the input topics as a static member of the router's group."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: Since when a partition has stood still, and where.
        self._still: dict[TP, tuple[float, int]] = {}

    def arrivals(self, messages: list[ChainedMessage]) -> Iterator[Arrival]:
        """The records that continue their partition's chain. Each is taken when it is asked for, none before."""
        for message in messages:
            tp = message.tp
            place = self.frontier.take(tp, message.reading, message.previous, message.offset)
            if place is Place.HOLE:
                self.reader.reread(tp)
            if place is Place.NEXT:
                yield Arrival(
                    tp=tp,
                    generation=self.frontier.generation(tp),
                    previous=message.previous,
                    offset=message.offset,
                    appended_ms=round(message.timestamp * 1000),
                    value=message.value,
                    headers=_headers(message),
                )

    def reread_stranded(self, now: float) -> None:
        """Read again what stands still before the end of its partition with nothing of it under way.

        A lost record is noticed by the one behind it; this is for the last one. `now` is in monotonic seconds.
        """
        for standing in self.standings():
            tp, done = standing.tp, standing.done
            if done >= standing.end or self.frontier.next_offset(tp) != done:
                self._still.pop(tp, None)
                continue
            since, at = self._still.get(tp, (now, done))
            if at != done:
                since = now
            elif now - since > _STRANDED_SECONDS:
                since = now
                self.reader.reread(tp)
            self._still[tp] = (since, done)

    def standings(self) -> list[Standing]:
        """Every assigned partition whose end is known."""
        found = []
        for tp in self.frontier:
            done, known = self.frontier.committable(tp), self.reader.end_of(tp)
            if done is not None and known is not None:
                at = datetime.fromtimestamp(known.at_ms / 1000, UTC)
                found.append(Standing(tp=tp, done=done, end=known.offset, known_at=at))
        return found


def _headers(message: ChainedMessage) -> list[tuple[str, Any]]:
    headers = message.headers or ()
    return list(headers.items() if isinstance(headers, Mapping) else headers)


def make_app(kafka: Kafka, settings: RouterSettings, frontier: Frontier, handle: Handle, failed: Failed) -> RouterApp:
    """The app with an agent for every input topic. Call it on the loop that will run it."""
    app = RouterApp(
        kafka.group("router"),
        frontier=frontier,
        broker=[f"kafka://{address}" for address in kafka.bootstrap.split(",")],
        env_prefix="HUBBUB_FAUST_",
        broker_client_id=settings.instance_id,
        consumer_group_instance_id=settings.instance_id,
        broker_session_timeout=settings.session_seconds,
        broker_heartbeat_interval=settings.group_heartbeat_seconds,
        broker_commit_interval=settings.commit_seconds,
        broker_max_poll_records=_BUFFERED_RECORDS,
        stream_buffer_maxsize=_BUFFERED_RECORDS,
        stream_wait_empty=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        web_enabled=False,
    )
    for source in LANES:
        _add_agent(app, source, kafka, handle, failed)
    return app


def _add_agent(app: RouterApp, source: str, kafka: Kafka, handle: Handle, failed: Failed) -> None:
    topic = app.topic(
        kafka.topic(source), key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
    )

    async def route(stream: StreamT[Any]) -> None:
        try:
            async for event in cast(Stream[Any], stream).noack().events():
                await handle(source, app.arrivals([event.message]))
        except Exception as error:
            # Whatever it is: an exception that left the agent would be acknowledged by Faust and forgotten.
            failed(error)

    app.agent(topic, name=f"route-{source}", concurrency=1)(route)
