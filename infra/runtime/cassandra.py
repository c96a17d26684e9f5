"""One Cassandra session a process, every contract statement prepared, and driver futures that asyncio can await."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog
from cassandra import (
    ConsistencyLevel,
    OperationTimedOut,
    ProtocolVersion,
    ReadFailure,
    ReadTimeout,
    Unavailable,
    WriteFailure,
    WriteTimeout,
)
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable, ResponseFuture, Session
from cassandra.connection import ConnectionException
from cassandra.policies import (
    ConstantReconnectionPolicy,
    DCAwareRoundRobinPolicy,
    TokenAwarePolicy,
)
from cassandra.query import PreparedStatement, tuple_factory

from infra.contracts.tables import STATEMENTS, Statement
from infra.runtime.errors import Unreachable
from infra.runtime.settings import Cassandra

log = structlog.get_logger("hubbub.cassandra")

#: Cassandra is away or slow: the same statements may simply be sent again.
PASSING: Final = (
    NoHostAvailable,
    OperationTimedOut,
    Unavailable,
    ReadTimeout,
    WriteTimeout,
    ReadFailure,
    WriteFailure,
    ConnectionException,
)


class Database:
    """A session and its prepared statements. Made after any fork; connecting blocks, so do it in a thread at start."""

    def __init__(self, cluster: Cluster, session: Session) -> None:
        self.cluster = cluster
        self.session = session
        self._prepared: dict[str, PreparedStatement] = {}

    def prepare(self, statements: Mapping[str, Statement] = STATEMENTS) -> None:
        """Prepare the statements a role uses. Blocks: one round trip each."""
        for name, statement in statements.items():
            prepared = self.session.prepare(statement.cql)
            prepared.is_idempotent = True
            self._prepared[name] = prepared

    def prepared(self, statement: Statement) -> PreparedStatement:
        """The prepared form. KeyError when `prepare` was not given it."""
        return self._prepared[statement.name]

    async def execute(self, statement: Statement, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return all its rows as tuples in the order selected."""
        return await wait(self.session.execute_async(self._prepared[statement.name].bind(values)))

    def close(self) -> None:
        """Close every connection."""
        self.cluster.shutdown()


def connect(settings: Cassandra, *, keyspace: str | None = None, prepare: bool = True) -> Database:
    """Connect and prepare. Raises `Unreachable`. `keyspace=""` connects without one."""
    auth = None
    if settings.username:
        auth = PlainTextAuthProvider(settings.username, settings.password.get_secret_value())
    profile = ExecutionProfile(
        load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy()),
        consistency_level=ConsistencyLevel.name_to_value[settings.consistency],
        request_timeout=settings.request_timeout,
        row_factory=tuple_factory,
    )
    cluster = Cluster(
        settings.contact_points,
        port=settings.port,
        auth_provider=auth,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        protocol_version=ProtocolVersion.V5,  # Cassandra 4 and later; else each connect tries newer ones first
        reconnection_policy=ConstantReconnectionPolicy(1.0, max_attempts=None),
        connect_timeout=10,
        control_connection_timeout=10,
    )
    try:
        session = cluster.connect((settings.keyspace if keyspace is None else keyspace) or None)
    except NoHostAvailable as error:
        cluster.shutdown()
        where = f"{','.join(settings.contact_points)}:{settings.port}"
        raise Unreachable("Cassandra", where, "Is it running? See HUBBUB_CASSANDRA_CONTACT_POINTS.") from error
    database = Database(cluster, session)
    if prepare:
        database.prepare()
    return database


def wait(response: ResponseFuture) -> "asyncio.Future[list[tuple[Any, ...]]]":
    """An asyncio future of a driver future, for the running loop: all its rows, page after page, or its error.

    The driver's callbacks run on its I/O thread and swallow exceptions, so they only hand over. They are called once a
    page.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[list[tuple[Any, ...]]] = loop.create_future()
    rows: list[tuple[Any, ...]] = []

    def settle(error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(rows)
        else:
            future.set_exception(error)

    def take(page: Any) -> None:
        rows.extend(page or ())
        if response.has_more_pages:
            response.start_fetching_next_page()
        else:
            loop.call_soon_threadsafe(settle, None)

    response.add_callbacks(take, lambda error: loop.call_soon_threadsafe(settle, error))
    return future
