"""What every request shares: engines, keys, clock, cache. Built before the server starts."""

import asyncio
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from api.auth import Authenticator
from api.history.cache import PageCache
from api.history.pages import Pages
from api.history.reading import History
from api.settings import Api
from api.signing import Signer, kept_secret
from api.watch import Watch
from infra.runtime.cassandra import Database, connect
from infra.runtime.clock import Clock, SystemClock
from infra.runtime.control import ControlFollower, Directory
from infra.runtime.health import Health
from infra.runtime.kafka import observer
from infra.runtime.settings import Archive, Cassandra, Kafka, Runtime

#: Each reads the log in a thread of its own.
_TRACES_AT_ONCE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The shared parts; tests build one with their own."""

    settings: Api
    kafka: Kafka
    archive: Archive
    runtime: Runtime
    database: Database
    directory: Directory
    clock: Clock
    signer: Signer
    authenticator: Authenticator
    cache: PageCache
    health: Health
    watch: Watch
    history: History
    pages: Pages
    traces: asyncio.Semaphore


def assemble(
    settings: Api,
    kafka: Kafka,
    database: Database,
    directory: Directory,
    clock: Clock,
    signer: Signer,
    archive: Archive | None = None,
    runtime: Runtime | None = None,
) -> State:
    """A state around these engines and keys, and the archive that the settings name unless one is given."""
    cache = PageCache(
        clock,
        entries=settings.cache_entries,
        size=settings.cache_bytes,
        newest_seconds=settings.newest_seconds,
        older_seconds=settings.older_seconds,
        mask_seconds=settings.mask_seconds,
    )
    watch = Watch(
        database, lambda: observer(kafka, "hubbub-api-watch", kafka.group("api-watch")), clock, settings.fresh_seconds
    )
    health = Health("api")
    health.add("cassandra", watch.cassandra)
    health.add("kafka", watch.kafka)
    history = History(database, lambda: watch.plan, clock)
    return State(
        settings=settings,
        kafka=kafka,
        archive=archive or Archive(),
        runtime=runtime or Runtime(),
        database=database,
        directory=directory,
        clock=clock,
        signer=signer,
        authenticator=Authenticator(directory, signer, clock),
        cache=cache,
        health=health,
        watch=watch,
        history=history,
        pages=Pages(database, history, signer, cache),
        traces=asyncio.Semaphore(_TRACES_AT_ONCE),
    )


def open_state(settings: Api, kafka: Kafka, cassandra: Cassandra, runtime: Runtime) -> tuple[State, ControlFollower]:
    """Connect to everything. Blocks. Raises `PreconditionError` when something is not there."""
    database = connect(cassandra.model_copy(update={"request_timeout": settings.read_timeout}))
    follower = ControlFollower(kafka, "hubbub-api")
    try:
        directory = follower.start()
        signer = Signer(kept_secret(settings.secret.get_secret_value(), runtime.data_dir))
    except BaseException:
        database.close()
        raise
    return assemble(settings, kafka, database, directory, SystemClock(), signer, runtime=runtime), follower


def state_of(connection: HTTPConnection) -> State:
    """The state of the app that serves this request or socket."""
    state: State = connection.app.state.hubbub
    return state


async def _shared(connection: HTTPConnection) -> State:
    return state_of(connection)


Shared = Annotated[State, Depends(_shared)]
